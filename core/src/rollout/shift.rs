//! The record of how far the traffic has moved, and of what people said to that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Time for which an approval of a step counts. The view of a person a day ago is no reason to go on now.
pub const APPROVAL_COUNTS: Duration = Duration::from_secs(24 * 3600);

/// The progress of a service's traffic to the new release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Shift {
    /// Steps that were taken; the weights of the last one are in force.
    pub taken: u32,
    /// When that one was taken.
    pub at: Timestamp,
    /// Since when every ingress divides the requests so, and the new release is watched.
    pub watched_since: Option<Timestamp>,
    /// The thing that a person let it skip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Promotion>,
    /// Whether the step has held, its gates have passed, and who had to has approved: the next one begins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
    /// The approval of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
}

impl Shift {
    /// Nothing is taken, as of `at`.
    pub const fn new(at: Timestamp) -> Self {
        Self { taken: 0, at, watched_since: None, promoted: None, settled: false, approved: None }
    }

    /// The approval of the step, unless it has expired by `now`.
    pub fn approval(&self, now: Timestamp) -> Option<&Approval> {
        self.approved.as_ref().filter(|approval| now < approval.expires_at())
    }
}

/// A person has let the step after this one begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Approval {
    /// When it stops to count: the next step has to begin before that.
    pub fn expires_at(&self) -> Timestamp {
        self.at + APPROVAL_COUNTS
    }
}

/// A thing that a person lets a rollout skip.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Promotion {
    /// The approval or the watch that it is at: the next step begins.
    Step,
    /// Every step but the last one.
    Full,
}
