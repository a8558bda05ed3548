//! Slots that are kept for a while after others, on other hosts, have taken their place: for a quick way back, or for a look at
//! what failed.

use crate::id::SlotId;
use crate::rollout::planner::Planner;
use crate::slot::Waiting;
use crate::time::Timestamp;

/// Removes those whose time is over, and those on hosts that are to be emptied. As many stay as the service lacks instances
/// that are available: they are all that is left, where the release that replaced them does not serve.
pub(super) fn end(planner: &mut Planner<'_>) {
    let now = planner.now();
    let kept = planner.slots.values().filter_map(|slot| Some((slot.kept_until()?, slot.id().clone())));
    let kept: Vec<(Timestamp, SlotId)> = kept.collect();
    let mut ending = Vec::new();
    for (until, slot) in kept {
        if until <= now || planner.is_draining(&slot) {
            ending.push(slot);
        } else {
            planner.wake(until);
        }
    }
    if ending.is_empty() {
        return;
    }
    ending.sort_by_cached_key(|slot| (planner.facts(slot).serves_now(), slot.index));
    let (ill, available): (Vec<SlotId>, Vec<SlotId>) =
        planner.members().into_iter().partition(|slot| !planner.facts(slot).is_available());
    let stay = wanted(planner).saturating_sub(available.len());
    let free = ending.len().saturating_sub(stay);
    ending.iter().take(free).for_each(|slot| planner.drop_slot(slot));
    if free < ending.len() {
        for slot in ill {
            planner.wait(Waiting::Healthy { host: planner.host(&slot), slot });
        }
        planner.wake_soon();
    }
}

/// The desired number of instances.
fn wanted(planner: &Planner<'_>) -> usize {
    let release = planner.service.current.and_then(|current| planner.release(&current.digest));
    let wanted = release.and_then(|release| planner.service.replicas_for(release)).unwrap_or_default();
    wanted.saturating_sub(planner.service.given_up) as usize
}
