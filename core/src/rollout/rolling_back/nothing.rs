//! Rolling back where there was nothing good before.

use crate::plan::Phase;
use crate::slot::Transition;

use super::super::ending;
use super::super::model::{Reason, RollbackMode, State};
use super::super::planner::Planner;
use super::super::revert::past_deadline;
use super::fate::{Fate, fate, keep};

/// Stops the started instances, which are kept for inspection unless a person asked for the end or nothing was touched.
pub(crate) fn back_to_nothing(planner: &mut Planner<'_>, how: RollbackMode) {
    let mut stopped = true;
    let late = past_deadline(planner);
    for slot in planner.staying() {
        let begun = planner.slots[&slot].run() != Phase::Pulled;
        match fate(planner, &slot, how, late) {
            Fate::Back => {}
            Fate::Stays => {
                keep(planner, &slot);
                continue;
            }
            Fate::Open(waiting) => {
                planner.wait(waiting);
                stopped = false;
                continue;
            }
        }
        if how == RollbackMode::Aborted || !begun {
            planner.drop_slot(&slot);
            continue;
        }
        planner.apply(&slot, &Transition::Abandon);
        let facts = planner.facts(&slot);
        stopped &= facts.is_lost() || facts.is_stopped(&facts.intent.release).unwrap_or(false);
    }
    if planner.is_full() || planner.drains() || !(stopped || late) {
        return;
    }
    if how != RollbackMode::OnlyFailed {
        planner.service.replicas = planner.rollout().replicas_before;
    }
    if how == RollbackMode::Aborted {
        planner.service.current = None;
        return ending::end(planner, State::Aborted, None);
    }
    let before = planner.rollout().reason.as_ref().map(ToString::to_string).unwrap_or_default();
    let reason = planner.rollout().changed.then(|| {
        Reason::NothingToGoBackTo(format!("{before}; there is no earlier good release to go back to"))
    });
    ending::end(planner, State::Failed, reason);
}
