//! What must never run twice, put together from words of different times.

use std::cmp::Reverse;

use crate::id::SlotId;
use crate::plan::Phase;
use crate::rollout::lets_anything_run;
use crate::service::{Assignment, Slots};
use crate::time::Timestamp;

use super::{Shown, named};

/// Of slots of which nothing may run twice, no more than `most` go on: those of the newest plans. The newest plans of all
/// hosts never let too many run; but what is stored of a host that has shown nothing may be older than what another one
/// shows, and a host that comes late may show what the fleet has moved away from.
pub(super) fn hold_back(slots: &mut Slots, shown: &Shown<'_>, most: u32) {
    let says = |digest| shown.releases.get(&digest).is_some_and(|release| release.spec.exclusive);
    if !slots.values().any(|assignment| named(&assignment.want).any(says)) {
        return;
    }
    let made_at = |assignment: &Assignment| {
        let plan = shown.plans.get(&assignment.host).map(|plan| plan.issued_at);
        plan.or_else(|| shown.since.get(&assignment.host).copied()).unwrap_or(Timestamp::ZERO)
    };
    let run = slots.iter().filter(|(_, assignment)| lets_anything_run(&assignment.want));
    let mut run: Vec<(Timestamp, SlotId)> =
        run.map(|(slot, assignment)| (made_at(assignment), slot.clone())).collect();
    run.sort_by_key(|(at, _)| Reverse(*at));
    for (_, slot) in run.into_iter().skip(most.max(1) as usize) {
        if let Some(assignment) = slots.get_mut(&slot) {
            stand_still(assignment);
        }
    }
}

/// Nothing of it runs; what it was at, it is at.
fn stand_still(assignment: &mut Assignment) {
    let want = &mut assignment.want;
    if want.phase != Phase::Pulled {
        want.phase = Phase::Standby;
    }
    if let Some(previous) = &mut want.previous {
        previous.phase = Phase::Standby;
    }
}
