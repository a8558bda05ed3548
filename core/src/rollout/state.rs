//! The values that a rollout and the log of its decisions are made of: direction, state, progress, failures, commands.

use serde::{Deserialize, Serialize};

use crate::id::{HostId, SlotId};
use crate::observation::{Evidence, Refusal};

/// Failures that a rollout remembers.
pub(crate) const MAX_FAILURES: usize = 20;

/// Forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To a new release.
    Deploy,
    /// To an older good release, asked for by a person. Has no batches and no soak, and is never
    /// rolled back.
    Rollback,
    /// To new instances of the release that it is at. In batches, without a soak, and never rolled back: a slot
    /// whose new instance fails keeps its old one, and the rest is not touched.
    Restart,
}

/// The state of a rollout.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the table of the module says what each means")]
pub enum State {
    Pending,
    Preparing,
    Advancing,
    Soaking,
    Paused,
    RollingBack,
    Succeeded,
    RolledBack,
    Aborted,
    Failed,
    Superseded,
}

impl State {
    /// Returns whether no state comes after it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::RolledBack | Self::Aborted | Self::Failed | Self::Superseded)
    }

    /// The state as documents and tables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Preparing => "preparing",
            Self::Advancing => "advancing",
            Self::Soaking => "soaking",
            Self::Paused => "paused",
            Self::RollingBack => "rolling_back",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

/// The end of a rollout that goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RollbackMode {
    /// As rolled back: it failed.
    RolledBack,
    /// As aborted: a person said so.
    Aborted,
    /// As failed, before any container was touched.
    Untouched,
    /// As failed, with the slots that became available left as they are.
    OnlyFailed,
}

/// The progress of a rollout. Each number only counts when it rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Progress {
    /// Bytes pulled over all hosts.
    pub bytes: u64,
    /// Slots whose host has the image.
    pub pulled: u32,
    /// Slots that were begun.
    pub begun: u32,
    /// Slots that are available at the new release.
    pub available: u32,
}

/// A slot that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Failure {
    /// Its host.
    pub host: HostId,
    /// Which slot.
    pub slot: SlotId,
    /// The agent's evidence, if it tried.
    pub evidence: Option<Evidence>,
    /// The agent's refusal, if it did not.
    pub refusal: Option<Refusal>,
}

/// A command of a person to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutCommand {
    /// Take no further step.
    Pause,
    /// Go on where it paused; slots that failed get one more try.
    Resume,
    /// Go back to the last good release.
    Abort,
    /// Let the step after this one begin, once nothing else holds it up.
    Approve,
    /// Let the traffic take its next step now.
    Promote,
    /// Let the traffic take every step now.
    PromoteFull,
}
