//! Slots that leave a host which drains, or is lost: a few at a time, and which of them cannot.

use crate::id::SlotId;
use crate::placement::Candidates;
use crate::plan::Phase;
use crate::release::Release;

use super::Kind;
use super::down::Down;
use super::draft::Draft;
use super::limits::Limits;
use super::placing::why_nowhere;
use super::steady::{is_draining, leaves, replaced};
use super::waiting::Waiting;

fn limits(draft: &Draft<'_>, release: &Release) -> Limits {
    let total = u32::try_from(draft.slots.len()).unwrap_or(u32::MAX);
    Limits::of(&release.spec.strategy, Kind::Deploy, total, total)
}

/// Those of `alone` that get a replacement now. What is lost does not serve: all of it. Of what drains so many are on
/// their way that no more than `max_surge` run beside their replacements.
pub(super) fn in_turn(draft: &mut Draft<'_>, release: &Release, alone: Vec<SlotId>) -> Vec<SlotId> {
    let (lost, draining): (Vec<_>, Vec<_>) = alone.into_iter().partition(|slot| draft.is_lost(slot));
    let on_their_way = replaced(draft).iter().filter(|slot| draft.slots.contains_key(*slot)).count();
    let most = limits(draft, release).surge.max(1) as usize;
    let now = most.saturating_sub(on_their_way).min(draining.len());
    lost.into_iter().chain(draining.into_iter().take(now)).collect()
}

/// Says of every slot on a draining host that it stays there, and why.
pub(super) fn say_what_stays(draft: &mut Draft<'_>, release: &Release) {
    if !release.spec.pins_slots() {
        return;
    }
    let slots: Vec<SlotId> = draft.slots.keys().filter(|slot| is_draining(draft, slot)).cloned().collect();
    for slot in slots {
        let host = draft.slots[&slot].host.clone();
        draft.wait(Waiting::Pinned { host, slot });
    }
}

/// A slot stops, or must have stopped, and goes; then a new one is made elsewhere, as for any that is missing. No more
/// than `max_unavailable` do so at once, and only if there is a place.
pub(super) fn by_stopping(draft: &mut Draft<'_>, release: &Release) {
    let slots: Vec<SlotId> = draft.slots.keys().filter(|slot| !draft.is_leaving(slot)).cloned().collect();
    let mut down = Down::of(draft, limits(draft, release).unavailable);
    for slot in slots {
        if !leaves(draft, &slot, release) {
            continue;
        }
        if draft.is_lost(&slot) {
            if draft.is_exclusive() {
                leave_lost(draft, &slot);
            }
            continue;
        }
        if is_to_run(draft, &slot) {
            if !down.has_room_for(draft, &slot) {
                continue;
            }
            // There has to be a place for it before it stops here.
            let candidates = Candidates::of(draft.snapshot.fleet, release);
            if let Err(refused) = candidates.fill(&draft.taken(), &draft.own()).next_place() {
                draft.wait(Waiting::Place(why_nowhere(&refused)));
                draft.wake_soon();
                continue;
            }
            stop(draft, &mut down, &slot);
        }
        match draft.may_run(&slot) {
            None => draft.drop_slot(&slot),
            Some(waiting) => draft.wait(waiting),
        }
    }
}

/// A service that runs once on every host: on one that drains its slot stops, and goes when nothing of it runs. No more
/// than `max_unavailable` are down at once, as when they are replaced.
pub(super) fn off(draft: &mut Draft<'_>, release: &Release) {
    let slots: Vec<SlotId> = draft.slots.keys().filter(|slot| !draft.is_leaving(slot)).cloned().collect();
    let mut down = Down::of(draft, limits(draft, release).unavailable);
    for slot in slots {
        if !is_draining(draft, &slot) {
            continue;
        }
        if draft.is_lost(&slot) {
            draft.drop_slot(&slot); // as its host hears when it returns
            continue;
        }
        if is_to_run(draft, &slot) {
            if !down.has_room_for(draft, &slot) {
                continue;
            }
            stop(draft, &mut down, &slot);
        }
        let host = draft.slots[&slot].host.clone();
        match draft.nothing_runs(&slot) {
            Ok(true) => draft.drop_slot(&slot),
            Ok(false) => draft.wait(Waiting::Stop { host, slot }),
            Err(waiting) => draft.wait(waiting),
        }
    }
}

/// Is anything of the slot meant to run?
fn is_to_run(draft: &Draft<'_>, slot: &SlotId) -> bool {
    let want = &draft.slots[slot].want;
    let previous = want.previous.as_ref().map(|previous| previous.phase);
    [Some(want.phase), previous].into_iter().flatten().any(Phase::runs)
}

fn stop(draft: &mut Draft<'_>, down: &mut Down, slot: &SlotId) {
    down.enter(slot);
    draft.edit(slot, |assignment| {
        assignment.want.phase = Phase::Standby;
        if let Some(previous) = &mut assignment.want.previous {
            previous.phase = Phase::Standby;
        }
    });
}

/// Lost for long enough that its instance must have stopped.
fn leave_lost(draft: &mut Draft<'_>, slot: &SlotId) {
    let host = draft.slots[slot].host.clone();
    let silent = draft.snapshot.fleet.member(&host).and_then(super::exclusive::alone_for);
    match (silent, draft.fence(slot)) {
        (Some(silent), Some(after)) if silent >= after => draft.forget_slot(slot),
        (Some(silent), Some(after)) => {
            draft.wait(Waiting::Fence { host });
            let due = draft.now() + (after - silent);
            draft.wake(due);
        }
        (None, _) | (_, None) => draft.wait(Waiting::Fence { host }),
    }
}
