//! What was decided in a rollout, and from what: written by whoever decides, at that moment, so that a person can
//! see afterwards what happened and count it up again.
//!
//! A rollout keeps a [`Log`] of how much was written; the decisions themselves are records of their own, so that
//! a long story makes no long record. What is written is bounded: see [`DETAILS`] and [`SLOTS`]. Changes of
//! state, failures, steering and stragglers are always written, and happen a bounded number of times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Counter, HostId, RolloutId, SlotId};
use crate::plan::Order;
use crate::time::Timestamp;
use crate::units::Span;

use super::{Failure, GoingBack, Kind, MAX_FAILURES, Progress, Reason, Rollout, State, Steering};

/// Decisions of one rollout about slots (placed, pulled, begun, available, turned, removed) that are written.
/// Those beyond are counted.
pub const DETAILS: u32 = 400;
/// Slots and hosts that one decision names; those beyond are counted.
pub const SLOTS: usize = 64;
/// Slots of one rollout of which it is remembered when they began and whether they are available.
const FOLLOWED: usize = 256;

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

/// What was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum What {
    /// Somebody asked for it.
    Started {
        /// Who.
        by: String,
        /// Forward or back.
        kind: Kind,
        /// What it goes back to if it fails: the last good release.
        from: Option<Counter>,
        /// Where it goes.
        to: Counter,
        /// The rollout that it took over from.
        supersedes: Option<RolloutId>,
        /// Does it start content that failed before?
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
        /// How the service stood before.
        stood: Stood,
        /// What the strategy allows, as numbers of slots.
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
        /// Were log lines and probe history left out, since so many failed before?
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
        /// Where to.
        release: Counter,
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
        /// What they said.
        steering: Steering,
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
        /// How it will end, if it goes back.
        going_back: Option<GoingBack>,
        /// How far it had got.
        progress: Progress,
        /// The clocks of the state that it left.
        clocks: Clocks,
        /// The release that the service is at from now on, once the rollout is over.
        serves: Option<Counter>,
    },
}

/// A slot and its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Place {
    /// The slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
}

/// A slot, its host, and why that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Placement {
    /// The slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// Why.
    pub because: Chosen,
}

/// Why a slot is on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// It was there before.
    Kept,
    /// The service runs on every host that takes it.
    PerHost,
    /// It was the best of the hosts that have room.
    Best {
        /// Slots of this service that were there already: fewest first with `spread: host`, most with `pack`.
        own: u32,
        /// Memory reserved there before, in bytes.
        memory_reserved: u64,
    },
}

/// A host that cannot take a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Refused {
    /// Which.
    pub host: HostId,
    /// Why.
    pub reason: String,
}

/// A slot that changes its release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Begin {
    /// The slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// Which instance goes first; none if there is only one.
    pub order: Option<Order>,
    /// Why the old one stops first, if it does.
    pub because: Option<String>,
}

/// A slot that has arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Arrival {
    /// The slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// How long after it was begun, if that is known.
    pub after_ms: Option<u64>,
}

/// How the slots of a rollout stood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stood {
    /// Slots in all.
    pub total: u32,
    /// Available at the new release.
    pub available: u32,
    /// Begun and not available yet.
    pub in_flight: u32,
    /// With two instances that run, or may.
    pub surging: u32,
    /// Without an instance that serves.
    pub unavailable: u32,
}

/// How many slots may be on their way; absent where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Allowed {
    /// Begun and not available.
    pub batch: Option<u32>,
    /// With two instances that run.
    pub surge: Option<u32>,
    /// Without an instance that serves.
    pub unavailable: Option<u32>,
}

/// The clocks that a decision looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Clocks {
    /// When the state began.
    pub since: Timestamp,
    /// When it last got further.
    pub progress_at: Timestamp,
    /// Since when every slot was available.
    pub soak_since: Option<Timestamp>,
    /// Since when the coordinator watches: no deadline counts the time before.
    pub watched_since: Timestamp,
    /// How long it may go without progress.
    pub progress_deadline: Option<Span>,
    /// How long the whole service is watched at the end; only a deploy is.
    pub soak: Option<Span>,
}

/// How much of a rollout's story is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Log {
    /// Decisions that were written; the number of the next one.
    written: u32,
    /// Of these, the ones that [`DETAILS`] bounds.
    details: u32,
    /// Decisions beyond that.
    left_out: u32,
    /// Failures that were written.
    failures: u32,
    /// Were the hosts named that cannot take a slot?
    refusals: bool,
    /// Slots whose image was seen, by index.
    pulled: BTreeSet<u32>,
    /// Slots on their way, and since when.
    begun: BTreeMap<u32, Timestamp>,
    /// Slots that were seen to be available.
    available: BTreeSet<u32>,
    /// Written by the decision at hand, and not stored yet.
    #[serde(skip)]
    fresh: Vec<Decision>,
}

/// What is about to be stored is no part of what a log is.
impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        let counted = |log: &Self| (log.written, log.details, log.left_out, log.failures, log.refusals);
        counted(self) == counted(other)
            && self.pulled == other.pulled
            && self.begun == other.begun
            && self.available == other.available
    }
}

impl Log {
    /// Decisions that were written, from number 0 on.
    pub const fn written(&self) -> u32 {
        self.written
    }

    /// Decisions about slots that were left out, since there were more than [`DETAILS`].
    pub const fn left_out(&self) -> u32 {
        self.left_out
    }

    /// What is to be stored with the rollout, in the same transaction.
    pub fn take_fresh(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.fresh)
    }

    /// What the decision at hand has written.
    pub fn fresh(&self) -> &[Decision] {
        &self.fresh
    }

    pub(super) fn note(&mut self, at: Timestamp, what: What) {
        self.fresh.push(Decision { n: self.written, at, what });
        self.written += 1;
    }

    /// The same for what [`DETAILS`] bounds.
    pub(super) fn detail(&mut self, at: Timestamp, what: What) {
        if self.details >= DETAILS {
            self.left_out += 1;
            return;
        }
        self.details += 1;
        self.note(at, what);
    }

    pub(super) fn failed(&mut self, at: Timestamp, mut failure: Failure) {
        let cut = self.failures as usize >= MAX_FAILURES;
        self.failures = self.failures.saturating_add(1);
        if let Some(evidence) = failure.evidence.as_mut().filter(|_| cut) {
            evidence.log.clear();
            evidence.probes.clear();
        }
        self.note(at, What::Failed { failure: Box::new(failure), cut });
    }

    /// Were the hosts named that cannot take a slot?
    pub(super) const fn named_refusals(&self) -> bool {
        self.refusals
    }

    /// Are the hosts that cannot take a slot still to be named? Answers so once.
    pub(super) fn names_refusals(&mut self) -> bool {
        !std::mem::replace(&mut self.refusals, true)
    }

    /// Is it news that the image of this slot is there?
    pub(super) fn saw_image(&mut self, index: u32) -> bool {
        (self.pulled.len() < FOLLOWED || self.pulled.contains(&index)) && self.pulled.insert(index)
    }

    /// The slot was told to start something.
    pub(super) fn began(&mut self, index: u32, at: Timestamp) {
        self.available.remove(&index);
        if self.begun.len() < FOLLOWED || self.begun.contains_key(&index) {
            self.begun.insert(index, at);
        }
    }

    /// Is it news that this slot is available? Answers with how long it took, as far as that is known.
    pub(super) fn arrived(&mut self, index: u32, now: Timestamp) -> Option<Option<Duration>> {
        let began = self.begun.remove(&index);
        let is_new = (self.available.len() < FOLLOWED || self.available.contains(&index))
            && self.available.insert(index);
        is_new.then(|| began.map(|at| now.since(at)))
    }

    /// What was seen of the release that is left says nothing of the one it goes back to.
    pub(super) fn turn_back(&mut self) {
        self.begun.clear();
        self.available.clear();
    }
}

impl Rollout {
    /// Writes that the rollout has left the state of `before` by something else than its own step.
    pub(crate) fn tell_moved(&mut self, before: &Self, now: Timestamp) {
        drop(self.log.take_fresh());
        let what = What::Moved {
            from: before.state,
            to: self.state,
            reason: self.reason.clone(),
            going_back: self.going_back,
            progress: before.progress,
            clocks: Clocks {
                since: before.state_since,
                progress_at: before.progress_at,
                soak_since: before.soak_since,
                watched_since: before.state_since,
                progress_deadline: None,
                soak: None,
            },
            serves: None,
        };
        self.log.note(now, what);
    }
}

/// Cuts a list to what one decision names. Answers with how many are left out.
pub(super) fn cut<T>(list: &mut Vec<T>) -> u32 {
    let more = list.len().saturating_sub(SLOTS);
    list.truncate(SLOTS);
    u32::try_from(more).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
