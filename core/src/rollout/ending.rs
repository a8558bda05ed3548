//! The end of a rollout, or its way back.

mod late;

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::observation::{Evidence, Refusal, SlotStatus};
use crate::plan::Phase;
use crate::release::{OnFailure, Scale, Spec};
use crate::service::Slots;
use crate::slot::{Seen, Slot, Transition, Waiting};
use crate::time::Timestamp;

use super::model::{Failure, KEEP_OLD, Kind, MAX_FAILURES, Progress, Reason, RollbackMode, State};
use super::planner::Planner;
use super::trial;

pub(crate) use late::{hindrance, no_progress};

/// The slots of the new release, without those on hosts that were lost at a deadline.
pub(crate) fn counted(planner: &Planner<'_>, to: &Digest) -> Vec<SlotId> {
    let stragglers = planner.rollout.as_ref().map(|rollout| &rollout.stragglers);
    planner.slots_that(|slot| {
        !slot.is_leaving()
            && &slot.release() == to
            && stragglers.is_none_or(|hosts| !hosts.contains(slot.host()))
    })
}

/// The failures in one look over the slots.
#[derive(Default)]
pub(crate) struct Faults(Vec<Failure>);

impl Faults {
    pub(crate) fn failed(&mut self, host: &HostId, slot: &SlotId, evidence: &Evidence) {
        self.push(host, slot, Some(evidence.clone()), None);
    }

    pub(crate) fn refused(&mut self, host: &HostId, slot: &SlotId, refusal: &Refusal) {
        self.push(host, slot, None, Some(refusal.clone()));
    }

    fn push(&mut self, host: &HostId, slot: &SlotId, evidence: Option<Evidence>, refusal: Option<Refusal>) {
        if self.0.len() < MAX_FAILURES {
            self.0.push(Failure { host: host.clone(), slot: slot.clone(), evidence, refusal });
        }
    }

    /// Notes what failed in the rollout. Answers with the reason, if anything did.
    pub(crate) fn record(self, planner: &mut Planner<'_>) -> Option<Reason> {
        let first = self.0.first()?;
        let why = match (&first.evidence, &first.refusal) {
            (Some(evidence), _) => evidence.words(),
            (None, Some(refusal)) => format!("refused: {refusal}"),
            (None, None) => "no evidence".to_owned(),
        };
        let reason = Reason::SlotFailed(format!("slot {} on {}: {why}", first.slot.index, first.host));
        for failure in self.0 {
            let rollout = planner.rollout();
            // The newest of each slot, and the newest of all.
            if rollout.failures.contains(&failure) {
                continue;
            }
            rollout.failures.retain(|known| known.slot != failure.slot);
            if rollout.failures.len() >= MAX_FAILURES {
                rollout.failures.remove(0);
            }
            rollout.failures.push(failure.clone());
            planner.failed(failure);
        }
        Some(reason)
    }
}

/// Does what the manifest says about a failure.
pub(crate) fn on_failure(planner: &mut Planner<'_>, spec: &Spec, reason: Reason) {
    if planner.rollout().kind != Kind::Deploy {
        // A rollback, as a restart, is never rolled back: what serves, serves, and a person looks.
        return end(planner, State::Failed, Some(reason));
    }
    // The two sets of a strategy that moves the traffic are never mixed.
    let beside = planner.target().is_some_and(|(_, release)| release.spec.runs_beside());
    match spec.on_failure {
        OnFailure::RollbackAll => go_back(planner, RollbackMode::RolledBack, reason),
        OnFailure::RollbackFailed if beside => go_back(planner, RollbackMode::RolledBack, reason),
        OnFailure::RollbackFailed => go_back(planner, RollbackMode::OnlyFailed, reason),
        OnFailure::Pause => pause(planner, reason),
    }
}

/// Does what the manifest says about a failure of the release as a whole: it is of no single slot, so all of them go back.
pub(crate) fn on_release_failure(planner: &mut Planner<'_>, spec: &Spec, reason: Reason) {
    match spec.on_failure {
        OnFailure::Pause => on_failure(planner, spec, reason),
        OnFailure::RollbackAll | OnFailure::RollbackFailed => {
            go_back(planner, RollbackMode::RolledBack, reason)
        }
    }
}

/// Pauses for a person.
pub(crate) fn pause(planner: &mut Planner<'_>, reason: Reason) {
    // Advancing is where a slot is tried again, whatever it failed in.
    planner.rollout().resume = Some(State::Advancing);
    planner.rollout().reason = Some(reason);
    disarm(planner);
    planner.go(State::Paused);
}

/// A try that was used up is taken back, so that the next resume is a new one.
fn disarm(planner: &mut Planner<'_>) {
    let failed: Vec<SlotId> = planner.rollout().failures.iter().map(|f| f.slot.clone()).collect();
    for slot in failed {
        planner.apply(&slot, &Transition::Disarm);
    }
}

/// Paused: takes no step, but what fails meanwhile is written down, for the person and for the resume.
pub(crate) fn watch(planner: &mut Planner<'_>) {
    planner.wait(Waiting::Person);
    let Some((to, _)) = planner.target() else { return };
    let mut faults = Faults::default();
    for slot in counted(planner, &to.digest) {
        let facts = planner.facts(&slot);
        match facts.target() {
            _ if facts.intent.run != Phase::Running => {}
            Seen::Failed(evidence) => faults.failed(facts.host(), &slot, evidence),
            Seen::Refused(refusal) => faults.refused(facts.host(), &slot, refusal),
            Seen::Nothing(_) | Seen::Converging(_) | Seen::Available => {}
        }
    }
    if faults.record(planner).is_some() {
        disarm(planner);
    }
}

/// Rolling back: what other hosts report of the same release, whatever plan they had then, is written down too.
/// It decides nothing any more.
pub(crate) fn note_late(planner: &mut Planner<'_>) {
    let to = planner.rollout().to.digest;
    let mut faults = Faults::default();
    for slot in planner.slots.keys() {
        let facts = planner.facts(slot);
        let Some(SlotStatus::Failed { evidence, .. }) = facts.last().map(|seen| &seen.status) else {
            continue;
        };
        if evidence.release == to {
            faults.failed(facts.host(), slot, evidence);
        }
    }
    faults.record(planner);
}

/// Turns back.
pub(crate) fn go_back(planner: &mut Planner<'_>, how: RollbackMode, reason: Reason) {
    planner.rollout().going_back = Some(how);
    planner.rollout().reason = Some(reason);
    planner.go(State::RollingBack);
    planner.rollout().progress = Progress::default();
    planner.rollout().log.turn_back();
}

/// Marks the release good, lets the standbys stay a while, and drops slots beyond the count. What is not
/// there yet (stragglers, mostly) is brought there by the care of the service, see `steady`.
pub(crate) fn succeed(planner: &mut Planner<'_>) {
    let Some((to, release)) = planner.target() else { return };
    let until = planner.now() + KEEP_OLD;
    let is_deploy = planner.rollout().kind == Kind::Deploy;
    let warm = planner.target().and_then(|(_, release)| release.spec.keeps_old()).filter(|_| is_deploy);
    let warm = warm.map(|span| planner.now() + span.duration());
    // One of each host is all that a host may have.
    let old = warm.filter(|_| release.spec.scale != Scale::PerHost);
    let left = left_to_care(planner, &to.digest);
    let mut slots = planner.keys();
    // The new ones first: once one of them is good, the others follow, and nothing is taken back.
    slots.sort_by_cached_key(|slot| planner.slots[slot].release() != to.digest);
    let restarts = planner.rollout().is_restart();
    for slot in slots {
        if planner.slots[&slot].release() != to.digest {
            // A set that is warm elsewhere is no matter of a restart.
            if !(left.contains(&slot) || restarts && planner.slots[&slot].is_kept()) {
                retain_or_drop(planner, &slot, old);
            }
            continue;
        }
        if planner.slots[&slot].is_leaving() {
            continue;
        }
        let serves = planner.facts(&slot).is_available();
        match warm.filter(|_| serves) {
            Some(until) => planner.apply(&slot, &Transition::Keep { until }),
            None => planner.apply(&slot, &Transition::Promote { serves, until }),
        };
    }
    if planner.is_full() || planner.drains() {
        return;
    }
    planner.service.mark_good(to);
    planner.service.current = Some(to);
    if let Some(watch) = trial::watch_after(planner, &release.spec.rollback_on) {
        planner.service.watch = Some(watch);
    }
    end(planner, State::Succeeded, None);
}

/// A slot that has no part in the release of a rollout: what has traffic beside it is kept `until` then, and anything else goes,
/// also what is on a host that is to be emptied, or has somebody who stands in for it.
pub(crate) fn retain_or_drop(planner: &mut Planner<'_>, slot: &SlotId, until: Option<Timestamp>) {
    let at = &planner.slots[slot];
    let divided = planner.service.split.as_ref().is_some_and(|split| split.names(&at.release()));
    let is_kept = divided && may_be_kept(at, &planner.slots, planner.is_draining(slot));
    match until.filter(|_| is_kept) {
        Some(until) => drop(planner.apply(slot, &Transition::Retain { until })),
        None => planner.drop_slot(slot),
    }
}

/// Whether a slot with traffic beside it may be kept after its rollout.
pub(crate) fn may_be_kept(slot: &Slot, slots: &Slots, is_draining: bool) -> bool {
    let is_replaced = || slots.values().any(|other| other.stands_in_for() == Some(slot.id()));
    slot.run().runs() && !is_draining && !is_replaced()
}

/// Slots of a service that runs once on every host which had no part in the rollout, since their hosts were to have none.
/// Nothing takes their place: on a host that drains they go a few at a time, and on one that is wanted again they come to the
/// release, see `steady`.
fn left_to_care(planner: &Planner<'_>, to: &Digest) -> BTreeSet<SlotId> {
    let Some((_, release)) = planner.target().filter(|(_, release)| release.spec.scale == Scale::PerHost)
    else {
        return BTreeSet::new();
    };
    let at_it = planner.slots.values().filter(|slot| &slot.release() == to);
    let mut hosts: BTreeSet<HostId> = at_it.map(|slot| slot.host().clone()).collect();
    let mut left = BTreeSet::new();
    for (id, slot) in &planner.slots {
        let others = &slot.release() != to && !slot.is_leaving();
        let cared_for = planner.is_draining(id) || planner.fits(id, release);
        if others && cared_for && hosts.insert(slot.host().clone()) {
            left.insert(id.clone());
        }
    }
    left
}

/// Fails the rollout if nobody is left who could say that it succeeded. Answers whether it did.
pub(crate) fn is_vacuous(planner: &mut Planner<'_>, spec: &Spec, counted: usize) -> bool {
    let wanted = match spec.scale {
        Scale::Replicas { .. } => planner.service.replicas,
        Scale::PerHost => 1,
    };
    if counted > 0 || wanted == 0 {
        return false;
    }
    on_failure(planner, spec, Reason::NoPlace("every host of it has gone".to_owned()));
    true
}

/// Ends the rollout.
pub(crate) fn end(planner: &mut Planner<'_>, state: State, reason: Option<Reason>) {
    debug_assert!(state.is_final(), "a rollout ends in a final state");
    if let Some(reason) = reason {
        planner.rollout().reason = Some(reason);
    }
    planner.go(state);
    planner.service.rollout = None;
    // A release that it is at is held no more, whoever had left it before.
    let current = planner.service.current.map(|current| current.content);
    planner.service.held.retain(|content| Some(*content) != current);
}
