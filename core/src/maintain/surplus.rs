//! Slots beyond the count.

use crate::digest::Digest;
use crate::rollout::planner::Planner;

use super::leaving::replaced;

/// Removes the surplus: first slots where nothing serves, then those not at the good release, then the newest.
pub(super) fn drop_surplus(planner: &mut Planner<'_>, good: &Digest, surplus: usize) {
    let replaced = replaced(planner);
    let single = planner.slots.values().filter(|slot| slot.stands_in_for().is_none() && !slot.is_leaving());
    let single = single.filter(|slot| !slot.is_kept());
    let single = single.filter(|slot| !replaced.contains(slot.id()));
    let mut single: Vec<_> = single
        .map(|slot| {
            let serves = planner.facts(slot.id()).serves_now();
            (serves, &slot.release() == good, std::cmp::Reverse(slot.id().clone()))
        })
        .collect();
    single.sort();
    for (_, _, slot) in single.into_iter().take(surplus) {
        planner.drop_slot(&slot.0);
    }
}
