//! The probes of an endpoint: how it is asked, when, and what its answers say.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::limits::Limits;

use super::{Endpoint, ProtocolKind};

/// An eighth of the shorter interval between two probes: for one that is awaited, and for the next after one that failed.
const SOON: u32 = 8;

/// The probe of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// By a connection, which says only that its kernel is there.
    Connect,
    /// By a request for a path.
    Get(Arc<String>),
    /// By the first frames of HTTP/2.
    Settings,
}

/// The turn of a probe that is due, with the milliseconds for which it has been: the smallest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The answer may change where requests go: the last one did not come, requests failed, or a release is replaced.
    Awaited(Reverse<u64>),
    /// Nothing makes one doubt the endpoint.
    Resting(Reverse<u64>),
}

impl Endpoint {
    /// Whether its last probe was answered.
    pub(crate) fn is_proven(&self) -> bool {
        self.probing.proven.load(Relaxed)
    }

    /// Whether it answers no probes.
    pub(crate) fn is_unready(&self, limits: &Limits) -> bool {
        self.probing.unanswered.load(Relaxed) >= limits.unready_after
    }

    /// Tells whether a connection was made for its last probe.
    pub(crate) fn probe_reached(&self, reached: bool) {
        self.probing.unreached.store(!reached, Relaxed);
    }

    /// Whether no connection was made for its last probe.
    pub(super) fn was_not_reached(&self) -> bool {
        self.probing.unreached.load(Relaxed)
    }

    /// Whether no connection can be made to it: those for requests failed, or those for probes.
    pub(crate) fn is_unreachable(&self, limits: &Limits, now: Instant) -> bool {
        self.cannot_connect(now) || (self.is_unready(limits) && self.was_not_reached())
    }

    /// Forgets the answer to its last probe, and has it probed at once.
    pub(super) fn doubt_probe(&self) {
        self.probing.proven.store(false, Relaxed);
        self.suspect();
    }

    /// Leaves it out until it answers a probe, which is due at once.
    pub(super) fn give_up(&self, limits: &Limits) {
        self.probing.unanswered.store(limits.unready_after, Relaxed);
        self.suspect();
    }

    /// Whether its last probe failed.
    pub(super) fn failed_its_probe(&self) -> bool {
        self.probing.unanswered.load(Relaxed) > 0
    }

    /// Sets its probe.
    pub(crate) fn set_probe(&self, path: Option<&String>, busy: bool) {
        if self.probing.path.load().as_deref() != path {
            self.probing.path.store(path.cloned().map(Arc::new));
        }
        self.probing.busy.store(busy, Relaxed);
    }

    /// Its probe.
    pub(crate) fn question(&self) -> Question {
        match (self.key.protocol, self.probing.path.load_full()) {
            (ProtocolKind::Http2, _) => Question::Settings,
            (ProtocolKind::Http1, Some(path)) => Question::Get(path),
            (ProtocolKind::Http1, None) => Question::Connect,
        }
    }

    /// Whether a probe is answered by its process, and not by its kernel alone.
    pub(super) fn answers_for_itself(&self) -> bool {
        self.question() != Question::Connect
    }

    /// Has it probed at once.
    pub(super) fn suspect(&self) {
        self.probing.suspect.store(true, Relaxed);
    }

    /// The turn of its next probe, if that is due. One in whose favour it stands by is awaited.
    pub(crate) fn probe_due(&self, limits: &Limits, now: Instant) -> Option<Due> {
        let of = &self.probing;
        if of.under_way.load(Relaxed) {
            return None;
        }
        if of.suspect.load(Relaxed) {
            return Some(Due::Awaited(Reverse(u64::MAX)));
        }
        let awaited = self.standby.load().as_ref().is_some_and(|of| of.is_open(limits, now));
        let doubted = self.failed_its_probe() && !self.is_unready(limits);
        let busy = of.busy.load(Relaxed);
        let every = match busy {
            _ if doubted || (awaited && !self.is_proven()) => limits.probe_busy / SOON,
            true => limits.probe_busy,
            false => limits.probe,
        };
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let since = self.millis(now).saturating_sub(of.began_at.load(Relaxed)).checked_sub(every)?;
        let rests = !self.failed_its_probe() && !busy && !awaited && !self.ejection.has_been();
        Some(if rests { Due::Resting(Reverse(since)) } else { Due::Awaited(Reverse(since)) })
    }

    /// A probe begins.
    pub(crate) fn begin_probe(&self, now: Instant) {
        self.probing.suspect.store(false, Relaxed);
        self.probing.under_way.store(true, Relaxed);
        self.probing.began_at.store(self.millis(now), Relaxed);
    }

    /// A probe was answered, or not. Answers whether that changes if it gets requests.
    pub(crate) fn probed(&self, ready: bool, limits: &Limits, now: Instant) -> bool {
        let before = self.is_unready(limits);
        self.probing.proven.store(ready, Relaxed);
        if ready {
            self.probing.unanswered.store(0, Relaxed);
            self.reached();
            if self.answers_for_itself() {
                self.heard(now);
            }
        } else {
            self.probing.unanswered.fetch_add(1, Relaxed);
        }
        self.probing.under_way.store(false, Relaxed);
        let changes = before != self.is_unready(limits);
        if changes {
            self.silence.tell();
        }
        changes
    }
}
