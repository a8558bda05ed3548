//! The beginning of a rollout: the check that it may begin, and the release that it goes back to.

use std::collections::BTreeMap;

use crate::id::{Counter, RolloutId};
use crate::service::{Mode, ReleaseRef, Service};
use crate::time::Timestamp;

use super::{Kind, Log, Progress, Reason, Rollout, State, What};

/// The target of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The release.
    pub release: ReleaseRef,
    /// Forward or back.
    pub kind: Kind,
    /// The person or program that asks.
    pub actor: String,
    /// End an active rollout and keep its fallback.
    pub supersede: bool,
    /// Start it although its content failed before.
    pub retry_quarantined: bool,
}

/// The reason for which a rollout may not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Another one moves the service.
    #[error("rollout {id} of this service is active: to {release}, asked for by {actor} at {since}")]
    Active {
        /// Which.
        id: RolloutId,
        /// The release that it goes to.
        release: Counter,
        /// Who asked for it.
        actor: String,
        /// When.
        since: Timestamp,
    },
}

impl StartError {
    /// The refusal of a command because of `rollout`.
    pub(super) fn active(rollout: &Rollout) -> Self {
        Self::Active {
            id: rollout.id.clone(),
            release: rollout.to.counter,
            actor: rollout.actor.clone(),
            since: rollout.created_at,
        }
    }
}

/// Makes the rollout of `target`. Answers with the service and the rollout to store, and with the one
/// that it supersedes.
///
/// # Errors
/// Another rollout is active and was not to be superseded; a rollback always supersedes.
pub fn start(
    service: &Service,
    active: Option<&Rollout>,
    target: Target,
    id: RolloutId,
    now: Timestamp,
) -> Result<(Service, Rollout, Option<Rollout>), StartError> {
    let active = active.filter(|rollout| !rollout.state.is_final());
    if let Some(rollout) = active
        && target.kind != Kind::Rollback
        && !target.supersede
    {
        return Err(StartError::active(rollout));
    }
    let mut service = service.clone();
    let left = service.current.map(|current| current.counter);
    let is_cleared = service.cleared.remove(&target.release.content);
    let target = Target { retry_quarantined: target.retry_quarantined || is_cleared, ..target };
    let superseded = active.map(|rollout| rollout.superseded(Reason::SupersededBy(id.clone()), now));
    match target.kind {
        Kind::Deploy => service.last_counter = service.last_counter.max(target.release.counter.0),
        Kind::Rollback => hold(&mut service, target.release),
        Kind::Restart => {}
    }
    service.held.retain(|content| *content != target.release.content);
    service.mode = Mode::Running;
    service.leaving.clear();
    if target.kind != Kind::Restart {
        service.given_up = 0;
        service.watch = None;
    }
    service.rollout = Some(id.clone());
    let mut log = Log::default();
    log.note(now, started(&service, &target, active));
    let rollout = Rollout {
        id,
        service: service.id.clone(),
        kind: target.kind,
        actor: target.actor,
        from: service.last_good(),
        left,
        to: target.release,
        state: State::Pending,
        created_at: now,
        state_since: now,
        progress_at: now,
        progress: Progress::default(),
        soak_since: None,
        resume: None,
        going_back: None,
        changed: false,
        replicas_before: active.map_or(service.replicas, |rollout| rollout.replicas_before),
        first_new: active.map_or(service.next_index, |rollout| rollout.first_new),
        failures: Vec::new(),
        stragglers: active.map(|rollout| rollout.stragglers.clone()).unwrap_or_default(),
        retry_quarantined: target.retry_quarantined,
        generation: 0,
        shift: None,
        reason: None,
        counts_from: None,
        restarts_before: BTreeMap::new(),
        gpu_errors_before: BTreeMap::new(),
        gates: None,
        hooks: Vec::new(),
        log,
    };
    service.current = Some(target.release);
    Ok((service, rollout, superseded))
}

fn started(service: &Service, target: &Target, active: Option<&Rollout>) -> What {
    What::Started {
        by: target.actor.clone(),
        kind: target.kind,
        from: service.last_good().map(|good| good.counter),
        left: service.current.map(|current| current.counter),
        to: target.release.counter,
        supersedes: active.map(|rollout| rollout.id.clone()),
        retry_quarantined: target.retry_quarantined,
    }
}

/// A release that a person rolls back from is held, so that automation does not bring it back.
fn hold(service: &mut Service, to: ReleaseRef) {
    let left = service.current.filter(|current| current.content != to.content);
    if let Some(left) = left
        && !service.held.contains(&left.content)
    {
        service.held.push(left.content);
        let surplus = service.held.len().saturating_sub(crate::service::HISTORY);
        service.held.drain(..surplus);
    }
}
