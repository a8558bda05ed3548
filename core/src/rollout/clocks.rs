//! Progress and deadlines of a rollout.

use crate::fleet::Member;
use crate::release::Spec;
use crate::slot::Waiting;
use crate::time::Timestamp;
use crate::units::Span;

use super::model::{Progress, SILENCE};
use super::planner::Planner;

impl Planner<'_> {
    /// Notes how far the rollout is; a number that rose starts the progress deadline again.
    pub(crate) fn progress(&mut self, seen: Progress) {
        let now = self.now();
        let rollout = self.rollout();
        let best = rollout.progress;
        let next = Progress {
            bytes: best.bytes.max(seen.bytes),
            pulled: best.pulled.max(seen.pulled),
            begun: best.begun.max(seen.begun),
            available: best.available.max(seen.available),
        };
        if next != best {
            rollout.progress = next;
            rollout.progress_at = now;
        }
    }

    /// Notes that an instance stops whose requests were waited for: that took its own time, and the deadline begins again.
    pub(crate) fn drain_ended(&mut self) {
        let now = self.now();
        if let Some(rollout) = self.rollout.as_mut().filter(|rollout| !rollout.state.is_final()) {
            rollout.progress_at = now;
        }
    }

    /// Notes that nothing is missing: a watch may last longer than the progress deadline, and what breaks in it has the whole
    /// deadline to come back. Written now and then, not at every look.
    pub(crate) fn is_steady(&mut self, deadline: Span) {
        let (now, part) = (self.now(), deadline.duration() / 4);
        let at = self.rollout().progress_at;
        if now < at || now.since(at) >= part {
            self.rollout().progress_at = now;
        }
        self.wake(now + part);
    }

    /// Whether word of hosts that fell silent a moment ago is all that is waited for.
    pub(crate) fn waits_for_silent_hosts(&self) -> bool {
        let is_silent = |waiting: &Waiting| {
            let (Waiting::Host { host, .. } | Waiting::Report(host)) = waiting else { return false };
            self.snapshot.fleet.member(host).is_some_and(Member::is_silent)
        };
        !self.waiting.is_empty() && self.waiting.iter().all(is_silent)
    }

    /// Since when a span counts that began at `at`: no deadline counts what this coordinator has not watched, and a
    /// beginning that is still to come was noted before its clock was set back.
    pub(crate) fn counted_from(&self, at: Timestamp) -> Timestamp {
        let since = self.snapshot.fleet.since();
        if at > self.snapshot.now { since } else { at.max(since) }
    }

    /// Returns whether the rollout has gone without progress for longer than it may. Wakes at that moment if not.
    pub(crate) fn deadline_passed(&mut self, spec: &Spec) -> bool {
        let progress_at = self.rollout().progress_at;
        let mut deadline = self.counted_from(progress_at) + spec.progress_deadline.duration();
        if self.waits_for_silent_hosts() {
            deadline = deadline + SILENCE;
        }
        // A drain ends by itself, and is no lack of progress.
        deadline = deadline + self.drains.values().max().copied().unwrap_or_default();
        if self.now() >= deadline {
            return true;
        }
        self.wake(deadline);
        false
    }
}
