//! Segments: what a restored backup does to the log. Entries after the backup are lost with the store; the log says so
//! itself, in an entry that begins a new segment, and goes on from there.
//!
//! ```text
//! first segment    0 ── 1 ── … ── 29 ── 30 ── … ── 52     checkpoints over up to 53 entries
//!                                  └─ backup
//! segment 1764…                        30: store.restored ── 31 ── …
//! ```
//!
//! A log that was set back *without* such an entry is contradicted by every checkpoint over 53 entries. With one, the
//! checkpoint proves a [`Loss`]: a captured coordinator can write `store.restored` as well as a true one, so that an
//! operator has to accept the loss before the log is sound again. Segments are named by the time they
//! began, so that two restores of one backup have two names.

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::digest::Digest;

/// The verb of an entry that begins a segment.
pub const RESTORED: &str = "store.restored";
const SUBJECT: &str = "segment ";

/// A stretch of the log between two restored backups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Segment {
    /// Its name: when it began, in Unix milliseconds; 0 for the first.
    pub segment: u64,
    /// The entry that begins it.
    pub start: u64,
    /// The number of entries after that place that were lost with the store: a checkpoint covers them.
    pub lost: u64,
}

/// The name of `segment` in the entry that begins it.
pub fn subject(segment: u64) -> String {
    format!("{SUBJECT}{segment}")
}

/// Entries of a segment that a later segment gave up, though somebody has kept a checkpoint over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// The segment of the lost entries.
    pub segment: u64,
    /// The number of entries that the log had then.
    pub size: u64,
    /// Hash of the last of them: the name of the loss.
    pub head: Digest,
    /// The segment that begins where entries were given up.
    pub into: u64,
    /// Hash of the entry that begins it.
    pub mark: Digest,
}

impl Loss {
    /// Returns whether an acceptance of this loss covers `other`: at the same restore, of no more entries.
    pub fn covers(&self, other: &Self) -> bool {
        (self.segment, self.into, self.mark) == (other.segment, other.into, other.mark)
            && other.size <= self.size
    }
}

/// The segments of one log, in order, and the hash of the entry that begins each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segments(Vec<(Segment, Digest)>);

/// The claim of a checkpoint about a log.
pub(super) enum Claim {
    /// The log had this many entries, and the last of them had the checkpoint's hash.
    Covers,
    /// Its entries were given up, says the log, when a backup was restored: the segment that begins there, and its mark.
    GivenUp {
        /// Its name.
        into: u64,
        /// Hash of its first entry.
        mark: Digest,
    },
    /// The log knows nothing of the segment that it is of.
    Unknown,
}

impl Default for Segments {
    fn default() -> Self {
        Self(vec![(Segment::default(), super::GENESIS)])
    }
}

impl Segments {
    /// Takes in the next entry. Answers false if it begins a segment that cannot come here.
    pub(super) fn push(&mut self, entry: &Entry, hash: Digest) -> bool {
        if entry.verb != RESTORED {
            return true;
        }
        let named = entry.subject.strip_prefix(SUBJECT).and_then(|digits| digits.parse().ok());
        match named {
            Some(segment) if segment > self.newest() => {
                self.0.push((Segment { segment, start: entry.n, lost: 0 }, hash));
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn newest(&self) -> u64 {
        self.0.last().map_or(0, |(last, _)| last.segment)
    }

    /// Holds what is said of segment `name` after `size` entries against the log, and notes what it proves to be
    /// lost.
    pub(super) fn hold(&mut self, name: u64, size: u64) -> Claim {
        let Some(next) = self.0.iter().position(|(segment, _)| segment.segment > name) else {
            return if self.newest() == name { Claim::Covers } else { Claim::Unknown };
        };
        let known = self.0[..next].last().is_some_and(|(segment, _)| segment.segment == name);
        let (after, mark) = &mut self.0[next];
        if known && size <= after.start {
            return Claim::Covers;
        }
        after.lost = after.lost.max(size.saturating_sub(after.start));
        Claim::GivenUp { into: after.segment, mark: *mark }
    }

    pub(super) fn into_list(self) -> Vec<Segment> {
        self.0.into_iter().map(|(segment, _)| segment).collect()
    }
}
