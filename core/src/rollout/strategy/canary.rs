//! Canary: a few new instances beside the old ones, and more of the traffic for them in steps.
//!
//! ```text
//!  instances of step 1 ──▶ its weights ──▶ every ingress has taken them ──▶ hold, gates, approval ──▶ instances of step 2 ──▶ …
//! ```
//!
//! The old instances run at full strength until the rollout is over. Where no request is routed to the service, the share is
//! one of instances, and a new one takes the place of its old one.

use crate::release::CanaryStep;
use crate::slot::{Limits, Waiting};
use crate::traffic::Split;

use super::super::gating::{self, Gates, goes_on, may_go_on};
use super::super::model::{Kind, State};
use super::super::planner::Planner;
use super::super::shift::{Promotion, Shift};
use super::counts::{Old, RolloutCounts};
use super::shifting::{is_in_force, shift, take, waits_for_approval};

/// The part of the manifest that decides how the traffic moves.
pub(super) struct Params<'a> {
    /// The steps, one after the other.
    pub(super) steps: &'a [CanaryStep],
    /// The fewest new instances in a step.
    pub(super) min_instances: u32,
}

impl Params<'_> {
    fn last(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }
}

pub(super) fn step(planner: &mut Planner<'_>, params: &Params<'_>) {
    let Some((to, release)) = planner.target() else { return };
    let split = planner.service.split.clone().filter(|split| split.new == to.digest);
    let old = if split.is_some() { Old::RunsOn } else { Old::Rests };
    let Some(mut tally) = RolloutCounts::look(planner, old) else { return };
    let replaces = planner.rollout().from.is_some_and(|from| from.digest != to.digest);
    if (!replaces && split.is_none()) || (split.is_none() && release.spec.is_routed()) {
        // No other release serves beside it.
        tally.begin(planner, Limits::NONE);
        return tally.close(planner);
    }
    let at = shift(planner);
    // A rollback to what is still warm asks nobody.
    let full = at.promoted == Some(Promotion::Full) || planner.rollout().kind != Kind::Deploy;
    let next = match at.taken {
        _ if full => params.last(),
        0 => 1,
        taken if at.settled => taken + 1,
        taken => taken,
    };
    let Some(of) = params.steps.get(next as usize - 1) else { return planner.go(State::Soaking) };
    let wanted = of.instances(tally.total, params.min_instances);
    tally.begin_up_to(planner, wanted);
    if !tally.has(wanted) {
        // The step that is taken is judged all the same: its release has its share of the requests.
        if let Some(taken) = params.steps.get((at.taken as usize).wrapping_sub(1))
            && !goes_on(planner, at.taken, &taken.gates)
        {
            return;
        }
        return tally.look_at_deadline(planner);
    }
    let deadline = tally.spec.progress_deadline;
    planner.is_steady(deadline);
    if next > at.taken {
        return take_step(planner, params, next, of, split);
    }
    if split.is_some_and(|split| !is_in_force(planner, &split, deadline)) {
        return;
    }
    if is_settled(planner, of, next) {
        if next >= params.last() {
            return planner.go(State::Soaking);
        }
        planner.rollout().shift.iter_mut().for_each(|shift| shift.settled = true);
        planner.wake_now();
    }
}

/// Gives the new release the share of a step.
fn take_step(
    planner: &mut Planner<'_>,
    params: &Params<'_>,
    next: u32,
    of: &CanaryStep,
    split: Option<Split>,
) {
    let full = planner.rollout().shift.as_ref().and_then(|shift| shift.promoted);
    if let Some(mut split) = split {
        split.weight = of.weight;
        split.matches = of.matches.clone();
        planner.service.split = Some(split);
    }
    take(planner, next, params.last(), full.filter(|promoted| *promoted == Promotion::Full));
}

/// Whether the step has held as long as it is to, its gates have passed, and who has to has approved it.
fn is_settled(planner: &mut Planner<'_>, of: &CanaryStep, number: u32) -> bool {
    let now = planner.now();
    let Some(mut at) = planner.rollout().shift.clone() else { return false };
    if at.promoted.is_some() || planner.rollout().kind != Kind::Deploy {
        return true;
    }
    // Without a coordinator nobody watched.
    at.watched_since = at.watched_since.filter(|since| *since >= planner.snapshot.fleet.since());
    let since = at.watched_since.unwrap_or(now);
    if at.watched_since.is_none() {
        // Without weights, the step begins when its instances serve.
        planner.rollout().shift = Some(Shift { watched_since: Some(now), ..at });
    }
    let until = since + of.hold.map(|hold| hold.duration()).unwrap_or_default();
    if now < until {
        planner.wait(Waiting::Watch { weight: of.weight, until });
        planner.wake(until);
    }
    let gates = gating::look(planner, number, &of.gates, since);
    if !may_go_on(planner, &gates) || matches!(gates, Gates::Going) || now < until {
        return false;
    }
    !(of.approve && waits_for_approval(planner))
}
