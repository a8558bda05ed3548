//! Passive ejection: an endpoint on which requests fail in a row gets none for a while, as far as others are left.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Endpoint;

/// An ejection, as one process tells the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ejected {
    /// The number of times in a row that it was left out.
    pub(super) times: u32,
    /// The rest of the time for which it is left out.
    pub(super) left: Duration,
    /// Connections to it failed.
    pub(super) unreachable: bool,
    /// Consecutive responses that it broke off.
    pub(super) broken: u32,
}

/// Time after which a response that was broken off, or the ejection for several, is no longer the beginning of a row.
const ROW: Duration = Duration::from_secs(60);

impl Endpoint {
    /// Whether it is left out at `now` because requests failed on it, or because it hangs and has a request to answer.
    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        self.is_left_out_until(now) || self.silence.is_tried()
    }

    /// Whether it is left out at `now`, and connections to it failed.
    pub(super) fn cannot_connect(&self, now: Instant) -> bool {
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

    /// The head of a response is there. A head alone does not bring back one that was left out for responses that it broke off.
    pub(crate) fn answered(&self, now: Instant) {
        self.heard(now);
        let of = &self.ejection;
        if of.failures.load(Relaxed) != 0 {
            of.failures.store(0, Relaxed);
        }
        if of.has_been() && !of.breaks.load(Relaxed) {
            self.back();
        }
    }

    /// A response has come to its end.
    pub(crate) fn answered_whole(&self) {
        let of = &self.ejection;
        if of.broken.load(Relaxed) != 0 {
            of.broken.store(0, Relaxed);
            if of.breaks.load(Relaxed) {
                self.back();
            }
        }
    }

    /// It broke a response off after its head.
    pub(crate) fn broke_off(&self, now: Instant) {
        let of = &self.ejection;
        let at = self.millis(now);
        let before = of.broke_at.swap(at, Relaxed).max(of.until.load(Relaxed));
        if Duration::from_millis(at.saturating_sub(before)) > ROW {
            of.broken.store(0, Relaxed);
        }
        let in_a_row = of.broken.fetch_add(1, Relaxed) + 1;
        if in_a_row >= of.after && !self.is_ejected(now) {
            of.breaks.store(true, Relaxed);
            self.leave_out(now);
        }
    }

    /// It gets requests again.
    fn back(&self) {
        self.ejection.times.store(0, Relaxed);
        self.ejection.until.store(0, Relaxed);
        self.ejection.breaks.store(false, Relaxed);
        self.silence.set_hangs(false);
    }

    /// A connection could not be made.
    pub(crate) fn unreachable(&self, now: Instant) {
        let in_a_row = self.ejection.unreached.fetch_add(1, Relaxed) + 1;
        self.eject_if_due(now);
        // It may be left out already, for what came before.
        if in_a_row >= self.ejection.after {
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
        self.eject_if_due(now)
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
            broken: of.broken.load(Relaxed),
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
        of.broken.store(seen.broken, Relaxed);
        of.broke_at.store(self.millis(now), Relaxed);
        of.breaks.store(seen.broken >= of.after, Relaxed);
    }
}
