//! How a rollout ends, or turns back.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::observation::{Evidence, Refusal, SlotStatus};
use crate::plan::Phase;
use crate::release::{OnFailure, Scale, Spec};
use crate::service::Assignment;

use super::draft::Draft;
use super::placing::stays;
use super::seen::Seen;
use super::steady::is_draining;
use super::waiting::Waiting;
use super::{Failure, GoingBack, KEEP_OLD, Kind, MAX_FAILURES, Progress, Reason, State};

/// The slots of the new release, without those on hosts that were lost at a deadline.
pub(super) fn counted(draft: &Draft<'_>, to: &Digest) -> Vec<SlotId> {
    let stragglers = draft.rollout.as_ref().map(|rollout| &rollout.stragglers);
    let counts = |assignment: &Assignment| {
        assignment.want.phase != Phase::Absent
            && &assignment.want.release == to
            && stragglers.is_none_or(|hosts| !hosts.contains(&assignment.host))
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
        for failure in self.0 {
            let rollout = draft.rollout();
            // The newest of each slot, and the newest of all.
            if rollout.failures.contains(&failure) {
                continue;
            }
            rollout.failures.retain(|known| known.slot != failure.slot);
            if rollout.failures.len() >= MAX_FAILURES {
                rollout.failures.remove(0);
            }
            rollout.failures.push(failure.clone());
            draft.failed(failure);
        }
        Some(reason)
    }
}

/// Does what the manifest says about a failure.
pub(super) fn on_failure(draft: &mut Draft<'_>, spec: &Spec, reason: Reason) {
    if draft.rollout().kind != Kind::Deploy {
        // A rollback, as a restart, is never rolled back: what serves, serves, and a person looks.
        return end(draft, State::Failed, Some(reason));
    }
    match spec.on_failure {
        OnFailure::RollbackAll => go_back(draft, GoingBack::RolledBack, reason),
        OnFailure::RollbackFailed => go_back(draft, GoingBack::OnlyFailed, reason),
        OnFailure::Pause => {
            // Advancing is where a slot is tried again, whatever it failed in.
            draft.rollout().resume = Some(State::Advancing);
            draft.rollout().reason = Some(reason);
            disarm(draft);
            draft.go(State::Paused);
        }
    }
}

/// A try that was used up is taken back, so that the next resume is a new one.
fn disarm(draft: &mut Draft<'_>) {
    let failed: Vec<SlotId> = draft.rollout().failures.iter().map(|f| f.slot.clone()).collect();
    for slot in failed {
        draft.edit(&slot, |assignment| assignment.want.retry_quarantined = false);
    }
}

/// Paused: takes no step, but what fails meanwhile is written down, for the person and for the resume.
pub(super) fn watch(draft: &mut Draft<'_>) {
    draft.wait(Waiting::Person);
    let Some((to, _)) = draft.target() else { return };
    let mut faults = Faults::default();
    for slot in counted(draft, &to.digest) {
        let assignment = &draft.slots[&slot];
        match draft.seen(&slot, &to.digest) {
            _ if assignment.want.phase != Phase::Running => {}
            Seen::Failed(evidence) => faults.failed(&assignment.host, &slot, evidence),
            Seen::Refused(refusal) => faults.refused(&assignment.host, &slot, refusal),
            Seen::Nothing(_) | Seen::Converging(_) | Seen::Available => {}
        }
    }
    if faults.record(draft).is_some() {
        disarm(draft);
    }
}

/// Rolling back: what other hosts report of the same release, whatever plan they had then, is written down too.
/// It decides nothing any more.
pub(super) fn note_late(draft: &mut Draft<'_>) {
    let to = draft.rollout().to.digest;
    let mut faults = Faults::default();
    for (slot, assignment) in &draft.slots {
        let member = draft.snapshot.fleet.member(&assignment.host);
        let seen = member.and_then(|member| member.observation.as_deref()).and_then(|seen| seen.slot(slot));
        let Some(SlotStatus::Failed { evidence, .. }) = seen.map(|seen| &seen.status) else { continue };
        if evidence.release == to {
            faults.failed(&assignment.host, slot, evidence);
        }
    }
    faults.record(draft);
}

/// Turns back.
pub(super) fn go_back(draft: &mut Draft<'_>, how: GoingBack, reason: Reason) {
    draft.rollout().going_back = Some(how);
    draft.rollout().reason = Some(reason);
    draft.go(State::RollingBack);
    draft.rollout().progress = Progress::default();
    draft.rollout().log.turn_back();
}

/// Marks the release good, lets the standbys stay a while, and drops slots beyond the count. What is not
/// there yet (stragglers, mostly) is brought there by the care of the service, see `steady`.
pub(super) fn succeed(draft: &mut Draft<'_>) {
    let Some((to, _)) = draft.target() else { return };
    let standby_until = draft.now() + KEEP_OLD;
    let left = left_to_care(draft, &to.digest);
    for slot in draft.slots.keys().cloned().collect::<Vec<_>>() {
        if draft.slots[&slot].want.release != to.digest {
            if !left.contains(&slot) {
                draft.drop_slot(&slot);
            }
            continue;
        }
        if draft.is_leaving(&slot) {
            continue;
        }
        let available = matches!(draft.seen(&slot, &to.digest), Seen::Available);
        draft.edit(&slot, |assignment| {
            let want = &mut assignment.want;
            want.good = true;
            want.fallback = None;
            want.retry_quarantined = false;
            if let Some(previous) = want.previous.as_mut().filter(|_| want.phase == Phase::Running)
                && (available || previous.phase == Phase::Standby)
            {
                previous.phase = Phase::Standby;
                assignment.standby_until.get_or_insert(standby_until);
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

/// Slots of a service that runs once on every host which had no part in the rollout, since their hosts were to have none.
/// Nothing takes their place: on a host that drains they go a few at a time, and on one that is wanted again they come to the
/// release, see `steady`.
fn left_to_care(draft: &Draft<'_>, to: &Digest) -> BTreeSet<SlotId> {
    let Some((_, release)) = draft.target().filter(|(_, release)| release.spec.scale == Scale::PerHost)
    else {
        return BTreeSet::new();
    };
    let at_it = draft.slots.values().filter(|assignment| &assignment.want.release == to);
    let mut hosts: BTreeSet<HostId> = at_it.map(|assignment| assignment.host.clone()).collect();
    let mut left = BTreeSet::new();
    for (slot, assignment) in &draft.slots {
        let others = &assignment.want.release != to && !draft.is_leaving(slot);
        if others
            && (is_draining(draft, slot) || stays(draft, slot, release))
            && hosts.insert(assignment.host.clone())
        {
            left.insert(slot.clone());
        }
    }
    left
}

/// Fails the rollout if nobody is left who could say that it succeeded. Answers whether it did.
pub(super) fn is_vacuous(draft: &mut Draft<'_>, spec: &Spec, counted: usize) -> bool {
    let wanted = match spec.scale {
        Scale::Replicas { .. } => draft.service.replicas,
        Scale::PerHost => 1,
    };
    if counted > 0 || wanted == 0 {
        return false;
    }
    on_failure(draft, spec, Reason::NoPlace("every host of it has gone".to_owned()));
    true
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
