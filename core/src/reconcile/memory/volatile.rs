//! Retries and their delays: all that an agent may forget with its process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::{FailureReason, TroubleCode};
use crate::time::Timestamp;

/// Retries and their delays. Lost with the process, which only makes the next try come sooner.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Volatile {
    /// The containers were looked at since the agent began.
    pub looked: bool,
    /// Ids of containers that the journal does not know, and of which nothing could be said yet: their release was not here, or
    /// nobody had looked at them.
    pub unproven: BTreeSet<String>,
    /// Pulls that failed.
    pub pulls: BTreeMap<Digest, Retry<PullTrouble>>,
    /// Instances that were started again.
    pub starts: BTreeMap<String, Restarts>,
    /// Since when the probes of instances that run since before the agent began are asked, which takes their release.
    pub asked: BTreeMap<String, Timestamp>,
    /// Steps that the engine refused, by slot.
    pub steps: BTreeMap<SlotId, Retry<StepTrouble>>,
    /// When a step of a hook that failed may be tried again, by rollout and name.
    pub tasks: BTreeMap<String, Timestamp>,
    /// Releases that the host's policy did not let start, by slot.
    pub forbidden: BTreeMap<SlotId, Forbidden>,
    /// Images whose removal was tried: one that somebody else uses is not tried again.
    pub collected: BTreeSet<Digest>,
    /// Ports that turned out to be taken by somebody else.
    pub taken_ports: BTreeSet<u16>,
}

/// A release that the host's policy did not let start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// The release.
    pub release: Digest,
    /// Why, in words.
    pub why: String,
}

/// The restarts of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// The number in a row.
    pub count: u32,
    /// When last.
    pub last_at: Timestamp,
}

/// Something that failed and is tried again later.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry<T> {
    /// The number in a row.
    pub failures: u32,
    /// When it may be tried again.
    pub not_before: Timestamp,
    /// All that is known about it.
    pub what: T,
}

/// A pull that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct PullTrouble {
    /// Under which plan.
    pub seq: u64,
    /// Why.
    pub reason: FailureReason,
    /// The image is another one than the release names: it is refused, not failed.
    pub wrong: bool,
    /// The registry could not answer just now: it is asked again before the pull counts as failed.
    pub transient: bool,
    /// When.
    pub at: Timestamp,
    /// When it failed first, of those in a row.
    pub first_at: Timestamp,
}

/// A step that the engine refused.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTrouble {
    /// Its kind.
    pub code: TroubleCode,
    /// Why.
    pub message: String,
    /// When it failed first, of those in a row.
    pub first_at: Timestamp,
}

impl<T> Retry<T> {
    /// The state after one more failure than `before`, with a delay that doubles from `base` to `ceiling`.
    pub(in crate::reconcile) fn after(
        before: Option<&Self>,
        what: T,
        now: Timestamp,
        base: Duration,
        most: Duration,
    ) -> Self {
        let failures = before.map_or(0, |retry| retry.failures).saturating_add(1);
        Self { failures, not_before: now + doubled(base, failures - 1, most), what }
    }
}

/// `base`, doubled `times`, at most `most`.
pub(in crate::reconcile) fn doubled(base: Duration, times: u32, most: Duration) -> Duration {
    base.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(most)
}
