//! Hooks: commands that a rollout runs once, before it touches anything and after its last step.

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// Hooks of one list.
pub(crate) const MAX_HOOKS: usize = 8;
/// Bytes of a hook's name.
pub(crate) const MAX_HOOK_NAME: usize = 32;
/// The longest time that a hook may take.
pub(crate) const MAX_HOOK_TIMEOUT: Span = Span::from_secs(6 * 60 * 60);
/// Words of a hook's command.
pub(crate) const MAX_HOOK_WORDS: usize = 256;
/// Bytes of a hook's command.
pub(crate) const MAX_HOOK_COMMAND: usize = 32 * 1024;
/// GPUs of a hook.
pub(crate) const MAX_HOOK_GPUS: u32 = 64;

/// The hooks of a release. Each list runs in its order, one hook after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Run when every host has the image, before any slot is touched. One that fails ends the rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Hook>,
    /// Run after the last step, before the soak. One that fails is a failure of the rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Hook>,
}

/// A command that runs once for each rollout, in a container made from the release itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Its name, unique in the release.
    pub name: String,
    /// Program and arguments.
    pub run: Vec<String>,
    /// GPUs that it gets, each whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Time for the hook.
    pub timeout: Span,
    /// The hosts that it runs on.
    #[serde(default, skip_serializing_if = "HookHosts::is_lowest")]
    pub on: HookHosts,
}

/// The hosts that a hook runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookHosts {
    /// The host of the rollout's lowest slot.
    #[default]
    Lowest,
    /// Every host of its slots.
    Each,
}

impl HookHosts {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_lowest(&self) -> bool {
        matches!(self, Self::Lowest)
    }
}

/// When a hook runs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before any slot is touched.
    Before,
    /// After the last step.
    After,
}

impl Hooks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// The hooks of a stage, in their order.
    pub fn of(&self, stage: Stage) -> &[Hook] {
        match stage {
            Stage::Before => &self.before,
            Stage::After => &self.after,
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Hook> {
        self.before.iter().chain(&self.after)
    }

    /// The hook of this name.
    pub fn named(&self, name: &str) -> Option<&Hook> {
        self.all().find(|hook| hook.name == name)
    }

    /// The most GPUs that one of them asks for.
    pub fn most_gpus(&self) -> u32 {
        self.all().filter_map(|hook| hook.gpus).max().unwrap_or(0)
    }
}

/// Returns whether `name` can be the name of a hook. It stands in names of containers.
pub fn is_hook_name(name: &str) -> bool {
    (1..=MAX_HOOK_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}
