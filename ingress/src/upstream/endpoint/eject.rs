//! Passive ejection: an endpoint on which requests fail in a row gets none for a while, as far as others are left.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::limits::Limits;

use super::Endpoint;

/// The failures of an endpoint in a row, and the time for which it is left out.
#[derive(Debug)]
pub(super) struct Ejection {
    /// Failures in a row after which it is left out; for how long, doubled each time; at most.
    after: u32,
    pause: Duration,
    most: Duration,
    /// Consecutive requests that were reset before a response, or not answered in time.
    failures: AtomicU32,
    /// Consecutive failures to connect.
    unreached: AtomicU32,
    /// Consecutive responses that it broke off.
    broken: AtomicU32,
    /// The number of times in a row that it was left out.
    times: AtomicU32,
    /// Milliseconds after it was made until which it is left out; 0 if it is not.
    until: AtomicU64,
    /// Whether it was left out because connections to it failed: then one that stands brings it back.
    unreachable: AtomicBool,
}

/// An ejection, as one process tells the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ejected {
    /// The number of times in a row that it was left out.
    pub(super) times: u32,
    /// The rest of the time for which it is left out.
    pub(super) left: Duration,
    /// Connections to it failed.
    pub(super) unreachable: bool,
}

impl Ejection {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            after: limits.eject_after,
            pause: limits.eject,
            most: limits.eject_most,
            failures: AtomicU32::new(0),
            unreached: AtomicU32::new(0),
            broken: AtomicU32::new(0),
            times: AtomicU32::new(0),
            until: AtomicU64::new(0),
            unreachable: AtomicBool::new(false),
        }
    }

    /// Whether it was left out, and has not answered since.
    pub(super) fn has_been(&self) -> bool {
        self.times.load(Relaxed) > 0
    }

    /// Whether so many requests in a row failed that it is to be left out.
    fn is_due(&self) -> bool {
        let resets = self.failures.load(Relaxed) + self.unreached.load(Relaxed);
        resets.max(self.broken.load(Relaxed)) >= self.after
    }
}

impl Endpoint {
    /// Whether it is left out at `now` because requests failed on it, or because it hangs and has a request to answer.
    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        self.is_left_out_until(now) || self.silence.is_tried()
    }

    /// Whether it is left out at `now` because connections to it failed.
    pub(crate) fn is_out_of_reach(&self, now: Instant) -> bool {
        self.ejection.unreachable.load(Relaxed) && self.is_left_out_until(now)
    }

    pub(super) fn is_left_out_until(&self, now: Instant) -> bool {
        self.ejection.until.load(Relaxed) > self.millis(now)
    }

    /// A connection stood: that ends what failures to connect began, and says nothing of resets.
    pub(crate) fn reached(&self) {
        let of = &self.ejection;
        if of.unreached.load(Relaxed) != 0 {
            of.unreached.store(0, Relaxed);
        }
        let was_out = of.unreachable.load(Relaxed) && of.unreachable.swap(false, Relaxed);
        if was_out && !self.silence.hangs() {
            self.back();
        }
    }

    /// The head of a response is there. Of one that breaks its responses off, that says little.
    pub(crate) fn answered(&self, now: Instant) {
        self.heard(now);
        let of = &self.ejection;
        if of.failures.load(Relaxed) != 0 {
            of.failures.store(0, Relaxed);
        }
        if of.has_been() && of.broken.load(Relaxed) == 0 {
            self.back();
        }
    }

    /// A response has come to its end.
    pub(crate) fn answered_whole(&self) {
        let of = &self.ejection;
        if of.broken.load(Relaxed) != 0 && of.broken.swap(0, Relaxed) != 0 && of.has_been() {
            self.back();
        }
    }

    /// It broke a response off after its head.
    pub(crate) fn broke_off(&self, now: Instant) {
        self.ejection.broken.fetch_add(1, Relaxed);
        self.eject_if_due(now);
    }

    /// It gets requests again.
    fn back(&self) {
        self.ejection.times.store(0, Relaxed);
        self.ejection.until.store(0, Relaxed);
        self.silence.set_hangs(false);
    }

    /// A connection could not be made.
    pub(crate) fn unreachable(&self, now: Instant) {
        self.ejection.unreached.fetch_add(1, Relaxed);
        if self.eject_if_due(now) {
            self.ejection.unreachable.store(true, Relaxed);
        }
    }

    /// A connection was reset before a response.
    pub(crate) fn failed(&self, now: Instant) {
        self.count_failure(now);
    }

    /// Counts a request that was not answered. Answers whether the endpoint is left out for it.
    pub(super) fn count_failure(&self, now: Instant) -> bool {
        self.ejection.failures.fetch_add(1, Relaxed);
        let ejected = self.eject_if_due(now);
        if ejected {
            self.ejection.unreachable.store(false, Relaxed);
        }
        ejected
    }

    /// Leaves it out if enough failed in a row, each time twice as long. Answers whether it was.
    fn eject_if_due(&self, now: Instant) -> bool {
        let due = self.ejection.is_due() && !self.is_ejected(now);
        if due {
            self.leave_out(now);
        }
        due
    }

    pub(super) fn leave_out(&self, now: Instant) {
        let of = &self.ejection;
        let before = of.times.fetch_add(1, Relaxed).min(16);
        let pause = of.pause.saturating_mul(1 << before).min(of.most);
        of.until.store(self.millis(now + pause), Relaxed);
        of.failures.store(0, Relaxed);
        of.unreached.store(0, Relaxed);
        let (address, release) = (self.key.address, self.key.release.short());
        tracing::warn!(
            %address, release, ?pause,
            "requests to an endpoint failed several times in a row; it gets none for a while, as long as others do"
        );
    }

    /// Its ejection, for the next process.
    pub(super) fn ejected(&self, now: Instant) -> Ejected {
        let of = &self.ejection;
        Ejected {
            times: of.times.load(Relaxed),
            left: Duration::from_millis(of.until.load(Relaxed).saturating_sub(self.millis(now))),
            unreachable: of.unreachable.load(Relaxed),
        }
    }

    /// Takes the ejection that another process saw, for `eject_most` at the longest.
    pub(super) fn take_ejection(&self, seen: Ejected, now: Instant) {
        let of = &self.ejection;
        let left = seen.left.min(of.most);
        if !left.is_zero() {
            of.until.store(self.millis(now + left), Relaxed);
        }
        of.times.store(seen.times, Relaxed);
        of.unreachable.store(seen.unreachable, Relaxed);
    }
}
