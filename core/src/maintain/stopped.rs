//! A service that a person stopped: nothing of it runs, and everything is kept for its return.

use crate::release::Scale;
use crate::rollout::planner::Planner;
use crate::slot::{Transition, Waiting};

use super::surplus::drop_surplus;

/// Every slot stands still, at the release that it will start with. On a host that drains there is nothing to
/// move: the slot goes, and the start makes another one elsewhere.
pub(super) fn step(planner: &mut Planner<'_>) {
    let good = planner.service.last_good();
    if let Some(good) = good
        && planner.service.current != Some(good)
    {
        planner.service.current = Some(good);
    }
    let release = planner.service.current.and_then(|current| planner.release(&current.digest));
    let pinned = release.is_some_and(|release| release.spec.pins_slots());
    for slot in planner.staying() {
        if planner.slots[&slot].is_kept() || (!pinned && planner.is_draining(&slot)) {
            planner.drop_slot(&slot);
        } else {
            planner.apply(&slot, &Transition::Stand { good: good.map(|good| good.digest) });
        }
    }
    // The slots beyond the count that a rollout had made which was ended for it.
    if let (Some(good), Some(Scale::Replicas { .. })) = (good, release.map(|release| &release.spec.scale)) {
        let surplus = planner.staying().len().saturating_sub(planner.service.replicas as usize);
        drop_surplus(planner, &good.digest, surplus);
    }
    if planner.touched.is_empty() {
        wait(planner);
    }
}

fn wait(planner: &mut Planner<'_>) {
    for slot in planner.keys() {
        let facts = planner.facts(&slot);
        match facts.is_empty() {
            Ok(true) => {}
            Ok(false) => planner.wait(Waiting::Stop { host: facts.host().clone(), slot }),
            Err(waiting) => planner.wait(waiting),
        }
    }
}
