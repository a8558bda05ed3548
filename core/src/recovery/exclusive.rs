//! The slots of services that must never run twice, put together from reports of different times.

use std::cmp::Reverse;

use crate::id::SlotId;
use crate::service::Slots;
use crate::slot::{self, Intent, Slot, Transition};
use crate::time::Timestamp;

use super::model::Shown;

/// Of slots of which nothing may run twice, no more than `most` go on: those of the newest plans. The newest plans of all
/// hosts never let too many run; but what is stored of a host that has shown nothing may be older than what another one
/// shows, and a host that comes late may show what the fleet has moved away from.
pub(super) fn hold_back(slots: &mut Slots, shown: &Shown<'_>, most: u32) {
    let says = |digest| shown.releases.get(&digest).is_some_and(|release| release.spec.exclusive);
    if !slots.values().flat_map(Slot::named).any(says) {
        return;
    }
    let made_at = |slot: &Slot| {
        let plan = shown.plans.get(slot.host()).map(|plan| plan.issued_at);
        plan.or_else(|| shown.since.get(slot.host()).copied()).unwrap_or(Timestamp::ZERO)
    };
    let run = slots.values().filter(|slot| Intent::from(*slot).lets_anything_run());
    let mut run: Vec<(Timestamp, SlotId)> = run.map(|slot| (made_at(slot), slot.id().clone())).collect();
    run.sort_by_key(|(at, _)| Reverse(*at));
    for (_, slot) in run.into_iter().skip(most.max(1) as usize) {
        // Nothing of it runs; what it was at, it is at.
        let parked = slot::apply(slots.get(&slot), &Transition::Park { makes_way: false });
        slots.extend(parked.ok().map(|parked| (slot, parked)));
    }
}
