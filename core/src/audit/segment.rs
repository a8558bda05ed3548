//! Segments: what a restored backup does to the log. Entries after the backup are lost with the store; the log says so
//! itself, in an entry that begins a new segment, and goes on from there.
//!
//! ```text
//! first segment    0 ── 1 ── … ── 29 ── 30 ── … ── 52     checkpoints over up to 53 entries
//!                                  └─ backup
//! segment 1764…                        30: store.restored ── 31 ── …
//! ```
//!
//! Whoever kept a checkpoint over 53 entries is not contradicted by the second history: its entries after 30 were given
//! up openly. A log that was set back *without* such an entry still is contradicted. Segments are named by the time they
//! began, so that two restores of one backup have two names.

use serde::{Deserialize, Serialize};

use super::Entry;

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
    /// How many entries after that place are known to have been lost with the store: a checkpoint covers them.
    pub lost: u64,
}

/// How an entry that begins `segment` names it.
pub fn subject(segment: u64) -> String {
    format!("{SUBJECT}{segment}")
}

/// The segments of one log, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segments(Vec<Segment>);

/// What a checkpoint has to say about a log.
pub(super) enum Claim {
    /// The log had this many entries, and the last of them had the checkpoint's hash.
    Covers,
    /// Its entries were given up when a backup was restored; the log says so.
    GivenUp,
    /// The log knows nothing of the segment that it is of.
    Unknown,
}

impl Default for Segments {
    fn default() -> Self {
        Self(vec![Segment::default()])
    }
}

impl Segments {
    /// Takes in the next entry. Answers false if it begins a segment that cannot come here.
    pub(super) fn push(&mut self, entry: &Entry) -> bool {
        if entry.verb != RESTORED {
            return true;
        }
        let named = entry.subject.strip_prefix(SUBJECT).and_then(|digits| digits.parse().ok());
        match named {
            Some(segment) if segment > self.newest() => {
                self.0.push(Segment { segment, start: entry.n, lost: 0 });
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn newest(&self) -> u64 {
        self.0.last().map_or(0, |last| last.segment)
    }

    /// Holds what is said of segment `name` after `size` entries against the log, and notes what it proves to be
    /// lost.
    pub(super) fn hold(&mut self, name: u64, size: u64) -> Claim {
        let Some(next) = self.0.iter().position(|segment| segment.segment > name) else {
            return if self.newest() == name { Claim::Covers } else { Claim::Unknown };
        };
        let known = self.0[..next].last().is_some_and(|segment| segment.segment == name);
        let after = &mut self.0[next];
        if known && size <= after.start {
            return Claim::Covers;
        }
        after.lost = after.lost.max(size.saturating_sub(after.start));
        Claim::GivenUp
    }

    pub(super) fn into_list(self) -> Vec<Segment> {
        self.0
    }
}
