//! Hooks of a rollout.

use comfy_table::Cell;
use windlass_core::Timestamp;
use windlass_core::release::Stage;
use windlass_core::time::display_duration;
use windlass_core::view::{HookView, RolloutView};

use super::printable;
use super::{grid, state};
use crate::printer::Colour;

/// Lines of the output of a hook that failed.
const LINES: usize = 20;

/// Hooks, one per line; nothing if there are none.
pub(crate) fn hooks(rollout: &RolloutView, now: Timestamp, colour: Colour) -> String {
    if rollout.hooks.is_empty() {
        return String::new();
    }
    let row = |hook: &HookView| {
        let stage = match hook.stage {
            Stage::Before => "before",
            Stage::After => "after",
        };
        vec![
            Cell::new(&hook.hook),
            Cell::new(stage),
            Cell::new(&hook.host),
            state(hook.outcome.as_deref().unwrap_or(if hook.since.is_some() {
                "running"
            } else {
                "starting"
            })),
            Cell::new(took(hook, now)),
        ]
    };
    let headers = ["HOOK", "STAGE", "HOST", "STATE", "TIME"];
    format!("\n{}", grid(&headers, rollout.hooks.iter().map(row).collect(), colour))
}

fn took(hook: &HookView, now: Timestamp) -> String {
    let whole = |time: std::time::Duration| display_duration(std::time::Duration::from_secs(time.as_secs()));
    match (hook.took, hook.since) {
        (Some(took), _) => took.to_string(),
        (None, Some(since)) => whole(now.since(since)),
        (None, None) => "-".to_owned(),
    }
}

/// The state of a hook, in a few words: `runs`, `exited with code 3: no such table`.
pub(crate) fn words(hook: &HookView) -> String {
    match (&hook.message, hook.since) {
        (Some(message), _) => {
            let took = hook.took.filter(|took| !took.is_zero());
            let took = took.map(|took| format!(" after {took}")).unwrap_or_default();
            if hook.has_failed() { printable(message) } else { format!("{message}{took}") }
        }
        (None, Some(_)) => "runs".to_owned(),
        (None, None) => "starts".to_owned(),
    }
}

/// Every hook that failed, with the end of its output.
pub(crate) fn failed(rollout: &RolloutView, colour: Colour) -> String {
    let mut text = String::new();
    for hook in rollout.hooks.iter().filter(|hook| hook.has_failed()) {
        let what = format!("hook {} on {}", hook.hook, hook.host);
        text.push_str(&format!("{} {what}: {}\n", colour.paint(31, "failed:"), words(hook)));
        if let Some(code) = hook.exit_code {
            text.push_str(&format!("  exit code     {code}\n"));
        }
        if let Some(took) = hook.took.filter(|took| !took.is_zero()) {
            text.push_str(&format!("  time          {took}\n"));
        }
        if !hook.log.is_empty() {
            text.push_str("  log\n");
            for line in hook.log.iter().skip(hook.log.len().saturating_sub(LINES)) {
                text.push_str(&format!("    {}\n", printable(line)));
            }
        }
    }
    text
}
