//! The decisions of a rollout, and the facts behind them: written by the code that decides, at that moment, so that a
//! person can see afterwards what happened and count it up again.
//!
//! A rollout keeps a [`Log`] of how much was written; the decisions themselves are records of their own, so that
//! a long rollout makes no long record. What is written is bounded: see [`DETAILS`] and [`SLOTS`]. Changes of
//! state, failures, steering and stragglers are always written, and happen a bounded number of times.

use serde::{Deserialize, Serialize};

use crate::gate::Judged;
use crate::id::{Counter, HostId, RolloutId};
use crate::observation::TaskOutcome;
use crate::release::Stage;
use crate::time::Timestamp;

use super::reason::Reason;
use super::state::{Failure, Kind, Progress, RollbackMode, RolloutCommand, State};
use crate::traffic::Weight;
use crate::units::Span;

mod log;
mod parts;

pub use log::Log;
pub use parts::{Allowed, Arrival, Begin, Chosen, Clocks, Instead, Place, Placement, Refused, Stood};

/// Decisions of one rollout about slots (placed, pulled, begun, available, turned, removed) that are written.
/// Those beyond are counted.
pub const DETAILS: u32 = 400;
/// Verdicts of gates of one rollout that are written. Those beyond are counted; one that ends a step is always written.
pub const VERDICTS: u32 = 400;
/// Slots and hosts that one decision names; those beyond are counted.
pub const SLOTS: usize = 64;

/// Something that was decided, or noticed and decided upon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Decision {
    /// Its place in the rollout, from 0.
    pub n: u32,
    /// When, by the coordinator's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// The kind and the details of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum What {
    /// Somebody asked for it.
    Started {
        /// Who.
        by: String,
        /// Forward or back.
        kind: Kind,
        /// The last good release: it goes back to that if it fails.
        from: Option<Counter>,
        /// The release that the service was at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<Counter>,
        /// The target.
        to: Counter,
        /// The rollout that it took over from.
        supersedes: Option<RolloutId>,
        /// Whether the rollout starts content that failed before.
        retry_quarantined: bool,
    },
    /// Slots got a host, or kept theirs.
    Placed {
        /// Which, where and why.
        slots: Vec<Placement>,
        /// So many more.
        more: u32,
        /// Hosts that cannot take a slot, and why.
        refused: Vec<Refused>,
        /// So many more of these.
        more_refused: u32,
        /// Instances that the service is to have; none for one per host.
        wanted: Option<u32>,
    },
    /// Hosts have the image.
    Pulled {
        /// Which slots it is there for now.
        slots: Vec<Place>,
        /// So many more.
        more: u32,
        /// Slots whose host has it now.
        pulled: u32,
        /// Slots in all.
        of: u32,
    },
    /// Slots were told to start the new release.
    Begun {
        /// Which, in which order, and why.
        slots: Vec<Begin>,
        /// So many more.
        more: u32,
        /// The state of the service before.
        stood: Stood,
        /// The limits of the strategy, as numbers of slots.
        allowed: Allowed,
    },
    /// Instances were healthy for min ready.
    Available {
        /// Which, and how long after they were begun.
        slots: Vec<Arrival>,
        /// So many more.
        more: u32,
        /// The release they run.
        release: Counter,
        /// Available now.
        available: u32,
        /// Slots in all.
        of: u32,
    },
    /// An instance failed, or was refused.
    Failed {
        /// With evidence.
        #[serde(flatten)]
        failure: Box<Failure>,
        /// Whether log lines and probe history were left out, since so many failed before.
        cut: bool,
    },
    /// A slot that failed gets another try.
    Retried {
        /// Which.
        #[serde(flatten)]
        place: Place,
    },
    /// Slots go back to the last good release.
    Turned {
        /// Which, and in which order.
        slots: Vec<Begin>,
        /// So many more.
        more: u32,
        /// The target.
        release: Counter,
    },
    /// The shares of the traffic changed.
    Weighed {
        /// The release that the traffic moves to.
        release: Counter,
        /// Its share from now on.
        weight: Weight,
        /// The number of this step, from 1 on; none on the way back.
        step: Option<u32>,
        /// Steps in all.
        of: u32,
    },
    /// Every ingress that counts divides the requests by these shares.
    Switched {
        /// The share of the release that the traffic moves to.
        weight: Weight,
        /// The time since it was decided, in milliseconds.
        took_ms: u64,
    },
    /// A window of a gate was judged.
    Judged {
        /// The verdict, and all that it was made from.
        #[serde(flatten)]
        judged: Box<Judged>,
    },
    /// A hook was asked for on a host.
    HookBegun {
        /// Its name.
        hook: String,
        /// Before the first step, or after the last.
        stage: Stage,
        /// Where.
        #[serde(flatten)]
        place: Place,
    },
    /// A hook ended.
    HookEnded {
        /// Its name.
        hook: String,
        /// Where.
        #[serde(flatten)]
        place: Place,
        /// How.
        outcome: TaskOutcome,
        /// The time that its process ran.
        took: Span,
    },
    /// Slots go.
    Removed {
        /// Which.
        slots: Vec<Place>,
        /// So many more.
        more: u32,
    },
    /// Hosts were lost at a deadline, and leave the count.
    LeftBehind {
        /// Which.
        hosts: Vec<HostId>,
        /// So many more.
        more: u32,
        /// The clocks by which they were.
        clocks: Clocks,
    },
    /// A person steered.
    Steered {
        /// Who.
        by: String,
        /// The command.
        steering: RolloutCommand,
        /// The state before.
        from: State,
        /// The state after.
        to: State,
    },
    /// The rollout came to another state.
    Moved {
        /// From this one.
        from: State,
        /// To this one.
        to: State,
        /// Why, when that needs saying.
        reason: Option<Reason>,
        /// Its end, if it goes back.
        going_back: Option<RollbackMode>,
        /// Its progress.
        progress: Progress,
        /// The clocks of the state that it left.
        clocks: Clocks,
        /// The release that the service is at from now on, once the rollout is over.
        serves: Option<Counter>,
    },
}

/// Cuts a list to what one decision names. Answers with how many are left out.
pub(super) fn cut<T>(list: &mut Vec<T>) -> u32 {
    let more = list.len().saturating_sub(SLOTS);
    list.truncate(SLOTS);
    u32::try_from(more).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
