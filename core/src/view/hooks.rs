//! Hooks of a rollout, as `rollout show` prints them.

use serde::{Deserialize, Serialize};

use crate::id::{HostId, SlotId};
use crate::observation::{TaskEnd, TaskOutcome};
use crate::release::Stage;
use crate::rollout::{HookRun, Rollout};
use crate::time::Timestamp;
use crate::units::Span;

/// A hook that ran, or runs, on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HookView {
    /// Its name.
    pub hook: String,
    /// Before the first step, or after the last.
    pub stage: Stage,
    /// Its host.
    pub host: HostId,
    /// The slot in whose place it runs.
    pub slot: SlotId,
    /// When it was asked for.
    pub begun_at: Timestamp,
    /// Since when its process runs, by the clock of its host; none before that.
    pub since: Option<Timestamp>,
    /// `succeeded | exited | out_of_memory | timed_out | not_started | refused | interrupted | stopped | lost`, once it is over.
    pub outcome: Option<String>,
    /// Its end, in words.
    pub message: Option<String>,
    /// The exit code of its process, if that ended by itself.
    pub exit_code: Option<i64>,
    /// Run time of its process.
    pub took: Option<Span>,
    /// It failed, and a person let the rollout go on.
    #[serde(default)]
    pub excused: bool,
    /// The last lines that it wrote, the oldest first; none in `rollout ls`.
    #[serde(default)]
    pub log: Vec<String>,
}

impl HookView {
    /// Whether it is over and did not do what it is for.
    pub fn has_failed(&self) -> bool {
        self.outcome.as_deref().is_some_and(|outcome| outcome != TaskOutcome::Succeeded.as_str())
    }
}

/// The hooks of a rollout, by their beginning.
pub(super) fn of(rollout: &Rollout) -> Vec<HookView> {
    rollout.hooks.iter().map(one).collect()
}

fn one(run: &HookRun) -> HookView {
    let end = run.end.as_ref();
    HookView {
        hook: run.hook.clone(),
        stage: run.stage,
        host: run.host.clone(),
        slot: run.slot.clone(),
        begun_at: run.begun_at,
        since: run.started_at,
        outcome: end.map(|end| end.outcome.as_str().to_owned()),
        message: end.map(TaskEnd::words),
        exit_code: end.and_then(|end| end.outcome.exit_code()),
        took: end.map(|end| end.took),
        excused: run.excused,
        log: end.map(|end| end.log.clone()).unwrap_or_default(),
    }
}
