//! Step 6 for the hooks of a release: names, commands, numbers and times are bounded.

use std::collections::BTreeSet;

use crate::observation::Refusal;
use crate::release::{
    Hook, Hooks, MAX_HOOK_COMMAND, MAX_HOOK_GPUS, MAX_HOOK_TIMEOUT, MAX_HOOK_WORDS, MAX_HOOKS, Stage,
    is_hook_name,
};

use super::malformed::ensure;

/// Hooks that make sense.
pub(super) fn check(hooks: &Hooks) -> Result<(), Refusal> {
    for stage in [Stage::Before, Stage::After] {
        ensure(hooks.of(stage).len() <= MAX_HOOKS, "`hooks` has more than 8 in one list")?;
    }
    let names: BTreeSet<&str> = hooks.all().map(|hook| hook.name.as_str()).collect();
    ensure(names.len() == hooks.all().count(), "`hooks` has a name twice")?;
    hooks.all().try_for_each(one)
}

fn one(hook: &Hook) -> Result<(), Refusal> {
    ensure(is_hook_name(&hook.name), "`hooks` has a name that is none")?;
    let words = (1..=MAX_HOOK_WORDS).contains(&hook.run.len())
        && hook.run.iter().all(|word| !word.contains('\0'))
        && hook.run.first().is_some_and(|program| !program.is_empty())
        && hook.run.iter().map(String::len).sum::<usize>() <= MAX_HOOK_COMMAND;
    ensure(words, "`hooks` has a command without words, or one that is too long")?;
    ensure(
        hook.gpus.is_none_or(|gpus| (1..=MAX_HOOK_GPUS).contains(&gpus)),
        "`hooks` asks for no or for too many GPUs",
    )?;
    ensure(
        !hook.timeout.is_zero() && hook.timeout <= MAX_HOOK_TIMEOUT,
        "`hooks` has a time that is 0 or too long",
    )
}
