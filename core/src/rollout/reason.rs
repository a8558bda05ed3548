//! The reason for which a rollout is in its state.

use serde::{Deserialize, Serialize};

use super::figures::{Figures, Trigger};
use crate::gate::GateEnd;
use crate::id::{Counter, RolloutId};
use crate::slot::Waiting;
use crate::units::Span;

/// The reason for a rollout's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No host takes the slots; the hosts and why, in words.
    NoPlace(String),
    /// A slot failed; `failures` holds the evidence.
    SlotFailed(String),
    /// No progress for this long.
    NoProgress(Span),
    /// Not available for `soak` without a break before the deadline.
    NotSteady(Span),
    /// Not done in time, and what it waited for last.
    Late {
        /// The plain reason: `no_progress` or `not_steady`.
        what: Box<Self>,
        /// The first of its waits.
        waited_for: Vec<Waiting>,
    },
    /// A person said so.
    Asked(String),
    /// Another rollout took over.
    SupersededBy(RolloutId),
    /// Ingresses that can be reached did not take the weights of a step; `None` if no table ever said them.
    NotSwitched(Option<String>),
    /// The release that is to serve alone before it begins was not available everywhere within this long. Written by the
    /// version before.
    NotGathered(Span),
    /// A release was not fit to have every request in time.
    NotLed {
        /// The asked number.
        wanted: Counter,
        /// The one that goes on serving, if one does.
        serves: Option<Counter>,
        /// The time that it had.
        within: Span,
    },
    /// The release to go back to did not become available.
    RollbackFailed(String),
    /// There is no release to go back to.
    NothingToGoBackTo(String),
    /// The release on trial did what its manifest rolls back on.
    Trigger {
        /// Which trigger.
        what: Trigger,
        /// Its figures.
        figures: Box<Figures>,
    },
    /// A gate did not let it go on.
    Gate {
        /// Its name.
        gate: String,
        /// The end that it brought to the step.
        end: GateEnd,
        /// The newest verdict's figures.
        why: String,
    },
    /// A hook did not do what it is for; which, where and how it ended.
    HookFailed(String),
    /// The store was set back, and this is how the hosts were found.
    Restored,
}

/// Waits that a reason names.
const WAITS: usize = 3;

impl Reason {
    /// The same, with what was waited for: the waits for something itself, or else those for others to come first.
    pub(super) fn late(self, waits: &[Waiting]) -> Self {
        let follows = |waiting: &&Waiting| {
            matches!(waiting, Waiting::Others { .. } | Waiting::Room(_) | Waiting::Soak(_))
        };
        let (others, mut waited_for): (Vec<&Waiting>, Vec<&Waiting>) = waits.iter().partition(follows);
        if waited_for.is_empty() {
            waited_for = others;
        }
        if waited_for.is_empty() {
            return self;
        }
        let waited_for = waited_for.into_iter().take(WAITS).cloned().collect();
        Self::Late { what: Box::new(self), waited_for }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPlace(why) => write!(f, "no host takes it: {why}"),
            Self::SlotFailed(why)
            | Self::RollbackFailed(why)
            | Self::NothingToGoBackTo(why)
            | Self::HookFailed(why) => f.write_str(why),
            Self::NotSwitched(Some(hosts)) => {
                write!(
                    f,
                    "the ingress on {hosts} did not take the weights; `windlass routes` says what it has"
                )
            }
            Self::NotSwitched(None) => f.write_str(
                "no traffic table had the weights of the step; `windlass routes` shows the newest one",
            ),
            Self::NotGathered(span) => {
                write!(f, "the release that was to have every request was not available within {span}")
            }
            Self::NotLed { wanted, serves, within } => {
                write!(f, "{wanted} was not available everywhere within {within}")?;
                match serves {
                    Some(serves) => write!(f, ", so the traffic stays at {serves}"),
                    None => Ok(()),
                }
            }
            Self::NoProgress(span) => write!(f, "no progress for {span}"),
            Self::NotSteady(span) => write!(f, "not every instance stayed available within {span}"),
            Self::Late { what, waited_for } => {
                let waits: Vec<String> = waited_for.iter().map(ToString::to_string).collect();
                write!(f, "{what}: waited for {}", waits.join("; "))
            }
            Self::Asked(who) => write!(f, "asked by {who}"),
            Self::SupersededBy(id) => write!(f, "superseded by rollout {id}"),
            Self::Trigger { what, figures } => f.write_str(&figures.words(*what)),
            Self::Gate { gate, end, why } => write!(f, "gate {gate} {}: {why}", end.words()),
            Self::Restored => f.write_str("the coordinator was restored; this is how its hosts were found"),
        }
    }
}
