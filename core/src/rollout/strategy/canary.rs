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

use super::super::draft::Draft;
use super::super::ending;
use super::super::gating::{self, Gates};
use super::super::model::{Kind, Promotion, Shift, State};
use super::shifting::{is_in_force, shift, take};
use super::standing::{Old, Standing};

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

pub(super) fn step(draft: &mut Draft<'_>, params: &Params<'_>) {
    let Some((to, release)) = draft.target() else { return };
    let split = draft.service.split.clone().filter(|split| split.new == to.digest);
    let old = if split.is_some() { Old::RunsOn } else { Old::Rests };
    let Some(mut standing) = Standing::look(draft, old) else { return };
    let replaces = draft.rollout().from.is_some_and(|from| from.digest != to.digest);
    if (!replaces && split.is_none()) || (split.is_none() && release.spec.is_routed()) {
        // No other release serves beside it.
        standing.begin(draft, Limits::NONE);
        return standing.close(draft);
    }
    let at = shift(draft);
    // A rollback to what is still warm asks nobody.
    let full = at.promoted == Some(Promotion::Full) || draft.rollout().kind != Kind::Deploy;
    let next = match at.taken {
        _ if full => params.last(),
        0 => 1,
        taken if at.settled => taken + 1,
        taken => taken,
    };
    let Some(of) = params.steps.get(next as usize - 1) else { return draft.go(State::Soaking) };
    let wanted = of.instances(standing.total, params.min_instances);
    standing.begin_up_to(draft, wanted);
    if !standing.has(wanted) {
        // The step that is taken is judged all the same: its release has its share of the requests.
        if let Some(taken) = params.steps.get((at.taken as usize).wrapping_sub(1))
            && !goes_on(draft, taken, at.taken)
        {
            return;
        }
        return standing.look_at_deadline(draft);
    }
    let deadline = standing.spec.progress_deadline;
    draft.is_steady(deadline);
    if next > at.taken {
        return take_step(draft, params, next, of, split);
    }
    if split.is_some_and(|split| !is_in_force(draft, &split, deadline)) {
        return;
    }
    if is_settled(draft, of, next) {
        if next >= params.last() {
            return draft.go(State::Soaking);
        }
        draft.rollout().shift.iter_mut().for_each(|shift| shift.settled = true);
        draft.wake_now();
    }
}

/// Gives the new release the share of a step.
fn take_step(draft: &mut Draft<'_>, params: &Params<'_>, next: u32, of: &CanaryStep, split: Option<Split>) {
    let full = draft.rollout().shift.as_ref().and_then(|shift| shift.promoted);
    if let Some(mut split) = split {
        split.weight = of.weight;
        split.matches = of.matches.clone();
        draft.service.split = Some(split);
    }
    take(draft, next, params.last(), full.filter(|promoted| *promoted == Promotion::Full));
}

/// Whether the step has held as long as it is to, its gates have passed, and who has to has approved it.
fn is_settled(draft: &mut Draft<'_>, of: &CanaryStep, number: u32) -> bool {
    let now = draft.now();
    let Some(mut at) = draft.rollout().shift.clone() else { return false };
    if at.promoted.is_some() || draft.rollout().kind != Kind::Deploy {
        return true;
    }
    // Without a coordinator nobody watched.
    at.watched_since = at.watched_since.filter(|since| *since >= draft.snapshot.fleet.since());
    let since = at.watched_since.unwrap_or(now);
    if at.watched_since.is_none() {
        // Without weights, the step begins when its instances serve.
        draft.rollout().shift = Some(Shift { watched_since: Some(now), ..at.clone() });
    }
    let until = since + of.hold.map(|hold| hold.duration()).unwrap_or_default();
    if now < until {
        draft.wait(Waiting::Watch { weight: of.weight, until });
        draft.wake(until);
    }
    let gates = gating::look(draft, number, &of.gates, since);
    if !may_go_on(draft, &gates) || matches!(gates, Gates::Going) || now < until {
        return false;
    }
    if of.approve && at.approved.is_none() {
        draft.wait(Waiting::Approval);
        return false;
    }
    true
}

/// Judges the step that is taken while instances of it, or of the next one, are on their way. Answers whether the rollout goes on.
fn goes_on(draft: &mut Draft<'_>, of: &CanaryStep, number: u32) -> bool {
    let shift = draft.rollout().shift.clone();
    let since = shift.filter(|shift| shift.promoted.is_none()).and_then(|shift| shift.watched_since);
    let Some(since) = since.filter(|_| draft.rollout().kind == Kind::Deploy) else { return true };
    let gates = gating::look(draft, number, &of.gates, since);
    may_go_on(draft, &gates)
}

/// Goes back where a gate has failed, and pauses where nobody can tell. Answers whether it did neither.
fn may_go_on(draft: &mut Draft<'_>, gates: &Gates) -> bool {
    let Some((_, release)) = draft.target() else { return false };
    match gates {
        Gates::Failed(_) if std::env::var("PLANT").is_ok_and(|p| p == "gate") => return true,
        Gates::Failed(reason) => ending::on_release_failure(draft, &release.spec, reason.clone()),
        Gates::Unclear(reason) => ending::pause(draft, reason.clone()),
        Gates::Going | Gates::Passed => return true,
    }
    false
}
