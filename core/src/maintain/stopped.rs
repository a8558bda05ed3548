//! A service that a person stopped: nothing of it runs, and everything is kept for its return.

use crate::release::Scale;
use crate::rollout::draft::Draft;
use crate::slot::{Transition, Waiting};

use super::surplus::drop_surplus;

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
    for slot in draft.staying() {
        if draft.slots[&slot].is_kept() || (!pinned && draft.is_draining(&slot)) {
            draft.drop_slot(&slot);
        } else {
            draft.apply(&slot, &Transition::Stand { good: good.map(|good| good.digest) });
        }
    }
    // What a rollout that was ended for it had made beyond the count.
    if let (Some(good), Some(Scale::Replicas { .. })) = (good, release.map(|release| &release.spec.scale)) {
        let surplus = draft.staying().len().saturating_sub(draft.service.replicas as usize);
        drop_surplus(draft, &good.digest, surplus);
    }
    if draft.touched.is_empty() {
        wait(draft);
    }
}

fn wait(draft: &mut Draft<'_>) {
    for slot in draft.keys() {
        let facts = draft.facts(&slot);
        match facts.is_empty() {
            Ok(true) => {}
            Ok(false) => draft.wait(Waiting::Stop { host: facts.host().clone(), slot }),
            Err(waiting) => draft.wait(waiting),
        }
    }
}
