//! The bounds of a strategy's steps and times.

use super::malformed::ensure;
use crate::observation::Refusal;
use crate::release::{CanaryStep, MAX_KEEP_OLD, MAX_STEPS, MAX_WATCH, Spec, Strategy};
use crate::traffic::{MAX_RULES, MatchRule, Weight};

pub(super) fn check(spec: &Spec) -> Result<(), Refusal> {
    match &spec.strategy {
        Strategy::Rolling { .. } | Strategy::Recreate { .. } => Ok(()),
        #[cfg(test)]
        Strategy::OneThenAll { .. } => Ok(()),
        Strategy::BlueGreen { steps, watch, keep_old, .. } => {
            let rise = steps.windows(2).all(|pair| pair[0] < pair[1]) && steps.first() > Some(&Weight::NONE);
            ensure(
                rise && steps.len() <= MAX_STEPS + 1 && steps.last() == Some(&Weight::ALL),
                "`strategy.blue_green.steps` are not shares that rise to 1000",
            )?;
            ensure(
                *watch <= MAX_WATCH && *keep_old <= MAX_KEEP_OLD,
                "`strategy.blue_green` has a time that is too long",
            )
        }
        Strategy::Canary { steps, min_instances, keep_old, keep_failed, .. } => {
            let rise = steps.windows(2).all(|pair| pair[0].weight <= pair[1].weight);
            let ends = steps.last().is_some_and(|step| step.weight == Weight::ALL);
            ensure(
                rise && ends && steps.len() <= MAX_STEPS + 1,
                "`strategy.canary.steps` do not rise to 1000",
            )?;
            ensure(
                (1..=1000).contains(min_instances)
                    && *keep_old <= MAX_KEEP_OLD
                    && keep_failed.is_none_or(|span| span <= MAX_KEEP_OLD),
                "`strategy.canary` has a number or time out of its range",
            )?;
            steps.iter().try_for_each(|step| canary_step(spec, step))
        }
    }
}

fn canary_step(spec: &Spec, step: &CanaryStep) -> Result<(), Refusal> {
    let previews = spec.traffic.routes.iter().filter(|route| route.preview).count();
    let rules = step.matches.len() + previews <= MAX_RULES && step.matches.iter().all(MatchRule::is_valid);
    ensure(rules, "`strategy.canary` has a match that no table can carry")?;
    ensure(step.hold.is_none_or(|span| span <= MAX_WATCH), "`strategy.canary` has a step that is too long")?;
    let known =
        step.gates.len() <= spec.gates.len() && step.gates.iter().all(|name| spec.gates.contains_key(name));
    ensure(known, "`strategy.canary` names a gate that is not in `gates`, or one twice")
}
