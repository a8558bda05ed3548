//! The differences of counters of one release over the last hour, in a bounded number of entries.

use std::collections::VecDeque;
use std::time::Duration;

use super::Tally;
use crate::time::Timestamp;

/// Time for which differences are kept.
pub const KEPT: Duration = Duration::from_secs(3600);
/// Width of an entry of the last [`FINE_FOR`].
const FINE: Duration = Duration::from_secs(2);
/// Time for which entries stay fine.
const FINE_FOR: Duration = Duration::from_secs(300);
/// Width of an entry after that.
const COARSE: Duration = Duration::from_secs(30);
/// A difference over a longer time than this stands alone: beside others it would blur their times. Two reports of an idle
/// ingress are 10 s apart.
const LATE: Duration = Duration::from_secs(20);

/// The differences of one release.
///
/// Bound: at most 302 fine and 242 coarse entries, each with at most 256 buckets of latency of 8 bytes: 1.2 MiB if every bucket of
/// every entry counts something, about 150 KiB for a service whose latencies fall into 30 buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ring {
    /// Oldest first.
    fine: VecDeque<Entry>,
    /// Oldest first, all older than the fine ones.
    coarse: VecDeque<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Nothing in it happened before.
    from: Timestamp,
    /// Nothing in it happened after.
    until: Timestamp,
    late: bool,
    tally: Tally,
}

impl Ring {
    /// Adds what happened from `from` until `until`, which never falls.
    pub fn push(&mut self, from: Timestamp, until: Timestamp, tally: Tally) {
        self.age(until);
        if !tally.is_empty() {
            let late = until.since(from) > LATE;
            merge(&mut self.fine, FINE, Entry { from: from.min(until), until, late, tally });
        }
    }

    /// Makes what is old coarse, and forgets what is too old.
    fn age(&mut self, now: Timestamp) {
        while let Some(entry) = self.fine.pop_front_if(|entry| now.since(entry.until) > FINE_FOR) {
            merge(&mut self.coarse, COARSE, entry);
        }
        while self.coarse.pop_front_if(|entry| now.since(entry.until) > KEPT).is_some() {}
    }

    /// The sum of what happened from `from` until `until`. An entry that begins before is not in it.
    pub fn sum(&self, from: Timestamp, until: Timestamp) -> Tally {
        let mut sum = Tally::default();
        let within = |entry: &&Entry| entry.from >= from && entry.until <= until;
        self.coarse.iter().chain(&self.fine).filter(within).for_each(|entry| sum.add(&entry.tally));
        sum
    }

    /// The number of its entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.fine.len() + self.coarse.len()
    }
}

/// Adds an entry to those of its slot of time, of which there is one in time and one late.
fn merge(entries: &mut VecDeque<Entry>, width: Duration, entry: Entry) {
    let width = i64::try_from(width.as_millis()).unwrap_or(i64::MAX);
    let slot = |entry: &Entry| entry.until.as_millis() / width;
    let of_slot = entries.iter_mut().rev().take(2).filter(|known| slot(known) == slot(&entry));
    match of_slot.into_iter().find(|known| known.late == entry.late) {
        Some(known) => {
            known.from = known.from.min(entry.from);
            known.until = known.until.max(entry.until);
            known.tally.add(&entry.tally);
        }
        None => entries.push_back(entry),
    }
}
