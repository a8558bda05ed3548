//! New instances of the release that a service is at.
//!
//! A restart is a rollout from a release to itself: the same batches, orders and limits. What tells the old
//! instance of a slot from the new one is its *generation*, which only rises. An agent compares the one that the plan
//! wants with the one on the container's label, so that a plan that is repeated, or an agent that has lost its
//! memory, restarts nothing twice.

use crate::id::{Counter, RolloutId, ServiceId};
use crate::service::{Mode, Service};
use crate::time::Timestamp;

use super::{Kind, Rollout, StartError, Target, start};

/// The reason for which there is nothing to restart, or not now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// It never had a release, or was removed.
    #[error("`{0}` has no release that could run")]
    Nothing(ServiceId),
    /// Its last rollout left it between two releases.
    #[error(
        "the last rollout of `{service}` to {release} did not succeed, so there is no release to restart"
    )]
    Unsettled {
        /// The service.
        service: ServiceId,
        /// The release that it is at.
        release: Counter,
    },
    /// A rollout moves it.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Makes the rollout of a restart. `seen` is the highest generation that any host reports: a coordinator that was
/// restored may have forgotten one.
///
/// # Errors
/// The service is at no good release, or a rollout moves it.
pub fn restart(
    service: &Service,
    active: Option<&Rollout>,
    seen: u64,
    actor: String,
    id: RolloutId,
    now: Timestamp,
) -> Result<(Service, Rollout), RestartError> {
    let current = service.current.filter(|_| service.mode != Mode::Removed);
    let current = current.ok_or_else(|| RestartError::Nothing(service.id.clone()))?;
    let moves = active.is_some_and(|rollout| !rollout.state.is_final());
    if !moves && service.last_good() != Some(current) {
        let service = service.id.clone();
        return Err(RestartError::Unsettled { service, release: current.counter });
    }
    let target =
        Target { release: current, kind: Kind::Restart, actor, supersede: false, retry_quarantined: false };
    let (mut service, mut rollout, _) = start(service, active, target, id, now)?;
    service.generation = service.generation.max(seen).saturating_add(1);
    rollout.generation = service.generation;
    Ok((service, rollout))
}
