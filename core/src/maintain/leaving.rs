//! The slots that have to leave their hosts, and the ways they do.

use std::collections::BTreeSet;

use crate::fleet::Scheduling;
use crate::host::Liveness;
use crate::id::SlotId;
use crate::release::{Release, Scale, Strategy};
use crate::rollout::draft::Draft;

/// Whether the slot has to leave its host. Wakes when it will have to.
pub(super) fn leaves(draft: &mut Draft<'_>, slot: &SlotId, release: &Release) -> bool {
    if release.spec.pins_slots() || draft.slots[slot].is_kept() {
        return false; // elsewhere it would begin with an empty volume; what is kept has a replacement
    }
    let Some(member) = draft.member_of(slot) else { return false };
    if member.scheduling == Scheduling::Draining {
        return true;
    }
    let Some(after) = release.spec.on_lost.replace_after else { return false };
    if member.liveness != Liveness::Lost {
        return false;
    }
    // What was before this coordinator is not known.
    let due = member.last_seen.unwrap_or(draft.snapshot.fleet.since()) + after.duration();
    if draft.now() < due {
        draft.wake(due);
    }
    draft.now() >= due
}

/// The slots that have a replacement.
pub(super) fn replaced(draft: &Draft<'_>) -> BTreeSet<SlotId> {
    draft.slots.values().filter_map(|slot| slot.stands_in_for().cloned()).collect()
}

/// Returns whether the slot is neither terminating nor being rescheduled.
pub(super) fn stays(draft: &Draft<'_>, slot: &SlotId, release: &Release) -> bool {
    let per_host = release.spec.scale == Scale::PerHost;
    let moves = per_host || (by_stopping(draft, release) && !release.spec.pins_slots());
    let goes = draft.slots[slot].is_leaving() || (moves && draft.is_draining(slot));
    !goes
}

/// Whether a slot that leaves its host stops there before it starts elsewhere. What may never run twice does, and what may
/// have no instance too many.
pub(super) fn by_stopping(draft: &Draft<'_>, release: &Release) -> bool {
    let no_surge =
        matches!(release.spec.strategy, Strategy::Rolling { max_surge, .. } if max_surge.of_up(100) == 0);
    no_surge || draft.is_exclusive()
}
