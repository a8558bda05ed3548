//! The record of one hook on one host.

use serde::{Deserialize, Serialize};

use crate::id::{HostId, SlotId};
use crate::observation::TaskEnd;
use crate::release::Stage;
use crate::time::Timestamp;
use crate::units::Span;

/// A hook that a rollout runs on one host, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRun {
    /// Its name.
    pub hook: String,
    /// Before the first step, or after the last.
    pub stage: Stage,
    /// The slot in whose place it runs.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// When it was asked for.
    pub begun_at: Timestamp,
    /// The time for which its end is waited for.
    pub patience: Span,
    /// When its process began, by the clock of its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When its end was heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<TaskEnd>,
    /// It failed, and a person let the rollout go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub excused: bool,
}

impl HookRun {
    /// One that is asked for now.
    pub(super) fn new(
        hook: &str,
        stage: Stage,
        place: (SlotId, HostId),
        now: Timestamp,
        patience: Span,
    ) -> Self {
        let (slot, host) = place;
        let hook = hook.to_owned();
        Self {
            hook,
            stage,
            slot,
            host,
            begun_at: now,
            patience,
            started_at: None,
            ended_at: None,
            end: None,
            excused: false,
        }
    }

    /// When it is waited for no longer. Time without a coordinator does not count.
    pub(super) fn late_at(&self, watched_since: Timestamp) -> Timestamp {
        self.begun_at.max(watched_since) + self.patience.duration()
    }

    pub(super) fn finish(&mut self, mut end: TaskEnd, now: Timestamp) {
        end.bound();
        self.ended_at = Some(now);
        self.end = Some(end);
    }

    /// Whether it ended without having done what it is for, and nobody has let the rollout go on.
    pub(super) fn has_failed(&self) -> bool {
        !self.excused && self.end.as_ref().is_some_and(|end| !end.outcome.is_success())
    }
}
