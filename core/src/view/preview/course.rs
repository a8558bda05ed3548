//! The course of a rollout in words: what it asks, starts and shifts, one thing after the other.

use crate::gate::asked_in;
use crate::release::{CanaryStep, Spec, Strategy};
use crate::traffic::{MatchOn, Weight};
use crate::units::Span;

/// The steps of a rollout over `total` slots, in some of which it `replaces` another release. None where it only replaces
/// instances.
pub(super) fn steps(spec: &Spec, total: u32, replaces: bool) -> Vec<String> {
    let mut steps = Vec::new();
    if !spec.checks.is_empty() {
        let names: Vec<&str> = spec.checks.iter().map(|check| check.name.as_str()).collect();
        steps.push(format!("every host checks {}", names.join(", ")));
    }
    let moved = if replaces { traffic(spec, total) } else { Vec::new() };
    let asks = asks(spec);
    if !moved.is_empty() || !asks.is_empty() {
        steps.push(format!("every new instance has to be healthy for {}{asks}", spec.strategy.min_ready()));
    }
    steps.extend(moved);
    if !steps.is_empty() {
        steps.push(format!("the whole service is watched for {}", spec.strategy.soak(spec.soak)));
        if let Some(keep) = spec.keeps_old().filter(|_| replaces) {
            steps.push(format!("the old instances run on without traffic for {keep}"));
        }
    }
    steps
}

fn asks(spec: &Spec) -> String {
    let count = |count: usize, what: &str| match count {
        0 => String::new(),
        1 => format!(", one {what}"),
        count => format!(", {count} {what}s"),
    };
    let asked = spec.smoke.iter().filter(|smoke| smoke.after.is_none()).count();
    count(spec.warm_up.len(), "warm-up request") + &count(asked, "smoke test")
}

/// The steps of the traffic, which a strategy that replaces instances where they are has none of.
fn traffic(spec: &Spec, total: u32) -> Vec<String> {
    if let Strategy::BlueGreen { steps, watch, approve, .. } = &spec.strategy {
        let approval = approve.then(|| "another operator approves".to_owned());
        let shares = (1..).zip(steps).map(|(step, weight)| {
            let watched = if *weight == Weight::ALL { String::new() } else { lasts(Some(*watch)) };
            let gates: Vec<String> = asked_in(spec, step, &[]).into_keys().map(str::to_owned).collect();
            format!("{weight} of the traffic to the new instances{watched}{}", until(&gates))
        });
        return approval.into_iter().chain(shares).collect();
    }
    let Strategy::Canary { steps, min_instances, .. } = &spec.strategy else { return Vec::new() };
    let of = |step: &CanaryStep| canary(step, spec.is_routed(), step.instances(total, *min_instances), total);
    steps.iter().map(of).collect()
}

fn canary(step: &CanaryStep, is_routed: bool, instances: u32, total: u32) -> String {
    let mut text = if is_routed {
        let share = if step.weight == Weight::NONE { "none".to_owned() } else { step.weight.to_string() };
        format!("{share} of the traffic to {instances} of {total} instances")
    } else {
        format!("{instances} of {total} instances")
    };
    for rule in &step.matches {
        let on = match rule.on {
            MatchOn::Header => "header",
            MatchOn::Cookie => "cookie",
        };
        text.push_str(&format!(", and requests with {on} {}: {}", rule.name, rule.value));
    }
    text.push_str(&lasts(step.hold));
    text.push_str(&until(&step.gates));
    if step.approve {
        text.push_str(", until another operator approves");
    }
    text
}

fn lasts(span: Option<Span>) -> String {
    span.map(|span| format!(", for {span} at least")).unwrap_or_default()
}

fn until(gates: &[String]) -> String {
    if gates.is_empty() { String::new() } else { format!(", until {} passed", listed(gates)) }
}

fn listed(gates: &[String]) -> String {
    let names = gates.join(", ");
    if gates.len() == 1 { format!("gate {names} has") } else { format!("gates {names} have") }
}
