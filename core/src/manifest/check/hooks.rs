//! Hooks: names, commands, numbers and times.

use std::collections::BTreeSet;

use crate::manifest::model::{Hook, Manifest};
use crate::release::{
    MAX_HOOK_COMMAND, MAX_HOOK_GPUS, MAX_HOOK_TIMEOUT, MAX_HOOK_WORDS, MAX_HOOKS, is_hook_name,
};
use crate::units::Span;

use super::Findings;

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    let mut names = BTreeSet::new();
    for (stage, hooks) in [("before", &manifest.hooks.before), ("after", &manifest.hooks.after)] {
        if hooks.len() > MAX_HOOKS {
            findings.error(&["hooks", stage], format!("has more than {MAX_HOOKS} entries"), "");
        }
        for (at, hook) in hooks.iter().enumerate() {
            let at = at.to_string();
            one(hook, &["hooks", stage, &at], findings);
            let name = hook.name.as_deref().unwrap_or_default();
            if !names.insert(name.to_owned()) && is_hook_name(name) {
                findings.error(
                    &["hooks", stage, &at, "name"],
                    format!("`{name}` is the name of another hook"),
                    "",
                );
            }
        }
    }
}

fn one(hook: &Hook, at: &[&str], findings: &mut Findings<'_>) {
    let mut error = |field: &str, reason: String, hint: &str| {
        let path: Vec<&str> = at.iter().copied().chain([field]).collect();
        findings.error(&path, reason, hint);
    };
    if !hook.name.as_deref().is_some_and(is_hook_name) {
        let reason = "is not 1 to 32 small letters, digits and `-`, with none of these at the ends";
        error("name", reason.to_owned(), "like `test-prediction`");
    }
    if hook.run.first().is_none_or(String::is_empty) {
        error("run", "names no program".to_owned(), "like `[\"python\", \"-m\", \"app.test\"]`");
    }
    let bytes: usize = hook.run.iter().map(String::len).sum();
    let long = hook.run.len() > MAX_HOOK_WORDS || bytes > MAX_HOOK_COMMAND;
    if long || hook.run.iter().any(|word| word.contains('\0')) {
        let most = format!("more than {MAX_HOOK_WORDS} words or {MAX_HOOK_COMMAND} bytes");
        error("run", format!("has a NUL character, or {most}"), "");
    }
    if hook.gpus.is_some_and(|gpus| !(1..=MAX_HOOK_GPUS).contains(&gpus)) {
        error("gpus", format!("must be from 1 to {MAX_HOOK_GPUS}"), "leave it away for none");
    }
    if hook.timeout < Span::from_secs(1) || hook.timeout > MAX_HOOK_TIMEOUT {
        error("timeout", format!("must be from 1s to {MAX_HOOK_TIMEOUT}"), "");
    }
}
