//! The part of a rollout's decision log that was written, and the news in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rollout::state::{Failure, MAX_FAILURES};
use crate::time::Timestamp;

use super::{DETAILS, Decision, VERDICTS, What};

/// Slots of one rollout of which it is remembered when they began and whether they are available.
const FOLLOWED: usize = 256;

/// The part of a rollout's decision log that is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Log {
    /// Decisions that were written; the number of the next one.
    written: u32,
    /// Of these, the ones that [`DETAILS`] bounds.
    details: u32,
    /// Decisions beyond that.
    left_out: u32,
    /// Verdicts of gates that were written, and that [`VERDICTS`] bounds.
    #[serde(default)]
    verdicts: u32,
    /// Failures that were written.
    failures: u32,
    /// Whether the hosts that cannot take a slot were named.
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

/// Entries that are about to be stored are no part of a log's value.
impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        let counted =
            |log: &Self| (log.written, log.details, log.left_out, log.verdicts, log.failures, log.refusals);
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

    /// Decisions that were left out, since there were more than [`DETAILS`] about slots or [`VERDICTS`] of gates.
    pub const fn left_out(&self) -> u32 {
        self.left_out
    }

    /// The entries to store with the rollout, in the same transaction.
    pub fn take_fresh(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.fresh)
    }

    /// The entries that the decision at hand has written.
    pub fn fresh(&self) -> &[Decision] {
        &self.fresh
    }

    pub(in crate::rollout) fn note(&mut self, at: Timestamp, what: What) {
        self.fresh.push(Decision { n: self.written, at, what });
        self.written += 1;
    }

    /// The same for what [`DETAILS`] bounds.
    pub(in crate::rollout) fn detail(&mut self, at: Timestamp, what: What) {
        if self.details >= DETAILS {
            self.left_out += 1;
            return;
        }
        self.details += 1;
        self.note(at, what);
    }

    /// The same for verdicts of gates, which [`VERDICTS`] bounds.
    pub(in crate::rollout) fn verdict(&mut self, at: Timestamp, what: What) {
        if self.verdicts >= VERDICTS {
            self.left_out += 1;
            return;
        }
        self.verdicts += 1;
        self.note(at, what);
    }

    pub(in crate::rollout) fn failed(&mut self, at: Timestamp, mut failure: Failure) {
        let cut = self.failures as usize >= MAX_FAILURES;
        self.failures = self.failures.saturating_add(1);
        if let Some(evidence) = failure.evidence.as_mut().filter(|_| cut) {
            evidence.log.clear();
            evidence.probes.clear();
        }
        self.note(at, What::Failed { failure: Box::new(failure), cut });
    }

    /// Returns whether the hosts that cannot take a slot were named.
    pub(in crate::rollout) const fn named_refusals(&self) -> bool {
        self.refusals
    }

    /// Returns whether the hosts that cannot take a slot are still to be named. True once.
    pub(in crate::rollout) fn names_refusals(&mut self) -> bool {
        !std::mem::replace(&mut self.refusals, true)
    }

    /// Returns whether it is news that the image of this slot is there.
    pub(in crate::rollout) fn saw_image(&mut self, index: u32) -> bool {
        (self.pulled.len() < FOLLOWED || self.pulled.contains(&index)) && self.pulled.insert(index)
    }

    /// The slot was told to start something.
    pub(in crate::rollout) fn began(&mut self, index: u32, at: Timestamp) {
        self.available.remove(&index);
        if self.begun.len() < FOLLOWED || self.begun.contains_key(&index) {
            self.begun.insert(index, at);
        }
    }

    /// Notes that this slot is available. If that is news, returns the time it took, as far as that is known.
    pub(in crate::rollout) fn arrived(&mut self, index: u32, now: Timestamp) -> Option<Option<Duration>> {
        let began = self.begun.remove(&index);
        let is_new = (self.available.len() < FOLLOWED || self.available.contains(&index))
            && self.available.insert(index);
        is_new.then(|| began.map(|at| now.since(at)))
    }

    /// Facts about the release that is left say nothing of the one it goes back to.
    pub(in crate::rollout) fn turn_back(&mut self) {
        self.begun.clear();
        self.available.clear();
    }
}
