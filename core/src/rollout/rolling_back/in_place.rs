//! Going back where nothing of the release to go back to serves, or too little, and no other host has room for it.

use crate::service::ReleaseRef;
use crate::slot::{Budget, Certainty, Intent, Limits, Slot};

use super::super::draft::Draft;
use super::super::guard;
use super::super::model::Progress;
use super::super::returning;
use super::super::revert::{MOST_DOWN, past_deadline, revert};

/// Instances of `from` take the place of others, one after the other, until it is at strength and gets the traffic. What has a
/// named volume stays where that is.
pub(super) fn step(draft: &mut Draft<'_>, from: ReleaseRef) {
    let Some(release) = draft.release(&from.digest) else { return };
    let to = draft.rollout().to.digest;
    let is_at = |slot: &&Slot| slot.release() == to && slot.run().runs();
    let mut slots: Vec<_> = draft.slots.values().filter(is_at).map(|slot| slot.id().clone()).collect();
    slots.retain(|slot| {
        let facts = draft.facts(slot);
        !release.spec.pins_slots() && !facts.is_out_of_reach() && draft.fits(slot, release)
    });
    slots.sort_by_cached_key(|slot| (draft.facts(slot).serving() != Certainty::No, slot.index));
    let mut budget = Budget::new(Limits { unavailable: MOST_DOWN, ..Limits::NONE });
    let down = |slot: &&Slot| {
        !draft.facts(slot.id()).is_lost() && draft.facts(slot.id()).serving() != Certainty::Yes
    };
    for slot in draft.slots.values().filter(down) {
        budget.is_down(&draft.facts(slot.id()));
    }
    for slot in slots.into_iter().take(returning::lacking(draft, &from.digest)) {
        if draft.is_full() || !revert(draft, &slot, &from, &mut budget, true) {
            break;
        }
    }
    note(draft, from);
}

/// Notes how far it is, for the deadline.
pub(super) fn note(draft: &mut Draft<'_>, from: ReleaseRef) {
    let begun = draft.slots.values().filter(|slot| Intent::from(*slot).has_run(&from.digest)).count();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let available = count(guard::available(draft, &from.digest));
    draft.progress(Progress { begun: count(begun), available, ..Progress::default() });
    // It wakes then.
    past_deadline(draft);
}
