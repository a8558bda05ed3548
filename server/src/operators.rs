//! Operators as people see them.

use windlass_certs::identity::Grant;
use windlass_core::view::OperatorView;
use windlass_core::{OperatorName, Timestamp};

use crate::ledger::State;
use crate::store::record::{OperatorRecord, OperatorTokenRecord};

/// Every operator that is known, and whoever has a token that was not used yet.
pub(crate) fn list(state: &State, now: Timestamp) -> Vec<OperatorView> {
    let tokens = state.operator_tokens.values().map(|token| &token.name);
    let mut names: Vec<&OperatorName> = state.operators.keys().chain(tokens).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter_map(|name| show(state, name, now)).collect()
}

/// One of them.
pub(crate) fn show(state: &State, name: &OperatorName, now: Timestamp) -> Option<OperatorView> {
    let mut tokens = state.operator_tokens.values();
    let token = tokens.find(|token| &token.name == name && now < token.expires_at);
    match (state.operators.get(name), token) {
        (Some(record), token) => Some(known(record, token, now)),
        (None, Some(token)) => Some(invited(token)),
        (None, None) => None,
    }
}

fn known(record: &OperatorRecord, token: Option<&OperatorTokenRecord>, now: Timestamp) -> OperatorView {
    let state = match (&record.revoked, record.not_after) {
        (Some(_), _) => "revoked",
        // It renews by itself when its owner runs a command, for thirty days.
        (None, Some(until)) if until <= now => "expired",
        (None, _) => "active",
    };
    OperatorView {
        name: record.name.clone(),
        state: state.to_owned(),
        grant: record.grant.as_ref().map(Grant::to_string),
        added_by: record.added_by.clone(),
        added_at: Some(record.added_at),
        certificate_expires_at: record.not_after,
        revoked_by: record.revoked.as_ref().map(|revoked| revoked.by.clone()),
        revoked_at: record.revoked.as_ref().map(|revoked| revoked.at),
        invited_as: token.map(|token| token.grant.to_string()),
        invited_until: token.map(|token| token.expires_at),
    }
}

fn invited(token: &OperatorTokenRecord) -> OperatorView {
    OperatorView {
        name: token.name.clone(),
        state: "invited".to_owned(),
        grant: None,
        added_by: Some(token.made_by.clone()),
        added_at: None,
        certificate_expires_at: None,
        revoked_by: None,
        revoked_at: None,
        invited_as: Some(token.grant.to_string()),
        invited_until: Some(token.expires_at),
    }
}
