//! Looking at rollouts and steering them.

use windlass_core::rollout::{self, ApproveError, Approved, Rollout, RolloutCommand, SteerError};
use windlass_core::service::Slots;
use windlass_core::view::{self, HookView, RolloutView};
use windlass_core::{RolloutId, ServiceId, Timestamp};

use crate::audit;
use crate::coordinator::Coordinator;
use crate::engine;
use crate::ledger::{Change, State, WriteError};
use crate::registry::Registry;

/// The reason for which there is no such rollout, or it was not steered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RolloutError {
    /// Nothing has that name.
    #[error("there is no rollout `{0}`")]
    Unknown(String),
    /// The named service does not exist.
    #[error("there is no service `{0}`")]
    UnknownService(ServiceId),
    /// More than one begins like that.
    #[error("more than one rollout begins with `{0}`")]
    Ambiguous(String),
    /// Its state does not allow it.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// The approval does not count.
    #[error(transparent)]
    Approve(#[from] ApproveError),
    /// It would go on without an approval.
    #[error("this step wants an approval: going on without one needs an operator with role `approver`")]
    NeedsApprover,
    /// The store is older than its fleet.
    #[error("the coordinator was restored from a backup; recovery is pending")]
    Recovering,
    /// Not stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl RolloutError {
    /// The next step of the user.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some("`windlass rollout ls` shows the rollouts, `windlass status` the services".to_owned()),
            Self::UnknownService(_) => Some("`windlass status` shows the services".to_owned()),
            Self::Ambiguous(_) => Some("give more of its id".to_owned()),
            Self::Recovering => Some(crate::recovery::HINT.to_owned()),
            Self::Approve(ApproveError::Author(_)) => Some(
                "another operator runs `windlass rollout approve`; `windlass rollout promote` goes on without an approval, \
                 and the audit log says so"
                    .to_owned(),
            ),
            Self::Approve(ApproveError::Content { .. } | ApproveError::Step { .. }) => {
                Some("look at it again: `windlass rollout show` says which step and release it is at".to_owned())
            }
            Self::NeedsApprover => Some(
                "an approver runs `windlass rollout approve`, or `windlass rollout promote`, which the audit log tells apart"
                    .to_owned(),
            ),
            Self::Steer(_) | Self::Approve(_) | Self::Write(_) => None,
        }
    }
}

/// Finds a rollout by its id, the beginning of it, or as the newest of `environment/service`.
pub(crate) fn find(state: &State, text: &str) -> Result<(RolloutId, ServiceId), RolloutError> {
    let named = |rollout: &Rollout| (rollout.id.clone(), rollout.service.clone());
    if text.contains('/') {
        // Version 7: the order of ids is that of time.
        let mut newest = state.rollouts.values().rev();
        let found = newest.find(|rollout| rollout.service.to_string() == text).map(named);
        return found.ok_or_else(|| match text.parse::<ServiceId>() {
            Ok(id) if !state.services.contains_key(&id) => RolloutError::UnknownService(id),
            Ok(_) | Err(_) => RolloutError::Unknown(text.to_owned()),
        });
    }
    let mut found = state.rollouts.values().filter(|rollout| rollout.id.as_str().starts_with(text));
    match (found.next(), found.next()) {
        (Some(rollout), None) if !text.is_empty() => Ok(named(rollout)),
        (Some(_), Some(_)) if !text.is_empty() => Err(RolloutError::Ambiguous(text.to_owned())),
        _ => Err(RolloutError::Unknown(text.to_owned())),
    }
}

/// A rollout as people see it.
pub(crate) fn show(
    state: &State,
    registry: &Registry,
    id: &RolloutId,
    now: Timestamp,
) -> Option<RolloutView> {
    let rollout = state.rollouts.get(id)?;
    let service = state.services.get(&rollout.service)?;
    let fleet = registry.around(state, &rollout.service, now);
    let none = Slots::new();
    let slots = state.slots.get(&rollout.service).unwrap_or(&none);
    let waiting = (service.rollout.as_ref() == Some(id))
        .then(|| engine::advance_in(state, &fleet, &rollout.service, now))
        .flatten()
        .map(|advance| advance.waiting)
        .unwrap_or_default();
    Some(view::rollout(rollout, service, slots, &state.releases, &fleet, &waiting, now))
}

/// Rollouts, the newest first, without their slots: those of a service are the same in all of its rollouts. Each is
/// looked at by itself, so that the writer never waits for the whole list.
pub(crate) fn list(coordinator: &Coordinator, service: Option<&ServiceId>) -> Vec<RolloutView> {
    let now = coordinator.ledger.now();
    let ids: Vec<RolloutId> = coordinator.ledger.read(|state| {
        let of_service = state.rollouts.values().rev().filter(|r| service.is_none_or(|id| &r.service == id));
        of_service.map(|rollout| rollout.id.clone()).collect()
    });
    let shown = ids.iter().filter_map(|id| {
        let view = coordinator.ledger.read(|state| show(state, &coordinator.registry, id, now))?;
        let hooks = view.hooks.into_iter().map(|hook| HookView { log: Vec::new(), ..hook }).collect();
        Some(RolloutView { slots: Vec::new(), conditions: Vec::new(), hooks, ..view })
    });
    shown.collect()
}

/// Approves a step.
pub(crate) async fn approve(
    coordinator: &Coordinator,
    id: RolloutId,
    approved: Approved,
    actor: String,
) -> Result<(), RolloutError> {
    change(coordinator, id, actor, "rollout.approve", move |state, old, actor, now| {
        let release =
            state.releases.get(&old.to.digest).ok_or_else(|| RolloutError::Unknown(old.id.to_string()))?;
        Ok(rollout::approve(old, release, approved, actor, now)?)
    })
    .await
}

/// Pauses, resumes, promotes or aborts. Who may approve may also go on without an approval.
pub(crate) async fn steer(
    coordinator: &Coordinator,
    id: RolloutId,
    steering: RolloutCommand,
    at: Option<u32>,
    may_approve: bool,
    actor: String,
) -> Result<(), RolloutError> {
    change(coordinator, id, actor, verb(steering), move |state, old, actor, now| {
        at.map_or(Ok(()), |at| rollout::is_at(old, at))?;
        let release = state.releases.get(&old.to.digest);
        if !may_approve && release.is_none_or(|release| rollout::skips_approval(old, release, steering, now))
        {
            return Err(RolloutError::NeedsApprover);
        }
        Ok(rollout::steer(old, steering, actor, now)?)
    })
    .await
}

/// Stores what a person makes of a rollout.
async fn change(
    coordinator: &Coordinator,
    id: RolloutId,
    actor: String,
    verb: &'static str,
    make: impl FnOnce(&State, &Rollout, &str, Timestamp) -> Result<Rollout, RolloutError> + Send + 'static,
) -> Result<(), RolloutError> {
    coordinator
        .ledger
        .write(move |batch| {
            if batch.state.is_recovering() {
                return Err(RolloutError::Recovering);
            }
            let old = batch.state.rollouts.get(&id);
            let old = old.ok_or_else(|| RolloutError::Unknown(id.to_string()))?;
            let new = make(batch.state, old, &actor, batch.now)?;
            let subject = format!("{} {}", new.service, new.to.counter);
            batch.audit(audit::fact(&actor, verb, &subject, Some(new.to.digest), "ok"));
            if *old != new {
                engine::record_state(batch, Some(old), &new, Some(&actor));
                batch.change(Change::Rollout(Box::new(new)));
            }
            Ok(())
        })
        .await?
}

const fn verb(steering: RolloutCommand) -> &'static str {
    match steering {
        RolloutCommand::Pause => "rollout.pause",
        RolloutCommand::Resume => "rollout.resume",
        RolloutCommand::Abort => "rollout.abort",
        RolloutCommand::Approve => "rollout.approve",
        RolloutCommand::Promote => "rollout.promote",
        RolloutCommand::PromoteFull => "rollout.promote_full",
    }
}
