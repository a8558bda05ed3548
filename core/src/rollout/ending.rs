//! How a rollout ends, or turns back.

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::observation::{Evidence, Refusal};
use crate::plan::{Order, Phase};
use crate::release::{OnFailure, Spec};
use crate::service::Assignment;

use super::draft::Draft;
use super::{Failure, GoingBack, KEEP_OLD, Kind, MAX_FAILURES, Reason, State};

/// The slots of the new release, without those on hosts that were lost at a deadline.
pub(super) fn counted(draft: &Draft<'_>, to: &Digest) -> Vec<SlotId> {
    let stragglers = draft.rollout.as_ref().map(|rollout| &rollout.stragglers);
    let counts = |assignment: &Assignment| {
        &assignment.want.release == to && stragglers.is_none_or(|hosts| !hosts.contains(&assignment.host))
    };
    draft.slots.iter().filter(|(_, assignment)| counts(assignment)).map(|(slot, _)| slot.clone()).collect()
}

/// What failed in one look over the slots.
#[derive(Default)]
pub(super) struct Faults(Vec<Failure>);

impl Faults {
    pub(super) fn failed(&mut self, host: &HostId, slot: &SlotId, evidence: &Evidence) {
        self.push(host, slot, Some(evidence.clone()), None);
    }

    pub(super) fn refused(&mut self, host: &HostId, slot: &SlotId, refusal: &Refusal) {
        self.push(host, slot, None, Some(refusal.clone()));
    }

    fn push(&mut self, host: &HostId, slot: &SlotId, evidence: Option<Evidence>, refusal: Option<Refusal>) {
        if self.0.len() < MAX_FAILURES {
            self.0.push(Failure { host: host.clone(), slot: slot.clone(), evidence, refusal });
        }
    }

    /// Notes what failed in the rollout. Answers with the reason, if anything did.
    pub(super) fn record(self, draft: &mut Draft<'_>) -> Option<Reason> {
        let first = self.0.first()?;
        let why = match (&first.evidence, &first.refusal) {
            (Some(evidence), _) => evidence.reason.to_string(),
            (None, Some(refusal)) => format!("refused: {refusal}"),
            (None, None) => "no evidence".to_owned(),
        };
        let reason = Reason::SlotFailed(format!("{} on host {}: {why}", first.slot, first.host));
        let rollout = draft.rollout();
        for failure in self.0 {
            let known =
                rollout.failures.iter().any(|f| f.slot == failure.slot && f.evidence == failure.evidence);
            if !known && rollout.failures.len() < MAX_FAILURES {
                rollout.failures.push(failure);
            }
        }
        Some(reason)
    }
}

/// Does what the manifest says about a failure.
pub(super) fn on_failure(draft: &mut Draft<'_>, spec: &Spec, reason: Reason) {
    if draft.rollout().kind == Kind::Rollback {
        // A rollback is never rolled back: what serves, serves, and a person looks.
        return end(draft, State::Failed, Some(reason));
    }
    match spec.on_failure {
        OnFailure::RollbackAll => go_back(draft, GoingBack::RolledBack, reason),
        OnFailure::RollbackFailed => go_back(draft, GoingBack::OnlyFailed, reason),
        OnFailure::Pause => {
            let state = draft.rollout().state;
            draft.rollout().resume = Some(state);
            draft.rollout().reason = Some(reason);
            draft.go(State::Paused);
        }
    }
}

/// Turns back.
pub(super) fn go_back(draft: &mut Draft<'_>, how: GoingBack, reason: Reason) {
    draft.rollout().going_back = Some(how);
    draft.rollout().reason = Some(reason);
    draft.go(State::RollingBack);
}

/// Marks the release good, lets the standbys stay a while, and drops slots beyond the count.
pub(super) fn succeed(draft: &mut Draft<'_>) {
    let Some((to, _)) = draft.target() else { return };
    let standby_until = draft.now() + KEEP_OLD;
    for slot in draft.slots.keys().cloned().collect::<Vec<_>>() {
        if draft.slots[&slot].want.release != to.digest {
            draft.drop_slot(&slot);
            continue;
        }
        draft.edit(&slot, |assignment| {
            let want = &mut assignment.want;
            if want.phase != Phase::Running {
                // A straggler: it gets the outcome when it returns.
                want.phase = Phase::Running;
                want.order = Order::StopFirst;
            }
            want.good = true;
            want.fallback = None;
            want.retry_quarantined = false;
            if let Some(previous) = &mut want.previous {
                previous.phase = Phase::Standby;
                assignment.standby_until = Some(standby_until);
            }
        });
    }
    if draft.is_full() {
        return;
    }
    draft.service.mark_good(to);
    draft.service.current = Some(to);
    end(draft, State::Succeeded, None);
}

/// Ends the rollout.
pub(super) fn end(draft: &mut Draft<'_>, state: State, reason: Option<Reason>) {
    debug_assert!(state.is_final(), "a rollout ends in a final state");
    if let Some(reason) = reason {
        draft.rollout().reason = Some(reason);
    }
    draft.go(state);
    draft.service.rollout = None;
}
