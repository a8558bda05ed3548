//! How a rollout ends, or turns back.

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

use super::draft::Draft;
use super::model::{Failure, GoingBack, KEEP_OLD, Kind, MAX_FAILURES, Progress, Reason, State};
use super::trial;

pub(crate) use late::no_progress;

/// The slots of the new release, without those on hosts that were lost at a deadline.
pub(crate) fn counted(draft: &Draft<'_>, to: &Digest) -> Vec<SlotId> {
    let stragglers = draft.rollout.as_ref().map(|rollout| &rollout.stragglers);
    let counts = |slot: &&Slot| {
        !slot.is_leaving()
            && &slot.release() == to
            && stragglers.is_none_or(|hosts| !hosts.contains(slot.host()))
    };
    draft.slots.values().filter(counts).map(|slot| slot.id().clone()).collect()
}

/// What failed in one look over the slots.
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
    pub(crate) fn record(self, draft: &mut Draft<'_>) -> Option<Reason> {
        let first = self.0.first()?;
        let why = match (&first.evidence, &first.refusal) {
            (Some(evidence), _) => evidence.words(),
            (None, Some(refusal)) => format!("refused: {refusal}"),
            (None, None) => "no evidence".to_owned(),
        };
        let reason = Reason::SlotFailed(format!("slot {} on {}: {why}", first.slot.index, first.host));
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
pub(crate) fn on_failure(draft: &mut Draft<'_>, spec: &Spec, reason: Reason) {
    if draft.rollout().kind != Kind::Deploy {
        // A rollback, as a restart, is never rolled back: what serves, serves, and a person looks.
        return end(draft, State::Failed, Some(reason));
    }
    // The two sets of a strategy that moves the traffic are never mixed.
    let beside = draft.target().is_some_and(|(_, release)| release.spec.runs_beside());
    match spec.on_failure {
        OnFailure::RollbackAll => go_back(draft, GoingBack::RolledBack, reason),
        OnFailure::RollbackFailed if beside => go_back(draft, GoingBack::RolledBack, reason),
        OnFailure::RollbackFailed => go_back(draft, GoingBack::OnlyFailed, reason),
        OnFailure::Pause => pause(draft, reason),
    }
}

/// Does what the manifest says about a failure of the release as a whole: it is of no single slot, so all of them go back.
pub(crate) fn on_release_failure(draft: &mut Draft<'_>, spec: &Spec, reason: Reason) {
    match spec.on_failure {
        OnFailure::Pause => on_failure(draft, spec, reason),
        OnFailure::RollbackAll | OnFailure::RollbackFailed => go_back(draft, GoingBack::RolledBack, reason),
    }
}

/// Pauses for a person.
pub(crate) fn pause(draft: &mut Draft<'_>, reason: Reason) {
    // Advancing is where a slot is tried again, whatever it failed in.
    draft.rollout().resume = Some(State::Advancing);
    draft.rollout().reason = Some(reason);
    disarm(draft);
    draft.go(State::Paused);
}

/// A try that was used up is taken back, so that the next resume is a new one.
fn disarm(draft: &mut Draft<'_>) {
    let failed: Vec<SlotId> = draft.rollout().failures.iter().map(|f| f.slot.clone()).collect();
    for slot in failed {
        draft.apply(&slot, &Transition::Disarm);
    }
}

/// Paused: takes no step, but what fails meanwhile is written down, for the person and for the resume.
pub(crate) fn watch(draft: &mut Draft<'_>) {
    draft.wait(Waiting::Person);
    let Some((to, _)) = draft.target() else { return };
    let mut faults = Faults::default();
    for slot in counted(draft, &to.digest) {
        let facts = draft.facts(&slot);
        match facts.target() {
            _ if facts.intent.run != Phase::Running => {}
            Seen::Failed(evidence) => faults.failed(facts.host(), &slot, evidence),
            Seen::Refused(refusal) => faults.refused(facts.host(), &slot, refusal),
            Seen::Nothing(_) | Seen::Converging(_) | Seen::Available => {}
        }
    }
    if faults.record(draft).is_some() {
        disarm(draft);
    }
}

/// Rolling back: what other hosts report of the same release, whatever plan they had then, is written down too.
/// It decides nothing any more.
pub(crate) fn note_late(draft: &mut Draft<'_>) {
    let to = draft.rollout().to.digest;
    let mut faults = Faults::default();
    for slot in draft.slots.keys() {
        let facts = draft.facts(slot);
        let Some(SlotStatus::Failed { evidence, .. }) = facts.last().map(|seen| &seen.status) else {
            continue;
        };
        if evidence.release == to {
            faults.failed(facts.host(), slot, evidence);
        }
    }
    faults.record(draft);
}

/// Turns back.
pub(crate) fn go_back(draft: &mut Draft<'_>, how: GoingBack, reason: Reason) {
    draft.rollout().going_back = Some(how);
    draft.rollout().reason = Some(reason);
    draft.go(State::RollingBack);
    draft.rollout().progress = Progress::default();
    draft.rollout().log.turn_back();
}

/// Marks the release good, lets the standbys stay a while, and drops slots beyond the count. What is not
/// there yet (stragglers, mostly) is brought there by the care of the service, see `steady`.
pub(crate) fn succeed(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else { return };
    let until = draft.now() + KEEP_OLD;
    let is_deploy = draft.rollout().kind == Kind::Deploy;
    let warm = draft.target().and_then(|(_, release)| release.spec.keeps_old()).filter(|_| is_deploy);
    let warm = warm.map(|span| draft.now() + span.duration());
    // One of each host is all that a host may have.
    let old = warm.filter(|_| release.spec.scale != Scale::PerHost);
    let left = left_to_care(draft, &to.digest);
    let mut slots = draft.keys();
    // The new ones first: once one of them is good, the others follow, and nothing is taken back.
    slots.sort_by_key(|slot| draft.slots[slot].release() != to.digest);
    let restarts = draft.rollout().is_restart();
    for slot in slots {
        if draft.slots[&slot].release() != to.digest {
            // What is warm elsewhere is no matter of a restart.
            if !(left.contains(&slot) || restarts && draft.slots[&slot].is_kept()) {
                retain_or_drop(draft, &slot, old);
            }
            continue;
        }
        if draft.slots[&slot].is_leaving() {
            continue;
        }
        let serves = draft.facts(&slot).is_available();
        match warm.filter(|_| serves) {
            Some(until) => draft.apply(&slot, &Transition::Keep { until }),
            None => draft.apply(&slot, &Transition::Promote { serves, until }),
        };
    }
    if draft.is_full() || draft.drains() {
        return;
    }
    draft.service.mark_good(to);
    draft.service.current = Some(to);
    if let Some(watch) = trial::watch_after(draft, &release.spec.rollback_on) {
        draft.service.watch = Some(watch);
    }
    end(draft, State::Succeeded, None);
}

/// A slot that has no part in the release of a rollout: what has traffic beside it is kept `until` then, and anything else goes,
/// also what is on a host that is to be emptied, or has somebody who stands in for it.
pub(crate) fn retain_or_drop(draft: &mut Draft<'_>, slot: &SlotId, until: Option<Timestamp>) {
    let at = &draft.slots[slot];
    let divided = draft.service.split.as_ref().is_some_and(|split| split.names(&at.release()));
    let is_kept = divided && may_be_kept(at, &draft.slots, draft.is_draining(slot));
    match until.filter(|_| is_kept) {
        Some(until) => drop(draft.apply(slot, &Transition::Retain { until })),
        None => draft.drop_slot(slot),
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
fn left_to_care(draft: &Draft<'_>, to: &Digest) -> BTreeSet<SlotId> {
    let Some((_, release)) = draft.target().filter(|(_, release)| release.spec.scale == Scale::PerHost)
    else {
        return BTreeSet::new();
    };
    let at_it = draft.slots.values().filter(|slot| &slot.release() == to);
    let mut hosts: BTreeSet<HostId> = at_it.map(|slot| slot.host().clone()).collect();
    let mut left = BTreeSet::new();
    for (id, slot) in &draft.slots {
        let others = &slot.release() != to && !slot.is_leaving();
        let cared_for = draft.is_draining(id) || draft.fits(id, release);
        if others && cared_for && hosts.insert(slot.host().clone()) {
            left.insert(id.clone());
        }
    }
    left
}

/// Fails the rollout if nobody is left who could say that it succeeded. Answers whether it did.
pub(crate) fn is_vacuous(draft: &mut Draft<'_>, spec: &Spec, counted: usize) -> bool {
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
pub(crate) fn end(draft: &mut Draft<'_>, state: State, reason: Option<Reason>) {
    debug_assert!(state.is_final(), "a rollout ends in a final state");
    if let Some(reason) = reason {
        draft.rollout().reason = Some(reason);
    }
    draft.go(state);
    draft.service.rollout = None;
    // A release that it is at is held no more, whoever had left it before.
    let current = draft.service.current.map(|current| current.content);
    draft.service.held.retain(|content| Some(*content) != current);
}
