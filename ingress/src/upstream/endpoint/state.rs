//! The marks that probes, answers and failures leave at an endpoint, and its connections.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::upstream::driver::Wire;

/// The probes of an endpoint, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Probing {
    /// The path of its probe, if it has one.
    pub(super) path: ArcSwapOption<String>,
    /// A replacement is under way: it is probed more often.
    pub(super) busy: AtomicBool,
    /// Milliseconds after the endpoint was made at which its last probe began.
    pub(super) began_at: AtomicU64,
    /// Its last probe has not ended.
    pub(super) under_way: AtomicBool,
    /// A request has waited for too long: a probe is due at once.
    pub(super) suspect: AtomicBool,
    /// Its last probe was answered.
    pub(super) proven: AtomicBool,
    /// The last probe could not be sent: no connection was made.
    pub(super) unreached: AtomicBool,
    /// Probes in a row that failed.
    pub(super) unanswered: AtomicU32,
}

/// The answers of an endpoint of late, and the requests that wait for one.
#[derive(Debug)]
pub(super) struct Silence {
    /// Milliseconds after the endpoint was made at which it answered last.
    pub(super) heard_at: AtomicU64,
    /// The longest time from a request to the head of its response, in microseconds; 0 if it has answered none. It wears off.
    pub(super) slowest: AtomicU64,
    /// Requests that wait for the head of a response.
    pub(super) waiting: AtomicI64,
    /// It was left out because it hangs: from then on it has one request at a time, until it answers one.
    pub(super) hangs: AtomicBool,
    /// Tells those that wait that it may have been given up.
    pub(super) changed: watch::Sender<()>,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            heard_at: AtomicU64::new(0),
            slowest: AtomicU64::new(0),
            waiting: AtomicI64::new(0),
            hangs: AtomicBool::new(false),
            changed: watch::Sender::new(()),
        }
    }
}

impl Silence {
    pub(super) fn tell(&self) {
        self.changed.send_replace(());
    }

    /// Whether it hangs and has its one request.
    pub(super) fn is_tried(&self) -> bool {
        self.hangs.load(Relaxed) && self.waiting.load(Relaxed) > 0
    }

    pub(super) fn hangs(&self) -> bool {
        self.hangs.load(Relaxed)
    }

    pub(super) fn set_hangs(&self, hangs: bool) {
        self.hangs.store(hangs, Relaxed);
        self.tell();
    }

    /// Called every second: a slow answer counts for less after some minutes.
    pub(super) fn wear_off(&self) {
        let slowest = self.slowest.load(Relaxed);
        self.slowest.fetch_sub(slowest / 1024, Relaxed);
    }
}

/// The failures of an endpoint in a row, and the time for which it is left out.
#[derive(Debug)]
pub(super) struct Ejection {
    /// Failures in a row after which it is left out; for how long, doubled each time; at most.
    pub(super) after: u32,
    pub(super) pause: Duration,
    pub(super) most: Duration,
    /// Consecutive requests that were reset before a response, or not answered in time.
    pub(super) failures: AtomicU32,
    /// Consecutive failures to connect.
    pub(super) unreached: AtomicU32,
    /// Consecutive responses that it broke off, and milliseconds after it was made at which it did so last.
    pub(super) broken: AtomicU32,
    pub(super) broke_at: AtomicU64,
    /// It was left out because of those: then only a whole response brings it back.
    pub(super) breaks: AtomicBool,
    /// The number of times in a row that it was left out.
    pub(super) times: AtomicU32,
    /// Milliseconds after it was made until which it is left out; 0 if it is not.
    pub(super) until: AtomicU64,
    /// So many connections to it failed in a row: one that stands brings it back.
    pub(super) unreachable: AtomicBool,
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
            broke_at: AtomicU64::new(0),
            breaks: AtomicBool::new(false),
            times: AtomicU32::new(0),
            until: AtomicU64::new(0),
            unreachable: AtomicBool::new(false),
        }
    }

    /// Whether it was left out, and has not answered since.
    pub(super) fn has_been(&self) -> bool {
        self.times.load(Relaxed) > 0
    }

    /// Whether so many requests in a row were not answered that it is to be left out.
    pub(super) fn is_due(&self) -> bool {
        self.failures.load(Relaxed) + self.unreached.load(Relaxed) >= self.after
    }
}

/// Whether an endpoint is cut, and what ends then.
#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) token: CancellationToken,
    /// Its HTTP/1 connections.
    wires: Mutex<Vec<Weak<Wire>>>,
}

impl Cut {
    pub(super) fn wires(&self) -> MutexGuard<'_, Vec<Weak<Wire>>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets connections that have ended.
    pub(super) fn tidy(&self) {
        self.wires().retain(|wire| wire.strong_count() > 0);
    }
}
