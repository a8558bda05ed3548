//! Recreate: old and new never run together, in neither direction.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::{Order, Phase};

use super::draft::Draft;
use super::seen::Waiting;

/// How far the old release is from having stopped.
pub(super) enum Stopping {
    /// Nothing of it runs.
    Done,
    /// Something runs, or may.
    On {
        /// The slots that may, if all of them are on lost hosts.
        only_lost: Vec<SlotId>,
    },
}

/// Stops every old instance, those of slots that will go included, before any new one starts.
pub(super) fn stop_all(draft: &mut Draft<'_>, to: &Digest) -> Stopping {
    let (mut going_on, mut lost) = (false, Vec::new());
    for slot in draft.slots.keys().cloned().collect::<Vec<_>>() {
        if draft.is_leaving(&slot) {
            continue;
        }
        let want = &draft.slots[&slot].want;
        let old = if &want.release != to || (draft.is_outdated(&slot) && want.phase != Phase::Pulled) {
            want.release
        } else if want.phase == Phase::Pulled
            && let Some(previous) = &want.previous
        {
            previous.release
        } else {
            continue;
        };
        let host = draft.slots[&slot].host.clone();
        if draft.rollout().stragglers.contains(&host) {
            continue;
        }
        draft.rollout().changed = true;
        draft.edit(&slot, |assignment| {
            let want = &mut assignment.want;
            want.order = Order::StopFirst;
            match &mut want.previous {
                Some(previous) if &want.release == to => previous.phase = Phase::Standby,
                Some(_) | None => want.phase = Phase::Standby,
            }
        });
        if !is_stopped(draft, &slot, &old) {
            if draft.is_lost(&slot) {
                lost.push(slot);
            } else {
                going_on = true;
            }
        }
    }
    if going_on || draft.is_full() {
        Stopping::On { only_lost: Vec::new() }
    } else if lost.is_empty() {
        Stopping::Done
    } else {
        Stopping::On { only_lost: lost }
    }
}

/// On the way back: stops what runs of the release `to`, which `from` must not run beside. Answers whether
/// all of it has stopped; what is on lost hosts is not waited for.
pub(super) fn stop_new(draft: &mut Draft<'_>, to: &Digest) -> bool {
    let mut stopped = true;
    for slot in draft.slots.keys().cloned().collect::<Vec<_>>() {
        if draft.is_leaving(&slot) {
            continue;
        }
        let want = &draft.slots[&slot].want;
        let is_previous = want.previous.as_ref().is_some_and(|previous| &previous.release == to);
        let begun = &want.release == to && want.phase != Phase::Pulled;
        if begun {
            draft.rollout().changed = true;
            draft.edit(&slot, |assignment| assignment.want.phase = Phase::Standby);
        }
        if (begun || is_previous) && !draft.is_lost(&slot) {
            stopped &= is_stopped(draft, &slot, to);
        }
    }
    stopped && !draft.is_full()
}

fn is_stopped(draft: &mut Draft<'_>, slot: &SlotId, release: &Digest) -> bool {
    let waiting = match draft.is_stopped(slot, release) {
        Ok(true) => return true,
        Ok(false) => Waiting::Stop { host: draft.slots[slot].host.clone(), slot: slot.clone() },
        Err(waiting) => waiting,
    };
    draft.wait(waiting);
    false
}
