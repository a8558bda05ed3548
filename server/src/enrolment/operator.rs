//! Operators' certificates: made against a single-use token, renewed, and revoked.
//!
//! A certificate lets an operator in if our CA signed it, nobody revoked it, and they have its key. The
//! ledger keeps beside it who was let in by whom, and up to which generation a name's certificates are revoked.
//! The operator that `init` made is noted when they are first seen to act on operators or renew.

use std::time::Duration;

use windlass_certs::csr::{Csr, RenewalClaim, verify_proof};
use windlass_certs::identity::{Grant, Identity, PeerIdentity};
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::verify_expired;
use windlass_core::{Digest, OperatorName, Timestamp};

use super::error::EnrolError;
use super::limiter::Limiter;
use super::request::{Expired, JoinOperator, JoinedOperator, RENEWABLE};
use crate::audit;
use crate::authority::Authority;
use crate::ledger::{Change, State, WriteBatch};
use crate::store::record::{OperatorRecord, OperatorTokenRecord, RevokedBy};

/// The lifetime of a token: a person has to pass it on to another.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Generations that a revocation or a new beginning leaves out, so that certificates which this store never heard
/// of (it may have been restored from a backup) are revoked too.
const GAP: u64 = 1_000_000;

/// Notes a token for `name`. A second one replaces the first.
pub(super) fn token(
    batch: &mut WriteBatch<'_>,
    hash: Digest,
    name: OperatorName,
    grant: Grant,
    actor: String,
) -> Timestamp {
    let (now, expires_at) = (batch.now, batch.now + LIFETIME);
    let old =
        batch.state.operator_tokens.values().filter(|token| token.name == name || token.expires_at <= now);
    let old: Vec<Digest> = old.take(64).map(|token| token.hash).collect();
    old.into_iter().for_each(|hash| batch.change(Change::OperatorTokenGone(hash)));
    batch.audit(audit::ok(&actor, "operator.add", &format!("{name} {grant}")));
    let text = format!("a token as {grant}, by {actor}");
    batch.event_by(&actor, "operator.added", format!("operator/{name}"), text);
    let token = OperatorTokenRecord { hash, name, grant, made_by: actor, expires_at };
    batch.change(Change::OperatorToken(Box::new(token)));
    expires_at
}

/// Whether a token of `name` is one of ours, used or not.
pub(super) fn knows(state: &State, name: &OperatorName, hash: &Digest) -> bool {
    state.operator_tokens.get(hash).is_some_and(|token| &token.name == name)
        || state.operators.get(name).is_some_and(|record| record.token == Some(*hash))
}

/// A token and a key become an operator.
pub(super) fn join(
    batch: &mut WriteBatch<'_>,
    authority: &Authority,
    join: &JoinOperator,
) -> Result<JoinedOperator, EnrolError> {
    let hash = join.secret.hash();
    let token = batch.state.operator_tokens.get(&hash);
    if let Some(token) = token.filter(|token| token.name == join.name && batch.now < token.expires_at) {
        return enrol(batch, authority, join, token);
    }
    let used = batch.state.operators.get(&join.name).filter(|record| record.token == Some(hash));
    // Strangers can say anything; nothing is written for them.
    let record = used.ok_or(EnrolError::InvalidOperatorToken)?;
    if record.key != Some(Digest::of(join.csr.spki())) {
        let subject = format!("operator/{}", join.name);
        batch.audit(audit::fact(
            "stranger",
            "operator.join",
            &join.name,
            None,
            "refused: token reused with another key",
        ));
        batch.event(
            "operator.token_reused",
            subject,
            "somebody tried to join with a token that was used before",
        );
        return Err(EnrolError::OperatorTokenReused);
    }
    let fresh = record.revoked.is_none() && record.not_after.is_some_and(|until| batch.now < until);
    if fresh { Ok(answer(batch, record.chain.clone())) } else { Err(EnrolError::InvalidOperatorToken) }
}

fn enrol(
    batch: &mut WriteBatch<'_>,
    authority: &Authority,
    join: &JoinOperator,
    token: &OperatorTokenRecord,
) -> Result<JoinedOperator, EnrolError> {
    let known = batch.state.operators.get(&join.name);
    // The earlier holder of this name is somebody else now, or has other rights.
    let last = known.map_or(0, |record| record.generation.max(record.revoked_up_to)).saturating_add(GAP);
    let identity = Identity::operator(batch.state.fleet.clone(), &join.name);
    let issued = authority
        .certify_operator(identity, token.grant.clone(), &join.csr, last + 1, batch.now)
        .map_err(|error| EnrolError::issue(&error))?;
    let record = OperatorRecord {
        name: join.name.clone(),
        grant: Some(token.grant.clone()),
        added_by: Some(token.made_by.clone()),
        added_at: batch.now,
        generation: last + 1,
        revoked_up_to: last,
        not_after: Some(issued.peer.not_after),
        revoked: None,
        key: Some(Digest::of(join.csr.spki())),
        token: Some(token.hash),
        chain: issued.chain_pem.clone(),
    };
    let actor = format!("operator/{}", join.name);
    let subject = format!("{} {}", join.name, token.grant);
    batch.audit(audit::fact(&actor, "operator.join", &subject, record.key, "ok"));
    let text = format!("as {}, with a token by {}", token.grant, token.made_by);
    batch.event_by(&actor, "operator.joined", actor.as_str(), text);
    batch.change(Change::OperatorTokenGone(token.hash));
    batch.change(Change::Operator(Box::new(record)));
    Ok(answer(batch, issued.chain_pem))
}

fn answer(batch: &WriteBatch<'_>, chain: String) -> JoinedOperator {
    JoinedOperator { chain, trust: batch.state.trust_chain.clone() }
}

/// Notes an operator who is known by certificate only.
pub(super) fn note(batch: &mut WriteBatch<'_>, peer: &PeerIdentity) {
    let Some(name) = peer.identity.operator_name() else { return };
    if !batch.state.operators.contains_key(&name) {
        let mut record = unseen(name, batch.now);
        (record.grant, record.generation) = (peer.grant.clone(), peer.generation);
        record.not_after = Some(peer.not_after);
        batch.change(Change::Operator(Box::new(record)));
    }
}

const fn unseen(name: OperatorName, now: Timestamp) -> OperatorRecord {
    OperatorRecord {
        name,
        grant: None,
        added_by: None,
        added_at: now,
        generation: 0,
        revoked_up_to: 0,
        not_after: None,
        revoked: None,
        key: None,
        token: None,
        chain: String::new(),
    }
}

/// Takes away whatever `name` has: certificates, also those this store never heard of, and open tokens.
/// A name that nobody has heard of is a typo, unless the caller says that it is not.
pub(super) fn revoke(
    batch: &mut WriteBatch<'_>,
    name: &OperatorName,
    unknown: bool,
    actor: &str,
) -> Result<(), EnrolError> {
    if actor == format!("operator/{name}") {
        return Err(EnrolError::Yourself);
    }
    let known = batch.state.operators.get(name);
    let tokens: Vec<&OperatorTokenRecord> =
        batch.state.operator_tokens.values().filter(|token| &token.name == name).collect();
    if known.is_none() && tokens.is_empty() && !unknown {
        return Err(EnrolError::NoOperator(name.clone()));
    }
    let mut record = known.cloned().unwrap_or_else(|| unseen(name.clone(), batch.now));
    if known.is_none() {
        record.added_by = tokens.first().map(|token| token.made_by.clone());
    }
    let open: Vec<Digest> = tokens.iter().map(|token| token.hash).collect();
    batch.audit(audit::ok(actor, "operator.revoke", name));
    open.into_iter().for_each(|hash| batch.change(Change::OperatorTokenGone(hash)));
    if record.revoked.is_none() {
        record.revoked = Some(RevokedBy { by: actor.to_owned(), at: batch.now });
        record.revoked_up_to = record.generation.max(record.revoked_up_to).saturating_add(GAP);
        record.chain.clear();
        batch.event_by(actor, "operator.revoked", format!("operator/{name}"), format!("by {actor}"));
        batch.change(Change::Operator(Box::new(record)));
    }
    Ok(())
}

/// The next certificate for the same operator, with the same grant.
pub(super) fn certify(
    batch: &mut WriteBatch<'_>,
    authority: &Authority,
    limiter: &Limiter,
    peer: &PeerIdentity,
    grant: &Grant,
    csr: &Csr,
) -> Result<String, EnrolError> {
    let name = peer.identity.operator_name().ok_or(EnrolError::WrongRole)?;
    let known = batch.state.operators.get(&name);
    if known.is_some_and(|record| record.revoked.is_some() || peer.generation <= record.revoked_up_to) {
        return Err(EnrolError::Revoked(name));
    }
    limiter.operator(name.as_str(), batch.now)?;
    let mut record = known.cloned().unwrap_or_else(|| unseen(name, batch.now));
    let identity = peer.identity.clone();
    let actor = format!("operator/{}", identity.name());
    let generation = peer.generation.saturating_add(1);
    let issued = authority
        .certify_operator(identity, grant.clone(), csr, generation, batch.now)
        .map_err(|error| EnrolError::issue(&error))?;
    record.grant = Some(grant.clone());
    record.generation = record.generation.max(generation);
    record.not_after = Some(issued.peer.not_after);
    batch.audit(audit::ok(&actor, "operator.renew", &issued.peer.serial));
    batch.change(Change::Operator(Box::new(record)));
    Ok(issued.chain_pem)
}

/// The same after it expired, with proof of its key.
pub(super) fn renew_expired(
    batch: &mut WriteBatch<'_>,
    authority: &Authority,
    limiter: &Limiter,
    revocations: &Revocations,
    expired: &Expired,
    csr: &Csr,
) -> Result<String, EnrolError> {
    let root = authority.ca().certificate().clone().into_owned();
    let peer = verify_expired(&batch.state.fleet, &[root], revocations, &expired.leaf)
        .map_err(|_| EnrolError::Unproven)?;
    let grant = peer.grant.clone().ok_or(EnrolError::WrongRole)?;
    let claim = RenewalClaim {
        fleet: batch.state.fleet.clone(),
        host: peer.identity.name().parse().map_err(|_| EnrolError::WrongRole)?,
        generation: peer.generation,
        challenge: expired.challenge,
        csr: csr.digest(),
    };
    if !verify_proof(&peer.spki, &claim, &expired.proof) {
        return Err(EnrolError::Unproven);
    }
    if peer.spki != csr.spki() {
        return Err(EnrolError::OtherKey);
    }
    if batch.now.since(peer.not_after) > RENEWABLE {
        return Err(EnrolError::TooOld);
    }
    certify(batch, authority, limiter, &peer, &grant, csr)
}
