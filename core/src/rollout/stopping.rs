//! A service that a person stopped: nothing of it runs, and everything is kept for its return.

use crate::fleet::Scheduling;
use crate::id::SlotId;
use crate::plan::{Order, Phase};
use crate::release::Scale;

use super::draft::Draft;
use super::steady::drop_surplus;
use super::waiting::Waiting;

/// Every slot stands still, at the release that it will start with. On a host that drains there is nothing to
/// move: the slot goes, and the start makes another one elsewhere.
pub(super) fn step(draft: &mut Draft<'_>) {
    let good = draft.service.last_good();
    if let Some(good) = good
        && draft.service.current != Some(good)
    {
        draft.service.current = Some(good);
    }
    let release = draft.service.current.and_then(|current| draft.release(&current.digest));
    let pinned = release.is_some_and(|release| release.spec.pins_slots());
    for slot in draft.slots.keys().cloned().collect::<Vec<_>>() {
        if draft.is_leaving(&slot) {
            continue;
        }
        let host = draft.slots[&slot].host.clone();
        let member = draft.snapshot.fleet.member(&host);
        if !pinned && member.is_some_and(|member| member.scheduling == Scheduling::Draining) {
            draft.drop_slot(&slot);
            continue;
        }
        draft.edit(&slot, |assignment| {
            let want = &mut assignment.want;
            if let Some(good) = good.filter(|good| good.digest != want.release) {
                want.release = good.digest;
                want.generation = 0;
            }
            want.good = good.is_some();
            want.phase = Phase::Standby;
            want.order = Order::StartFirst;
            want.previous = None;
            want.fallback = None;
            want.retry_quarantined = false;
            assignment.standby_until = None;
            assignment.replaces = None;
        });
    }
    // What a rollout that was ended for it had made beyond the count.
    if let (Some(good), Some(Scale::Replicas { .. })) = (good, release.map(|release| &release.spec.scale)) {
        let slots = draft.slots.keys().filter(|slot| !draft.is_leaving(slot)).count();
        let surplus = slots.saturating_sub(draft.service.replicas as usize);
        drop_surplus(draft, &good.digest, surplus);
    }
    if draft.touched.is_empty() {
        wait(draft);
    }
}

fn wait(draft: &mut Draft<'_>) {
    let slots: Vec<SlotId> = draft.slots.keys().cloned().collect();
    for slot in slots {
        let host = draft.slots[&slot].host.clone();
        match draft.nothing_runs(&slot) {
            Ok(true) => {}
            Ok(false) => draft.wait(Waiting::Stop { host, slot }),
            Err(waiting) => draft.wait(waiting),
        }
    }
}
