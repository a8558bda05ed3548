//! Gates: one question each, within its bounds.

use crate::manifest::lower;
use crate::manifest::model::{Gate, Manifest};
use crate::release::{MAX_GATES, is_gate_name};

use super::{Findings, gpus, traffic};

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    if manifest.gates.len() > MAX_GATES {
        findings.error(&["gates"], format!("has more than {MAX_GATES} entries"), "");
    }
    let (canary, blue_green) = (&manifest.strategy.canary, &manifest.strategy.blue_green);
    if !manifest.gates.is_empty() && canary.is_none() && blue_green.is_none() {
        findings.error(
            &["gates"],
            "are asked by the steps of `canary` or `blue_green`, and the strategy is another one",
            "`strategy: { canary: {} }`, or `rollback_on` for other strategies",
        );
    }
    let steps = blue_green.is_some().then(|| lower::strategy(manifest).steps());
    for (name, gate) in &manifest.gates {
        if let (Some(from), Some(steps)) = (gate.from_step, steps)
            && from as usize > steps
        {
            let hint = format!("the traffic moves in {steps} steps");
            findings.error(&["gates", name, "from_step"], "comes after the last step", &hint);
        }
    }
    let lowered = lower::gates(manifest);
    for (name, gate) in &manifest.gates {
        if !is_gate_name(name) {
            let shown: String = name.chars().take(63).collect();
            findings.error(
                &["gates", name],
                format!("`{shown}` is not the name of a gate"),
                "lowercase letters, digits, `-` and `_`, 1 to 63 characters",
            );
        }
        check_asks(name, gate, manifest, findings);
        if let Some(lowered) = lowered.get(name)
            && let Err((key, bounds)) = lowered.check()
        {
            let path: Vec<&str> = ["gates", name].into_iter().chain(key.split('.')).collect();
            findings.error(&path, bounds, "");
        }
    }
}

fn check_asks(name: &str, gate: &Gate, manifest: &Manifest, findings: &mut Findings<'_>) {
    let asks: Vec<&str> =
        gate.asks().into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect();
    let known = gate.asks().map(|(key, _)| key).join(", ");
    match asks.as_slice() {
        [] => findings.error(&["gates", name], "asks nothing", &format!("one of {known}")),
        [_] => {}
        [_, second, ..] => {
            findings.error(&["gates", name, second], "is a second question", "a gate of its own asks it");
        }
    }
    if let Some(ask) = asks.iter().find(|ask| ask.starts_with("gpu_"))
        && !gpus::has(manifest)
    {
        findings.error(&["gates", name, ask], gpus::NONE, gpus::HINT);
    }
    let counts = asks.iter().find(|ask| matches!(**ask, "error_rate" | "p95"));
    if let Some(ask) = counts {
        let hint =
            "`route: { host: web.example.com }`, or a gate that asks `crashes`, `prometheus` or `http`";
        traffic::counted(manifest, &["gates", name, ask], hint, findings);
    }
    if gate.baseline.is_some() && counts.is_none() {
        let hint = "only `error_rate` and `p95` are compared with the old release";
        findings.error(&["gates", name, "baseline"], "has nothing to compare", hint);
    }
}
