//! Slots beyond the count.

use crate::digest::Digest;
use crate::rollout::draft::Draft;

use super::leaving::replaced;

/// What is too many goes: first what does not serve, then what is not at the good release, then the newest.
pub(super) fn drop_surplus(draft: &mut Draft<'_>, good: &Digest, surplus: usize) {
    let replaced = replaced(draft);
    let single = draft.slots.values().filter(|slot| slot.stands_in_for().is_none() && !slot.is_leaving());
    let single = single.filter(|slot| !slot.is_kept());
    let single = single.filter(|slot| !replaced.contains(slot.id()));
    let mut single: Vec<_> = single
        .map(|slot| {
            let serves = draft.facts(slot.id()).serves_now();
            (serves, &slot.release() == good, std::cmp::Reverse(slot.id().clone()))
        })
        .collect();
    single.sort();
    for (_, _, slot) in single.into_iter().take(surplus) {
        draft.drop_slot(&slot.0);
    }
}
