//! One slot goes back to the good release: on the way back of a rollout, or afterwards, where that left one behind.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::{Order, Phase};
use crate::service::ReleaseRef;
use crate::slot::{Cost, DisruptionBudget, Seen, Transition};

use super::older;
use super::planner::Planner;

/// Takes `slot` back to `good`. Answers false if its instance may not be stopped yet: it may serve, and its host is lost, or as
/// many others as may be are down in `budget`, where it is entered if it is stopped.
pub(crate) fn revert(
    planner: &mut Planner<'_>,
    slot: &SlotId,
    good: &ReleaseRef,
    budget: &mut DisruptionBudget,
    may_start: bool,
) -> bool {
    let Some(release) = planner.release(&good.digest) else { return false };
    let facts = planner.facts(slot);
    let intent = facts.intent;
    let failed = match facts.target() {
        Seen::Failed(_) => true,
        // A host that refuses its plan as a whole goes on with what it runs.
        Seen::Refused(_) => !facts.last_ran(&intent.release),
        Seen::Nothing(_) => facts.had_failed(),
        Seen::Converging(_) | Seen::Available => false,
    };
    let old_runs = intent.other.is_some_and(|(release, run)| release == good.digest && run.runs());
    let not_begun = intent.run == Phase::Pulled;
    // The release that runs alongside the rollback target while that starts. A target that failed before it was begun has stopped nothing.
    let beside = if not_begun {
        intent.other.map(|(release, _)| release).filter(|release| release != &good.digest)
    } else {
        Some(intent.release).filter(|_| !failed && !old_runs)
    };
    let (order, because) = match beside {
        None => (intent.order, None),
        Some(_) => {
            let gpus = planner.slots[slot].devices_of(&good.digest).to_vec();
            older::order(planner, slot)
                .unwrap_or_else(|| planner.order_with(slot, &release.spec, &gpus, beside))
        }
    };
    let stops = beside.is_some() && order == Order::StopFirst;
    // Slots on lost hosts are rolled back when the host reconnects: they may serve all along, and several would stop at
    // once then. The fallback of its plan the host takes by itself.
    if stops && facts.is_lost() && intent.lets_anything_run() {
        return false;
    }
    let may_start = may_start && planner.may_start(Some(slot));
    if stops && !facts.is_lost() {
        let cost = Cost::stop(&facts);
        match budget.fits(&facts, cost) {
            Err(waiting) if may_start => {
                planner.wait(waiting);
                return false;
            }
            Ok(()) | Err(_) => budget.take(&facts, cost),
        }
    }
    if !not_begun || beside.is_some() {
        planner.touches_containers();
    }
    let starts = may_start || ((failed || old_runs) && !planner.is_exclusive());
    planner.apply_because(slot, &Transition::Revert { to: good.digest, beside, order, starts }, because);
    true
}

/// Makes `keep` the target of a slot; what ran as its target runs on beside it.
pub(crate) fn retarget(planner: &mut Planner<'_>, slot: &SlotId, keep: &Digest) -> bool {
    let at = &planner.slots[slot];
    let beside = Some(at.release()).filter(|_| at.run().runs());
    let revert = Transition::Revert { to: *keep, beside, order: Order::StartFirst, starts: true };
    planner.apply(slot, &revert)
}

/// Slots that may be down at once on the way back, through stops of ours.
pub(super) const MOST_DOWN: u32 = 1;

/// Whether the deadline of a rollout that goes back has passed.
pub(super) fn past_deadline(planner: &mut Planner<'_>) -> bool {
    match planner.target() {
        Some((_, release)) => planner.deadline_passed(&release.spec),
        None => true,
    }
}
