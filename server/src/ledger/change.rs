//! Everything that can be stored, and under which key.

use std::sync::Arc;

use windlass_core::observation::Observation;
use windlass_core::rollout::{Decision, Rollout};
use windlass_core::service::Service;
use windlass_core::slot::Slot;
use windlass_core::{Digest, EnvironmentId, HostId, OperatorName, RolloutId, SlotId};

use super::Topic;
use crate::store::record::{
    self, EventRecord, HostRecord, OperatorRecord, OperatorTokenRecord, PlanRecord, RecoveryRecord,
    ReleaseRecord, RoutesRecord, TokenRecord,
};

/// Keys of the store. Numbers are written with 20 digits, so that their order is that of the keys.
pub(crate) mod keys {
    /// The audit log's head, and the fence of every write.
    pub(crate) const HEAD: &str = "head";
    /// The fleet whose store this is.
    pub(crate) const FLEET: &str = "fleet";
    /// The key that says that the store was set back.
    pub(crate) const RECOVERY: &str = "recovery";
    /// Since when only named operators count, if a store was restored that nobody had signed.
    pub(crate) const CLOSED: &str = "closed";
    /// Versions of the trust document.
    pub(crate) const TRUST: &str = "trust/";
    /// Hosts.
    pub(crate) const HOST: &str = "host/";
    /// Join tokens.
    pub(crate) const TOKEN: &str = "token/";
    /// Operators.
    pub(crate) const OPERATOR: &str = "operator/";
    /// Tokens for operators.
    pub(crate) const OPERATOR_TOKEN: &str = "operator_token/";
    /// Releases.
    pub(crate) const RELEASE: &str = "release/";
    /// Services.
    pub(crate) const SERVICE: &str = "service/";
    /// Slots.
    pub(crate) const SLOT: &str = "slot/";
    /// Rollouts.
    pub(crate) const ROLLOUT: &str = "rollout/";
    /// Decisions of rollouts, by rollout.
    pub(crate) const DECISION: &str = "decision/";
    /// The newest plan of each host.
    pub(crate) const PLAN: &str = "plan/";
    /// The newest traffic table of each environment.
    pub(crate) const ROUTES: &str = "routes/";
    /// The last observation of each host.
    pub(crate) const OBSERVATION: &str = "observation/";
    /// Audit entries.
    pub(crate) const AUDIT: &str = "audit/";
    /// Audit checkpoints.
    pub(crate) const CHECKPOINT: &str = "checkpoint/";
    /// Events.
    pub(crate) const EVENT: &str = "event/";

    /// Decisions of one rollout.
    pub(crate) fn decisions(rollout: &windlass_core::RolloutId) -> String {
        format!("{DECISION}{rollout}/")
    }

    /// `prefix` and a number.
    pub(crate) fn numbered(prefix: &str, n: u64) -> String {
        format!("{prefix}{n:020}")
    }
}

/// One record that comes, changes or goes.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A host.
    Host(Box<HostRecord>),
    /// A token.
    Token(TokenRecord),
    /// A token that was used, or has expired.
    TokenGone(Digest),
    /// An operator.
    Operator(Box<OperatorRecord>),
    /// A token for an operator.
    OperatorToken(Box<OperatorTokenRecord>),
    /// Such a token that was used, or has expired.
    OperatorTokenGone(Digest),
    /// A version of the trust document, as its envelope.
    Trust(u64, Vec<u8>),
    /// A release.
    Release(Box<ReleaseRecord>),
    /// A release that nothing names any more.
    ReleaseGone(Digest),
    /// A service.
    Service(Box<Service>),
    /// A slot.
    Slot(SlotId, Box<Slot>),
    /// A slot that is no more.
    SlotGone(SlotId),
    /// A rollout.
    Rollout(Box<Rollout>),
    /// A rollout that is too old to remember.
    RolloutGone(RolloutId),
    /// A decision of a rollout. Comes with its rollout, see [`super::WriteBatch::change`].
    Decision(RolloutId, Box<Decision>),
    /// A decision of a rollout that is too old to remember.
    DecisionGone(RolloutId, u32),
    /// A host's newest plan.
    Plan(HostId, PlanRecord),
    /// The newest traffic table of an environment.
    Routes(EnvironmentId, Box<RoutesRecord>),
    /// The store was set back, or this is over.
    Recovery(RecoveryRecord),
    /// The last report of a host.
    Observation(HostId, Arc<Observation>),
    /// An audit entry: the exact bytes.
    Audit(u64, Vec<u8>),
    /// A checkpoint: how many entries, and the envelope.
    Checkpoint(u64, Vec<u8>),
    /// Something that happened.
    Event(EventRecord),
    /// An event that is too old to remember.
    EventGone(u64),
}

impl Change {
    /// The key, and its value; `None` removes it.
    pub(crate) fn write(&self) -> (String, Option<Vec<u8>>) {
        use keys::numbered;
        match self {
            Self::Host(host) => (format!("{}{}", keys::HOST, host.name), Some(record::encode(host))),
            Self::Token(token) => (token_key(&token.hash), Some(record::encode(token))),
            Self::TokenGone(hash) => (token_key(hash), None),
            Self::Operator(operator) => (operator_key(&operator.name), Some(record::encode(operator))),
            Self::OperatorToken(token) => (operator_token_key(&token.hash), Some(record::encode(token))),
            Self::OperatorTokenGone(hash) => (operator_token_key(hash), None),
            Self::Trust(version, envelope) => (numbered(keys::TRUST, *version), Some(envelope.clone())),
            Self::Release(release) => (release_key(&release.digest), Some(record::encode(release))),
            Self::ReleaseGone(digest) => (release_key(digest), None),
            Self::Service(service) => {
                (format!("{}{}", keys::SERVICE, service.id), Some(record::encode(service)))
            }
            Self::Slot(slot, assignment) => (slot_key(slot), Some(record::encode(assignment))),
            Self::SlotGone(slot) => (slot_key(slot), None),
            Self::Rollout(rollout) => (rollout_key(&rollout.id), Some(record::encode(rollout))),
            Self::RolloutGone(id) => (rollout_key(id), None),
            Self::Decision(id, decision) => (decision_key(id, decision.n), Some(record::encode(decision))),
            Self::DecisionGone(id, n) => (decision_key(id, *n), None),
            Self::Plan(host, plan) => (format!("{}{host}", keys::PLAN), Some(record::encode(plan))),
            Self::Routes(environment, routes) => {
                (format!("{}{environment}", keys::ROUTES), Some(record::encode(&**routes)))
            }
            Self::Recovery(recovery) => (keys::RECOVERY.to_owned(), Some(record::encode(recovery))),
            Self::Observation(host, seen) => {
                (format!("{}{host}", keys::OBSERVATION), Some(record::encode(&**seen)))
            }
            Self::Audit(n, bytes) => (numbered(keys::AUDIT, *n), Some(bytes.clone())),
            Self::Checkpoint(size, envelope) => (numbered(keys::CHECKPOINT, *size), Some(envelope.clone())),
            Self::Event(event) => (numbered(keys::EVENT, event.n), Some(record::encode(event))),
            Self::EventGone(n) => (numbered(keys::EVENT, *n), None),
        }
    }

    /// The topic of its listeners.
    pub(crate) fn topic(&self) -> Option<Topic> {
        match self {
            Self::Host(host) => Some(Topic::Host(host.name.clone())),
            Self::Service(service) => Some(Topic::Service(service.id.clone())),
            Self::Slot(slot, _) | Self::SlotGone(slot) => Some(Topic::Service(slot.service.clone())),
            Self::Rollout(rollout) => Some(Topic::Rollout(rollout.id.clone(), rollout.service.clone())),
            Self::Plan(host, _) => Some(Topic::Plan(host.clone())),
            Self::Trust(..) => Some(Topic::Trust),
            Self::Routes(environment, _) => Some(Topic::Routes(environment.clone())),
            Self::Recovery(_) => Some(Topic::Recovery),
            Self::Audit(..) => Some(Topic::Audit),
            Self::Checkpoint(..) => Some(Topic::Checkpoint),
            Self::Event(_) => Some(Topic::Event),
            Self::Token(_)
            | Self::TokenGone(_)
            | Self::Operator(_)
            | Self::OperatorToken(_)
            | Self::OperatorTokenGone(_)
            | Self::Decision(..)
            | Self::DecisionGone(..)
            | Self::Release(_)
            | Self::ReleaseGone(_)
            | Self::RolloutGone(_)
            | Self::Observation(..)
            | Self::EventGone(_) => None,
        }
    }
}

fn token_key(hash: &Digest) -> String {
    format!("{}{}", keys::TOKEN, hash.to_hex())
}

fn operator_key(name: &OperatorName) -> String {
    format!("{}{name}", keys::OPERATOR)
}

fn operator_token_key(hash: &Digest) -> String {
    format!("{}{}", keys::OPERATOR_TOKEN, hash.to_hex())
}

fn decision_key(rollout: &RolloutId, n: u32) -> String {
    keys::numbered(&keys::decisions(rollout), u64::from(n))
}

fn release_key(digest: &Digest) -> String {
    format!("{}{}", keys::RELEASE, digest.to_hex())
}

fn slot_key(slot: &SlotId) -> String {
    format!("{}{slot}", keys::SLOT)
}

fn rollout_key(id: &RolloutId) -> String {
    format!("{}{id}", keys::ROLLOUT)
}
