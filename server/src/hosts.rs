//! The commands of a person about a host.

use windlass_core::HostId;
use windlass_core::fleet::Scheduling;

use crate::audit;
use crate::coordinator::Coordinator;
use crate::ledger::{Change, WriteBatch, WriteError};
use crate::store::record::{HostRecord, Membership};

/// A person's action on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAction {
    /// No new slots.
    Cordon,
    /// New slots again.
    Uncordon,
    /// No new slots, and what is there moves.
    Drain,
    /// Revokes its certificate; it may join again.
    Evict,
    /// Revokes its certificate; its name may never join again.
    Ban,
}

/// The reason for which it was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    /// Never heard of it.
    #[error("there is no host `{0}`")]
    Unknown(HostId),
    /// It left the fleet.
    #[error("host `{0}` is not in the fleet")]
    NotAMember(HostId),
    /// A certificate of another enrolment.
    #[error("host `{0}` is enrolled with another key")]
    OtherKey(HostId),
    /// For ever.
    #[error("host `{0}` is banned")]
    Banned(HostId),
    /// Not stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl HostError {
    /// The next step of the user.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some("`windlass host ls` shows the hosts".to_owned()),
            Self::NotAMember(host) | Self::OtherKey(host) => {
                Some(format!("join again with a token from `windlass host token {host}`"))
            }
            Self::Banned(_) => Some("a ban is for ever: give the machine another name".to_owned()),
            Self::Write(_) => None,
        }
    }
}

impl HostAction {
    const fn verb(self) -> &'static str {
        match self {
            Self::Cordon => "host.cordon",
            Self::Uncordon => "host.uncordon",
            Self::Drain => "host.drain",
            Self::Evict => "host.evict",
            Self::Ban => "host.ban",
        }
    }
}

/// Does it, and cuts the host's connections where it says so.
pub(crate) async fn steer(
    coordinator: &Coordinator,
    host: HostId,
    action: HostAction,
    actor: String,
) -> Result<(), HostError> {
    let name = host.clone();
    coordinator.ledger.write(move |batch| decide(batch, &host, action, &actor)).await??;
    coordinator.enrolment.enforce(&name);
    coordinator.host_changed(&name);
    Ok(())
}

fn decide(
    batch: &mut WriteBatch<'_>,
    host: &HostId,
    action: HostAction,
    actor: &str,
) -> Result<(), HostError> {
    let record = batch.state.hosts.get(host).ok_or_else(|| HostError::Unknown(host.clone()))?;
    let mut next = record.clone();
    match action {
        HostAction::Cordon => next.scheduling = Scheduling::Cordoned,
        HostAction::Uncordon => next.scheduling = Scheduling::Ready,
        HostAction::Drain => next.scheduling = Scheduling::Draining,
        HostAction::Evict if record.standing == Membership::Banned => {
            return Err(HostError::Banned(host.clone()));
        }
        HostAction::Evict => next.standing = Membership::Evicted,
        HostAction::Ban => next.standing = Membership::Banned,
    }
    let steers = matches!(action, HostAction::Cordon | HostAction::Uncordon | HostAction::Drain);
    if steers && !record.is_member() {
        return Err(HostError::NotAMember(host.clone()));
    }
    batch.audit(audit::ok(actor, action.verb(), host));
    if *record != next {
        batch.event_by(actor, action.verb(), host.as_str(), format!("by {actor}"));
        leave(&mut next, batch);
        batch.change(Change::Host(Box::new(next)));
    }
    Ok(())
}

/// A host that left keeps nothing that it could come back with.
fn leave(next: &mut HostRecord, batch: &mut WriteBatch<'_>) {
    if next.is_member() {
        return;
    }
    next.revoked_up_to = next.certificate.generation;
    next.ingress_since = None;
    let open: Vec<_> =
        batch.state.tokens.values().filter(|token| token.host == next.name).map(|token| token.hash).collect();
    open.into_iter().for_each(|hash| batch.change(Change::TokenGone(hash)));
}
