//! Recreate: old and new never run together, in neither direction.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::{Order, Phase};

use super::draft::Draft;
use super::waiting::Waiting;

/// How far the old release is from having stopped.
pub(super) enum Stopping {
    /// Nothing of it runs.
    Done,
    /// Something runs, or may.
    On {
        /// The slots that may, if all of them are on hosts out of reach.
        only_lost: Vec<SlotId>,
    },
}

/// Stops every old instance, those of slots that will go included, before any new one starts. Where a host is out of
/// reach it is not known, and no release is blamed: at the deadline that host leaves the count.
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
        if draft.is_left_behind(&slot) {
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
            if draft.is_out_of_reach(&slot) {
                lost.push(slot);
            } else {
                going_on = true;
            }
        }
    }
    so_far(draft, going_on, lost)
}

fn so_far(draft: &Draft<'_>, going_on: bool, lost: Vec<SlotId>) -> Stopping {
    if going_on || draft.is_full() {
        Stopping::On { only_lost: Vec::new() }
    } else if lost.is_empty() {
        Stopping::Done
    } else {
        Stopping::On { only_lost: lost }
    }
}

/// On the way back: stops what runs of the release `to`, which the good one must not run beside. What is on lost hosts,
/// and out of reach on those that left the count, is not waited for.
pub(super) fn stop_new(draft: &mut Draft<'_>, to: &Digest) -> Stopping {
    let (mut going_on, mut out_of_reach) = (false, Vec::new());
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
        let away = draft.is_out_of_reach(&slot);
        let left_out = draft.is_lost(&slot) || (away && draft.is_left_behind(&slot));
        if !(begun || is_previous) || left_out || is_stopped(draft, &slot, to) {
            continue;
        }
        if away {
            out_of_reach.push(slot);
        } else {
            going_on = true;
        }
    }
    so_far(draft, going_on, out_of_reach)
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
