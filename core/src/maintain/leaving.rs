//! The slots that have to leave their hosts, and the ways they do.

use std::collections::BTreeSet;

use crate::fleet::Scheduling;
use crate::host::Liveness;
use crate::id::SlotId;
use crate::release::{Release, Scale};
use crate::rollout::planner::Planner;

/// Whether the slot has to leave its host. Wakes when it will have to.
pub(super) fn leaves(planner: &mut Planner<'_>, slot: &SlotId, release: &Release) -> bool {
    if release.spec.pins_slots() || planner.slots[slot].is_kept() {
        return false; // elsewhere it would begin with an empty volume; what is kept has a replacement
    }
    let Some(member) = planner.member_of(slot) else { return false };
    if member.scheduling == Scheduling::Draining {
        return true;
    }
    let Some(after) = release.spec.on_lost.replace_after else { return false };
    if member.liveness != Liveness::Lost {
        return false;
    }
    // The time before this coordinator is not known.
    let due = member.last_seen.unwrap_or(planner.snapshot.fleet.since()) + after.duration();
    if planner.now() < due {
        planner.wake(due);
    }
    planner.now() >= due
}

/// The slots that have a replacement.
pub(super) fn replaced(planner: &Planner<'_>) -> BTreeSet<SlotId> {
    planner.slots.values().filter_map(|slot| slot.stands_in_for().cloned()).collect()
}

/// Returns whether the slot is neither terminating nor being rescheduled.
pub(super) fn stays(planner: &Planner<'_>, slot: &SlotId, release: &Release) -> bool {
    let per_host = release.spec.scale == Scale::PerHost;
    let moves = per_host || (by_stopping(planner, release) && !release.spec.pins_slots());
    let goes = planner.slots[slot].is_leaving() || (moves && planner.is_draining(slot));
    !goes
}

/// Whether a slot that leaves its host stops there before it starts elsewhere. What may never run twice does, and what may
/// have no instance too many.
pub(super) fn by_stopping(planner: &Planner<'_>, release: &Release) -> bool {
    let no_surge = release.spec.strategy.pace().is_some_and(|pace| !pace.has_surge());
    no_surge || planner.is_exclusive()
}
