//! The steps of a canary, with everything that they take from the keys beside them.

use crate::release;
use crate::traffic::{MatchOn, MatchRule, Weight};

use super::super::defaults;
use super::super::model::{Canary, CanaryStep, Manifest, Match, StepKeys};

pub(super) fn lower(canary: &Canary, manifest: &Manifest) -> release::Strategy {
    let every = every_gate(manifest);
    let mut steps: Vec<release::CanaryStep> = if canary.steps.is_empty() {
        let shares = defaults::CANARY_STEPS.into_iter().filter_map(|share| Weight::try_from(share).ok());
        shares.map(|weight| of_share(weight, &every)).collect()
    } else {
        canary.steps.iter().map(|step| lower_step(step, &every)).collect()
    };
    if steps.last().is_none_or(|step| step.weight != Weight::ALL) {
        steps.push(of_share(Weight::ALL, &every));
    }
    for (index, step) in steps.iter_mut().enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let says_hold =
            matches!(canary.steps.get(index), Some(CanaryStep::More(keys)) if keys.hold.is_some());
        if step.weight != Weight::ALL && !says_hold && !is_judged(step, number, manifest) {
            step.hold = Some(defaults::CANARY_HOLD);
        }
    }
    if let Some(all) = &canary.r#match {
        let rules = rules(all);
        let open = steps.iter_mut().filter(|step| step.weight != Weight::ALL);
        open.for_each(|step| {
            step.matches
                .extend(rules.iter().filter(|rule| !step.matches.contains(rule)).cloned().collect::<Vec<_>>())
        });
    }
    release::Strategy::Canary {
        steps,
        min_instances: canary.min_instances,
        keep_old: canary.keep_old,
        keep_failed: canary.keep_failed.filter(|span| !span.is_zero()),
        min_ready: canary.min_ready,
    }
}

/// Whether a gate that decides is asked in a step, or a person approves it. Steps count from 1.
pub(in crate::manifest) fn is_judged(step: &release::CanaryStep, number: u32, manifest: &Manifest) -> bool {
    // A dry run stops nothing.
    let decides = manifest.gates.iter().any(|(name, gate)| {
        let is_asked = step.gates.contains(name) || gate.from_step.is_some_and(|from| from <= number);
        is_asked && !gate.dry_run
    });
    decides || step.approve
}

/// The gates that a step asks which names none.
fn every_gate(manifest: &Manifest) -> Vec<String> {
    // One that is asked from a step on needs no name.
    let named = manifest.gates.iter().filter(|(_, gate)| gate.from_step.is_none());
    named.map(|(name, _)| name.clone()).collect()
}

/// A step of which nothing but its share is said. At all of the traffic the soak watches, and no gate is asked.
fn of_share(weight: Weight, every: &[String]) -> release::CanaryStep {
    let gates = if weight == Weight::ALL { Vec::new() } else { every.to_vec() };
    release::CanaryStep { weight, instances: None, matches: Vec::new(), hold: None, gates, approve: false }
}

fn lower_step(step: &CanaryStep, every: &[String]) -> release::CanaryStep {
    let keys = match step {
        CanaryStep::Share(share) => return of_share(share.0, every),
        CanaryStep::More(keys) => keys,
    };
    let StepKeys { weight, instances, r#match, hold, gates, approve } = &**keys;
    let plain = of_share(weight.map_or(Weight::NONE, |share| share.0), every);
    // Without any weight, no request counts: nothing is asked that was not named.
    let unnamed = if plain.weight == Weight::NONE { Vec::new() } else { plain.gates };
    release::CanaryStep {
        weight: plain.weight,
        instances: *instances,
        matches: r#match.as_ref().map(rules).unwrap_or_default(),
        hold: hold.filter(|span| !span.is_zero()),
        gates: gates.clone().unwrap_or(unnamed),
        approve: *approve,
    }
}

/// One rule for each header and cookie, in the order of their names.
pub(in crate::manifest) fn rules(of: &Match) -> Vec<MatchRule> {
    let header = of.header.iter().map(|(name, value)| (MatchOn::Header, name.to_ascii_lowercase(), value));
    let cookie = of.cookie.iter().map(|(name, value)| (MatchOn::Cookie, name.clone(), value));
    header.chain(cookie).map(|(on, name, value)| MatchRule { on, name, value: value.0.clone() }).collect()
}
