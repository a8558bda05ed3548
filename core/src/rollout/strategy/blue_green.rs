//! Blue/green: a second set beside the first one at full strength, and the traffic in steps from one to the other.
//!
//! ```text
//!  start all, without traffic ──▶ approval ──▶ weights of step 1 ──▶ every ingress has taken them ──▶ watch, gates ──▶ … ──▶ soak
//! ```
//!
//! The old set runs until the rollout is over, and as long after it as `keep_old` says. A rollback asks nobody and watches
//! nothing: it takes the last step at once.

use crate::slot::{Limits, Waiting};
use crate::traffic::{Split, Weight};
use crate::units::Span;

use super::super::gating::{self, Gates, goes_on, may_go_on};
use super::super::model::{Kind, State};
use super::super::planner::Planner;
use super::super::shift::Promotion;
use super::counts::{Old, RolloutCounts};
use super::shifting::{is_in_force, waits_for_approval};

/// The part of the manifest that decides how the traffic moves.
pub(super) struct Params<'a> {
    /// Shares of the traffic, one step after the other.
    pub(super) steps: &'a [Weight],
    /// Time for which the new set is watched after each step.
    pub(super) watch: Span,
    /// Whether a person lets the first step begin.
    pub(super) approve: bool,
}

pub(super) fn step(planner: &mut Planner<'_>, params: &Params<'_>) {
    let Some(mut tally) = RolloutCounts::look(planner, Old::RunsOn) else { return };
    tally.begin(planner, Limits::NONE);
    if !tally.is_complete() {
        // The step that is taken is judged all the same: the new release has its share of the requests.
        let taken = planner.rollout().shift.as_ref().map_or(0, |shift| shift.taken);
        if taken > 0 && !goes_on(planner, taken, &[]) {
            return;
        }
        return tally.look_at_deadline(planner);
    }
    let Some(split) = planner.service.split.clone().filter(|split| split.new == tally.to.digest) else {
        // No other release serves beside it.
        return planner.go(State::Soaking);
    };
    planner.is_steady(tally.spec.progress_deadline);
    if is_in_force(planner, &split, tally.spec.progress_deadline) && !is_held(planner, params, &split) {
        take_step(planner, params, split);
    }
}

/// Whether the traffic stays as it is for now: a person has to let it move, the watch over the last step goes on, or gates have not
/// passed.
fn is_held(planner: &mut Planner<'_>, params: &Params<'_>, split: &Split) -> bool {
    let Some(shift) = planner.rollout().shift.clone() else { return true };
    if shift.promoted.is_some() || planner.rollout().kind != Kind::Deploy {
        return false;
    }
    if shift.taken == 0 {
        return params.approve && waits_for_approval(planner);
    }
    let now = planner.now();
    let since = shift.watched_since.unwrap_or(now);
    // The watch over the last step is the soak, which begins when its gates have passed.
    let is_last = shift.taken as usize >= params.steps.len();
    let until = if is_last { now } else { since + params.watch.duration() };
    if now < until {
        planner.wait(Waiting::Watch { weight: split.weight, until });
        planner.wake(until);
    }
    let gates = gating::look(planner, shift.taken, &[], since);
    !may_go_on(planner, &gates) || matches!(gates, Gates::Going) || now < until
}

/// Gives the new release its next share, or comes to the soak after the last one.
fn take_step(planner: &mut Planner<'_>, params: &Params<'_>, mut split: Split) {
    let Some(shift) = planner.rollout().shift.clone() else { return };
    let full = shift.promoted == Some(Promotion::Full) || planner.rollout().kind != Kind::Deploy;
    let last = u32::try_from(params.steps.len()).unwrap_or(u32::MAX);
    if shift.taken >= last {
        return planner.go(State::Soaking);
    }
    let next = if full { last } else { shift.taken + 1 };
    let Some(weight) = params.steps.get(next as usize - 1).copied() else { return };
    split.weight = weight;
    planner.service.split = Some(split);
    let promoted = shift.promoted.filter(|promoted| *promoted == Promotion::Full);
    super::shifting::take(planner, next, last, promoted);
}
