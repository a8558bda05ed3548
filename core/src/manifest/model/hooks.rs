//! Hooks, as a manifest says them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::HookHosts;
use crate::units::Span;

use super::super::defaults;
use super::scalar;

/// Commands that a rollout runs once, before it touches anything and after its last step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hooks {
    /// Run when every host has the image, before the first instance is touched; one that fails ends the rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) before: Vec<Hook>,
    /// Run after the last step, before the soak; one that fails is a failure of the rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<Hook>,
}

/// A command in a container of the new release: its image, env, files, volumes, security and limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hook {
    /// Its name in messages; `before-1`, `after-1` and so on if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["test-prediction"]))]
    pub(crate) name: Option<String>,
    /// Program and arguments, in place of `command` and `args`.
    #[schemars(extend("examples" = [["python", "-m", "app.test_prediction"]]))]
    pub(crate) run: Vec<String>,
    /// GPUs that it gets, each whole; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gpus: Option<u32>,
    /// Time for the hook.
    #[serde(default = "defaults::hook_timeout")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) timeout: Span,
    /// `lowest`: the host of the lowest slot. `each`: every host of the rollout's slots, once on each.
    #[serde(default)]
    pub(crate) on: HookHosts,
}

impl Hooks {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// Fills in the names.
    pub(crate) fn complete(&mut self) {
        for (stage, hooks) in [("before", &mut self.before), ("after", &mut self.after)] {
            for (at, hook) in hooks.iter_mut().enumerate() {
                hook.name.get_or_insert_with(|| format!("{stage}-{}", at + 1));
            }
        }
    }
}
