//! Going back where nothing of the release to go back to serves, or too little, and no other host has room for it.

use crate::service::ReleaseRef;
use crate::slot::{Certainty, DisruptionBudget, Intent, Limits, Slot};

use super::super::guard;
use super::super::model::Progress;
use super::super::planner::Planner;
use super::super::returning;
use super::super::revert::{MOST_DOWN, past_deadline, revert};

/// Instances of `from` take the place of others, one after the other, until it is at strength and gets the traffic. What has a
/// named volume stays where that is.
pub(super) fn step(planner: &mut Planner<'_>, from: ReleaseRef) {
    let Some(release) = planner.release(&from.digest) else { return };
    let to = planner.rollout().to.digest;
    let mut slots = planner.slots_that(|slot| slot.release() == to && slot.run().runs());
    slots.retain(|slot| {
        let facts = planner.facts(slot);
        !release.spec.pins_slots() && !facts.is_out_of_reach() && planner.fits(slot, release)
    });
    slots.sort_by_cached_key(|slot| (planner.facts(slot).serving() != Certainty::No, slot.index));
    let mut budget = DisruptionBudget::new(Limits { unavailable: MOST_DOWN, ..Limits::NONE });
    let down = |slot: &&Slot| {
        !planner.facts(slot.id()).is_lost() && planner.facts(slot.id()).serving() != Certainty::Yes
    };
    for slot in planner.slots.values().filter(down) {
        budget.is_down(&planner.facts(slot.id()));
    }
    for slot in slots.into_iter().take(returning::lacking(planner, &from.digest)) {
        if planner.is_full() || !revert(planner, &slot, &from, &mut budget, true) {
            break;
        }
    }
    note(planner, from);
}

/// Notes how far it is, for the deadline.
pub(super) fn note(planner: &mut Planner<'_>, from: ReleaseRef) {
    let begun = planner.slots.values().filter(|slot| Intent::from(*slot).has_run(&from.digest)).count();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let available = count(guard::available(planner, &from.digest));
    planner.progress(Progress { begun: count(begun), available, ..Progress::default() });
    // It wakes then.
    past_deadline(planner);
}
