//! Requests that an endpoint took and does not answer. Connections to a process that hangs stand, as its kernel accepts them;
//! only time tells: how long the endpoint has answered nobody, beside how long answers took before.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::exchange::Upload;
use crate::limits::Limits;

use super::Endpoint;

/// The time that a request waits at one endpoint before it is asked of another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience<'r> {
    pub(super) after: Option<Duration>,
    /// Endpoints that it may go to; none if nobody may repeat it.
    others: &'r [Arc<Endpoint>],
    /// Endpoints that it has been at.
    tried: &'r [Arc<Endpoint>],
}

impl<'r> Patience<'r> {
    /// Twice as long as the slowest answer of these endpoints of late, and a few seconds at least. Where none has answered
    /// yet, nobody knows how long they take.
    pub(crate) fn of(
        endpoints: &'r [Arc<Endpoint>],
        tried: &'r [Arc<Endpoint>],
        may_move: bool,
        limits: &Limits,
    ) -> Self {
        let slowest = endpoints.iter().map(|endpoint| endpoint.silence.slowest.load(Relaxed)).max();
        let slowest = slowest.filter(|slowest| *slowest > 0).map(Duration::from_micros);
        let after = slowest.map(|slowest| (slowest * 2).max(limits.silence));
        Self { after, others: if may_move { endpoints } else { &[] }, tried }
    }
}

/// A request that waits for the head of its response.
#[derive(Debug)]
pub(crate) struct Wait<'r> {
    endpoint: &'r Endpoint,
    upload: &'r Upload,
    limits: &'r Limits,
    patience: Patience<'r>,
    began: Instant,
    /// The endpoint has said something of it, or was told that it is late.
    counted: AtomicBool,
}

impl<'r> Wait<'r> {
    pub(crate) fn begin(
        endpoint: &'r Endpoint,
        upload: &'r Upload,
        limits: &'r Limits,
        patience: Patience<'r>,
    ) -> Self {
        endpoint.silence.waiting.fetch_add(1, Relaxed);
        Self { endpoint, upload, limits, patience, began: Instant::now(), counted: AtomicBool::new(false) }
    }

    /// Since when the endpoint is asked.
    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    /// The time before which nobody can have waited for too long.
    pub(crate) fn earliest(&self) -> Instant {
        let limits = self.limits;
        let least = limits.response.min(limits.body_idle);
        self.began + self.patience.after.map_or(least, |after| after.min(least))
    }

    /// The head of a response is there.
    pub(crate) fn answered(&self) {
        let now = Instant::now();
        let took = u64::try_from(now.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX);
        self.counted.store(true, Relaxed);
        self.endpoint.silence.slowest.fetch_max(took.max(1), Relaxed);
        self.endpoint.answered(now);
    }

    /// Its connection has ended: a process that hangs closes none.
    pub(crate) fn ended(&self) {
        self.counted.store(true, Relaxed);
        self.endpoint.heard(Instant::now());
    }

    /// Since when it has been there whole while the endpoint answered nobody.
    fn silent_since(&self) -> Option<Instant> {
        let whole = self.upload.whole_since(self.began)?;
        Some(whole.max(self.endpoint.heard_at()))
    }

    /// Ends if the endpoint has answered nobody for too long, and another one does that may be asked instead.
    pub(crate) async fn too_long(&self) {
        let Some(after) = self.patience.after else { return pending().await };
        loop {
            match self.silent_since().map(|since| since.elapsed()) {
                Some(silent) if silent >= after => break,
                Some(silent) => sleep(after - silent).await,
                None => sleep(after).await,
            }
        }
        self.counted.store(true, Relaxed);
        let mut changed = self.endpoint.silence.changed.subscribe();
        self.endpoint.overdue(Instant::now());
        loop {
            let now = Instant::now();
            let others = || self.patience.others.iter().any(|other| self.is_well(other, now));
            if self.endpoint.is_given_up(self.limits) && others() {
                return;
            }
            // Others may have become well meanwhile.
            let _ = timeout(after, changed.changed()).await;
        }
    }

    /// Whether `other` may be asked, and has answered since.
    fn is_well(&self, other: &Arc<Endpoint>, now: Instant) -> bool {
        let was_asked = || self.patience.tried.iter().any(|tried| Arc::ptr_eq(tried, other));
        !std::ptr::eq(Arc::as_ptr(other), self.endpoint)
            && !was_asked()
            && other.heard_at() > self.began
            && other.takes(self.limits, now)
            && !other.is_left_out(self.limits, now)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.endpoint.silence.waiting.fetch_sub(1, Relaxed);
        let Some(after) = self.patience.after.filter(|_| !self.counted.load(Relaxed)) else { return };
        // A client that has no patience tells as much as one that has.
        if self.silent_since().is_some_and(|since| since.elapsed() >= after / 2) {
            self.endpoint.overdue(Instant::now());
        }
    }
}

impl Endpoint {
    /// When it answered last, a request or a probe.
    pub(super) fn heard_at(&self) -> Instant {
        self.born + Duration::from_millis(self.silence.heard_at.load(Relaxed))
    }

    pub(super) fn heard(&self, now: Instant) {
        self.silence.heard_at.store(self.millis(now), Relaxed);
    }

    /// Whether what waits on it may go elsewhere.
    fn is_given_up(&self, limits: &Limits) -> bool {
        self.silence.hangs() || self.is_unready(limits)
    }

    /// A request has waited for too long, and nobody was answered meanwhile. Where a probe tells more, it is asked at once.
    pub(super) fn overdue(&self, now: Instant) {
        if self.answers_for_itself() {
            self.suspect();
        } else if !self.silence.hangs() {
            self.late(now);
        } else if !self.is_left_out_until(now) {
            self.leave_out(now);
        }
    }

    /// A request was not answered in time.
    pub(crate) fn late(&self, now: Instant) {
        if self.count_failure(now) {
            self.silence.set_hangs(true);
        }
    }
}
