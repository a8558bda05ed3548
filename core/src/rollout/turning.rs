//! One slot turns back to the good release: on the way back of a rollout, or afterwards, where that left one behind.

use crate::id::SlotId;
use crate::plan::{Order, Phase, Previous};
use crate::service::ReleaseRef;

use super::down::Down;
use super::draft::Draft;
use super::exclusive::lets_anything_run;
use super::seen::Seen;

/// Turns `slot` to `good`. Answers false if its instance may not be stopped yet: it may serve, and its host is lost, or as many
/// others as may be are in `down`, where it is entered if it is stopped.
pub(super) fn turn(
    draft: &mut Draft<'_>,
    slot: &SlotId,
    good: &ReleaseRef,
    down: &mut Down,
    may_start: bool,
) -> bool {
    let want = draft.slots[slot].want.clone();
    let Some(release) = draft.release(&good.digest) else { return false };
    let failed = match draft.seen(slot, &want.release) {
        Seen::Failed(_) => true,
        // A host that refuses its plan as a whole goes on with what it runs.
        Seen::Refused(_) => !draft.is_seen_running(slot, &want.release),
        Seen::Nothing(_) => draft.had_failed(slot),
        Seen::Converging(_) | Seen::Available => false,
    };
    let previous = want.previous.as_ref();
    let old_runs = previous.is_some_and(|p| p.release == good.digest && p.phase == Phase::Running);
    let not_begun = want.phase == Phase::Pulled;
    // What still runs beside the good release while that starts. Whatever failed before it was begun, has stopped nothing.
    let beside = if not_begun {
        want.previous.filter(|previous| previous.release != good.digest).map(|previous| previous.release)
    } else if failed || old_runs {
        None
    } else {
        Some(want.release)
    };
    let stops_first = beside.and_then(|beside| draft.start_first(slot, &release.spec, beside).err());
    let order = match (beside, &stops_first) {
        (None, _) => want.order,
        (Some(_), Some(_)) => Order::StopFirst,
        (Some(_), None) => Order::StartFirst,
    };
    let stops = beside.is_some() && order == Order::StopFirst;
    // What is lost is turned when its host returns: it may serve all along, and several would stop at once then. What it
    // was told to fall back on, it does by itself.
    if stops && draft.is_lost(slot) && lets_anything_run(&draft.slots[slot].want) {
        return false;
    }
    let stops = stops && !draft.is_lost(slot);
    let may_start = may_start && draft.may_start(Some(slot));
    if stops && may_start && !down.has_room_for(draft, slot) {
        return false;
    }
    if stops {
        down.enter(slot);
    }
    let gated = draft.is_exclusive() && !may_start;
    if !not_begun || beside.is_some() {
        draft.touches_containers();
    }
    draft.edit(slot, |assignment| {
        let want = &mut assignment.want;
        // What was told to stop, so that old and new never run together, is not started again.
        let rests = order == Order::StopFirst || want.phase == Phase::Standby;
        let phase = if rests { Phase::Standby } else { Phase::Running };
        let starts = may_start || ((failed || old_runs) && !gated);
        if want.release != good.digest {
            want.generation = 0;
        }
        want.release = good.digest;
        want.phase = if starts { Phase::Running } else { Phase::Standby };
        want.good = true;
        want.fallback = None;
        want.order = order;
        want.retry_quarantined = false;
        want.previous = beside.map(|release| Previous { release, phase });
        assignment.standby_until = None;
    });
    if draft.is_dirty(slot) {
        draft.began(slot, beside.map(|_| order), stops_first.map(|why| why.to_string()));
    }
    true
}
