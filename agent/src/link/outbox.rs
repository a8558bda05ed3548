//! The unsent messages of a stream. Holds the newest of each kind, never a queue: a slow coordinator gets fewer messages, not older
//! ones.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::Digest;
use windlass_proto::limits::STATS_PER_SECOND;

/// Time that an observation waits for its acknowledgement before it is sent again.
pub(super) const RESEND: Duration = Duration::from_secs(5);

/// Releases that a coordinator may ask for before it has read the answers.
const MAX_ASKED: usize = 4096;

/// Something to say, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// The observation, under this number.
    Observation,
    /// A signed receipt.
    Receipt,
    /// Facts that changed.
    Facts,
    /// Which releases are kept here.
    Kept,
    /// A kept release.
    Release(Digest),
    /// Proof of life with statistics.
    Heartbeat,
    /// The report of this ingress process. Large, so that one is only said when nothing waits for the network.
    Ingress(u64),
    /// Measurements of host and containers. As large, and the least urgent of all.
    Stats,
}

/// The messages to send.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Number of the newest observation.
    newest: u64,
    /// Number of the observation sent last on this stream.
    sent: u64,
    sent_at: Option<Instant>,
    acknowledged: u64,
    receipt: bool,
    facts: bool,
    kept: bool,
    releases: VecDeque<Digest>,
    heartbeat: bool,
    ingresses: BTreeSet<u64>,
    stats: bool,
    /// When statistics may be said again: their budget is used up until then.
    stats_from: Option<Instant>,
}

impl Outbox {
    /// There is an observation with this number.
    pub(super) fn observed(&mut self, revision: u64) {
        self.newest = revision;
    }

    /// There is a receipt.
    pub(super) fn receipt(&mut self) {
        self.receipt = true;
    }

    /// Facts changed.
    pub(super) fn facts(&mut self) {
        self.facts = true;
    }

    /// The coordinator asks which releases are kept here.
    pub(super) fn kept(&mut self) {
        self.kept = true;
    }

    /// The coordinator asks for a kept release. Requests above [`MAX_ASKED`] get no answer.
    pub(super) fn release(&mut self, digest: Digest) {
        if self.releases.len() < MAX_ASKED {
            self.releases.push_back(digest);
        }
    }

    /// These ingress processes have newer reports.
    pub(super) fn ingresses(&mut self, processes: impl IntoIterator<Item = u64>) {
        self.ingresses.extend(processes);
    }

    /// There are newer statistics.
    pub(super) fn stats(&mut self) {
        self.stats = true;
    }

    /// Counts `bytes` of statistics that are sent: the next ones wait until their budget allows them.
    pub(super) fn spend(&mut self, bytes: usize, now: Instant) {
        let seconds = u32::try_from(bytes.div_ceil(STATS_PER_SECOND)).unwrap_or(u32::MAX);
        self.stats_from = Some(now + Duration::from_secs(1).saturating_mul(seconds));
    }

    /// It is time for a heartbeat.
    pub(super) fn heartbeat(&mut self) {
        self.heartbeat = true;
    }

    /// The coordinator has stored this observation.
    pub(super) fn acknowledge(&mut self, revision: u64) {
        self.acknowledged = self.acknowledged.max(revision.min(self.sent));
    }

    /// Whether there is something to say as soon as nothing waits for the network.
    pub(super) fn waits_for_room(&self) -> bool {
        self.stats || !self.ingresses.is_empty()
    }

    /// The next message. `free`: nothing waits for the network.
    pub(super) fn next(&self, now: Instant, free: bool) -> Option<Item> {
        let again = self.acknowledged < self.sent && self.sent_at.is_none_or(|at| now >= at + RESEND);
        if self.newest > self.sent || again {
            Some(Item::Observation)
        } else if self.receipt {
            Some(Item::Receipt)
        } else if self.facts {
            Some(Item::Facts)
        } else if self.heartbeat {
            Some(Item::Heartbeat)
        } else if self.kept {
            Some(Item::Kept)
        } else if let Some(digest) = self.releases.front() {
            Some(Item::Release(*digest))
        } else if !free {
            None
        } else if let Some(process) = self.ingresses.first() {
            Some(Item::Ingress(*process))
        } else {
            let may = self.stats && self.stats_from.is_none_or(|from| now >= from);
            may.then_some(Item::Stats)
        }
    }

    /// Marks `item` as sent.
    pub(super) fn said(&mut self, item: Item, now: Instant) {
        match item {
            Item::Observation => {
                self.sent = self.newest;
                self.sent_at = Some(now);
            }
            Item::Receipt => self.receipt = false,
            Item::Facts => self.facts = false,
            Item::Kept => self.kept = false,
            Item::Release(_) => drop(self.releases.pop_front()),
            Item::Heartbeat => self.heartbeat = false,
            Item::Ingress(process) => drop(self.ingresses.remove(&process)),
            Item::Stats => self.stats = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_are_said_until_acknowledged_and_newest_wins() {
        let mut outbox = Outbox::default();
        let start = Instant::now();
        assert_eq!(outbox.next(start, true), None);
        outbox.heartbeat();
        outbox.observed(1);
        outbox.observed(2);
        assert_eq!(outbox.next(start, true), Some(Item::Observation));
        outbox.said(Item::Observation, start);
        assert_eq!(outbox.next(start, true), Some(Item::Heartbeat));
        outbox.said(Item::Heartbeat, start);
        assert_eq!(outbox.next(start, true), None);
        outbox.acknowledge(1); // an older one: 2 is still open
        assert_eq!(outbox.next(start + RESEND, true), Some(Item::Observation));
        outbox.acknowledge(99); // more than was ever sent counts as what was sent
        assert_eq!(outbox.next(start + RESEND, true), None);
        outbox.observed(3);
        assert_eq!(outbox.next(start, true), Some(Item::Observation));
    }

    #[test]
    fn coordinator_asking_for_releases_gets_each_without_delay() {
        let mut outbox = Outbox::default();
        let now = Instant::now();
        let digest = Digest::of(b"a release");
        outbox.kept();
        (0..MAX_ASKED + 10).for_each(|_| outbox.release(digest));
        outbox.heartbeat();
        assert_eq!(outbox.next(now, true), Some(Item::Heartbeat));
        outbox.said(Item::Heartbeat, now);
        assert_eq!(outbox.next(now, true), Some(Item::Kept));
        outbox.said(Item::Kept, now);
        let mut answers = 0;
        while let Some(item) = outbox.next(now, true) {
            assert_eq!(item, Item::Release(digest));
            outbox.said(item, now);
            answers += 1;
        }
        assert_eq!(answers, MAX_ASKED);
    }

    #[test]
    fn statistics_come_last_and_keep_to_their_budget() {
        let mut outbox = Outbox::default();
        let now = Instant::now();
        outbox.stats();
        outbox.heartbeat();
        outbox.ingresses([7]);
        assert_eq!(outbox.next(now, true), Some(Item::Heartbeat));
        outbox.said(Item::Heartbeat, now);
        assert_eq!(outbox.next(now, false), None, "something waits for the network");
        assert_eq!(outbox.next(now, true), Some(Item::Ingress(7)));
        outbox.said(Item::Ingress(7), now);
        assert_eq!(outbox.next(now, true), Some(Item::Stats));
        outbox.said(Item::Stats, now);
        outbox.spend(10 * STATS_PER_SECOND, now);
        outbox.stats();
        outbox.stats();
        assert_eq!(outbox.next(now + Duration::from_secs(9), true), None);
        assert_eq!(outbox.next(now + Duration::from_secs(10), true), Some(Item::Stats));
        outbox.said(Item::Stats, now);
        assert_eq!(outbox.next(now + Duration::from_secs(60), true), None, "said once, and the newest only");
    }

    #[test]
    fn a_report_of_an_ingress_waits_until_the_network_is_free() {
        let mut outbox = Outbox::default();
        let now = Instant::now();
        outbox.ingresses([7, 8]);
        outbox.ingresses([7]);
        assert_eq!(outbox.next(now, false), None);
        outbox.heartbeat();
        assert_eq!(outbox.next(now, true), Some(Item::Heartbeat));
        outbox.said(Item::Heartbeat, now);
        for process in [7, 8] {
            assert_eq!(outbox.next(now, true), Some(Item::Ingress(process)));
            outbox.said(Item::Ingress(process), now);
        }
        assert_eq!(outbox.next(now, true), None);
    }
}
