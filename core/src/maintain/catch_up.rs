//! Slots that are not at the good release: their hosts were lost when its rollout ended, or a rollback had failed before it
//! came to them.

use crate::id::SlotId;
use crate::plan::{Order, Phase};
use crate::release::Release;
use crate::rollout::draft::Draft;
use crate::rollout::model::KEEP_OLD;
use crate::rollout::revert::revert;
use crate::service::ReleaseRef;
use crate::slot::{Budget, Certainty, Cost, Limits, Slot, Transition};

use super::{drain, leaving};

/// Brings them there.
pub(super) fn step(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release) {
    let is_behind = |slot: &&Slot| {
        let runs = matches!(slot.run(), Phase::Running | Phase::Draining);
        !slot.is_kept() && (slot.release() != good.digest || slot.other().is_some() || !runs)
    };
    let behind = draft.slots.values().filter(|slot| slot.standby_until().is_none()).filter(is_behind);
    let behind = behind.filter(|slot| leaving::stays(draft, slot.id(), release));
    let mut behind: Vec<SlotId> = behind.map(|slot| slot.id().clone()).collect();
    if behind.is_empty() {
        return;
    }
    let total = u32::try_from(draft.members().len()).unwrap_or(u32::MAX);
    let limits = Limits::of(&release.spec.strategy, true, total, 0);
    let mut budget = drain::budget(draft, limits.unavailable);
    // What serves nothing is begun first, since it takes nothing away.
    behind.sort_by_cached_key(|slot| (draft.facts(slot).serving() != Certainty::No, slot.index));
    for slot in behind {
        let at = &draft.slots[&slot];
        if at.release() != good.digest {
            revert(draft, &slot, &good, &mut budget, true);
        } else if at.run().runs() {
            rest(draft, &slot);
        } else if draft.facts(&slot).word().is_ok() {
            begin(draft, &slot, release, &mut budget);
        }
    }
}

/// The old instance rests as soon as the right one serves.
fn rest(draft: &mut Draft<'_>, slot: &SlotId) {
    if draft.facts(slot).is_available() {
        let until = Some(draft.now() + KEEP_OLD);
        draft.apply(slot, &Transition::Rest { until });
    }
}

fn begin(draft: &mut Draft<'_>, slot: &SlotId, release: &Release, budget: &mut Budget) {
    if !draft.may_start(Some(slot)) {
        return;
    }
    let beside = draft.slots[slot].other().map(|other| other.release);
    let (order, _) = draft.order(slot, &release.spec, beside);
    if order == Order::StopFirst {
        let facts = draft.facts(slot);
        if let Err(waiting) = budget.admit(&facts, Cost::stop(&facts)) {
            return draft.wait(waiting);
        }
    }
    draft.apply(slot, &Transition::Start { order, generation: 0, makes_way: false });
}
