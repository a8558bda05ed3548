//! Slots that are not at the good release: their hosts were lost when its rollout ended, or a rollback had failed before it
//! came to them.

use crate::id::SlotId;
use crate::plan::{Order, Phase};
use crate::release::Release;
use crate::rollout::model::KEEP_OLD;
use crate::rollout::older;
use crate::rollout::planner::Planner;
use crate::rollout::revert::revert;
use crate::service::ReleaseRef;
use crate::slot::{Certainty, Cost, DisruptionBudget, Limits, Transition};

use super::{drain, leaving};

/// Brings them there.
pub(super) fn step(planner: &mut Planner<'_>, good: ReleaseRef, release: &Release) {
    let mut behind = planner.slots_that(|slot| {
        let runs = matches!(slot.run(), Phase::Running | Phase::Draining);
        let is_elsewhere = slot.release() != good.digest || slot.other().is_some() || !runs;
        is_elsewhere && slot.standby_until().is_none() && !slot.is_kept()
    });
    behind.retain(|slot| leaving::stays(planner, slot, release));
    if behind.is_empty() {
        return;
    }
    let total = u32::try_from(planner.members().len()).unwrap_or(u32::MAX);
    let limits = Limits::of(&release.spec.strategy, true, total, 0);
    let mut budget = drain::budget(planner, limits.unavailable);
    // A slot where nothing serves is begun first, since that takes nothing away.
    behind.sort_by_cached_key(|slot| (planner.facts(slot).serving() != Certainty::No, slot.index));
    for slot in behind {
        let at = &planner.slots[&slot];
        if at.release() != good.digest {
            revert(planner, &slot, &good, &mut budget, true);
        } else if at.run().runs() {
            rest(planner, &slot);
        } else if planner.facts(&slot).word().is_ok() {
            begin(planner, &slot, release, &mut budget);
        }
    }
}

/// The old instance rests as soon as the right one serves.
fn rest(planner: &mut Planner<'_>, slot: &SlotId) {
    if planner.facts(slot).is_available() {
        let until = Some(planner.now() + KEEP_OLD);
        planner.apply(slot, &Transition::Rest { until });
    }
}

fn begin(planner: &mut Planner<'_>, slot: &SlotId, release: &Release, budget: &mut DisruptionBudget) {
    if !planner.may_start(Some(slot)) {
        return;
    }
    let beside = planner.slots[slot].other().map(|other| other.release);
    let (order, _) =
        older::order(planner, slot).unwrap_or_else(|| planner.order(slot, &release.spec, beside));
    if order == Order::StopFirst {
        let facts = planner.facts(slot);
        if let Err(waiting) = budget.admit(&facts, Cost::stop(&facts)) {
            return planner.wait(waiting);
        }
    }
    let start = Transition::Start { order, generation: 0, makes_way: false, keeps_older: false };
    planner.apply(slot, &start);
}
