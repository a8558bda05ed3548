//! The memory of hooks: what was begun is written down before it is begun, and never begun again.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::{TaskEnd, TaskOutcome};
use crate::time::Timestamp;

/// Hooks that are over and remembered, so that none runs a second time; the oldest goes first.
const KEPT: usize = 64;

/// The memory of one hook of one rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskMemory {
    /// The slot that had it in the plan.
    pub slot: SlotId,
    /// The release that it is of.
    pub release: Digest,
    /// The name of its container.
    pub instance: String,
    /// When it was begun; everything comes after that was written down.
    pub begun_at: Timestamp,
    /// The engine's id of its container, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its memory in bytes.
    pub memory: u64,
    /// Its devices, by UUID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// When its process was seen to have begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The reason for which it is stopped by us, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<TaskOutcome>,
    /// Its last lines, once they were read after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<String>>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<TaskEnd>,
}

impl TaskMemory {
    /// Ends it, unless it has ended.
    pub(in crate::reconcile) fn end(&mut self, outcome: TaskOutcome, now: Timestamp) {
        if self.end.is_none() {
            let began = self.started_at.unwrap_or(now);
            let took = crate::units::Span::from_millis(millis(now.since(began)));
            self.end = Some(TaskEnd { outcome, took, log: self.log.take().unwrap_or_default() });
        }
    }
}

/// Milliseconds of a duration.
pub(in crate::reconcile) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl super::Memory {
    /// Drops the oldest of those that are over and that nothing is left of.
    pub(in crate::reconcile) fn forget_tasks(&mut self, stays: impl Fn(&str, &TaskMemory) -> bool) {
        let mut over: Vec<(Timestamp, String)> = self
            .tasks
            .iter()
            .filter(|(key, known)| known.end.is_some() && !stays(key, known))
            .map(|(key, known)| (known.begun_at, key.clone()))
            .collect();
        over.sort();
        for (_, key) in over.iter().take(over.len().saturating_sub(KEPT)) {
            self.tasks.remove(key);
        }
    }
}
