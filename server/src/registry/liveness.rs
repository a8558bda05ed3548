//! The liveness of hosts, and the start of deadlines where a clock was set or nothing was decided.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use windlass_core::host::Liveness;
use windlass_core::{HostId, Timestamp};

use crate::clock::Clock;
use crate::ledger::State;

use super::{Live, Registry};

impl Registry {
    /// Returns the liveness of the host.
    pub(crate) fn liveness(&self, host: &HostId, now: Timestamp) -> Liveness {
        self.look_at_clock();
        self.look(host, |live| self.judge(live.last_seen, now)).unwrap_or_else(|| self.judge(None, now))
    }

    /// Returns the liveness of each of these hosts.
    pub(crate) fn liveness_of_all<'h>(
        &self,
        hosts: impl Iterator<Item = &'h HostId>,
        now: Timestamp,
    ) -> Vec<Liveness> {
        self.look_at_clock();
        let known = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.map(|host| self.judge(known.get(host).and_then(|live| live.last_seen), now)).collect()
    }

    /// The number of members of the fleet, and of those that are connected.
    pub(crate) fn count(&self, state: &State, now: Timestamp) -> (usize, usize) {
        self.look_at_clock();
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let members = state.hosts.values().filter(|record| record.is_member());
        members.fold((0, 0), |(all, up), record| {
            let seen = hosts.get(&record.name).and_then(|live| live.last_seen);
            (all + 1, up + usize::from(self.judge(seen, now) == Liveness::Connected))
        })
    }

    /// Returns when the host was last heard of; none if not since this coordinator started.
    pub(crate) fn last_seen(&self, host: &HostId) -> Option<Timestamp> {
        self.look(host, |live| live.last_seen).flatten()
    }

    /// Notices when the clock was set, and answers since when deadlines count. Whoever asks about hosts looks first, not
    /// only who decides: nobody is told of a host that is lost by the new time alone.
    pub(crate) fn look_at_clock(&self) -> Timestamp {
        // One at a time, up to the end: whoever comes second must find everything moved.
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if let Some(step) = steps.look(now.as_millis(), self.clock.steady()) {
            tracing::warn!(seconds = step / 1000, "the clock of this machine was set");
            self.clock_was_set(step, now);
        }
        self.watched_since()
    }

    /// The machine's clock was set by so many milliseconds and shows `now`. Hosts are as long silent as they were, and no
    /// deadline counts what it did before.
    pub(super) fn clock_was_set(&self, step: i64, now: Timestamp) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let set = |at: &mut Timestamp| {
            let moved = Timestamp::from_millis(at.as_millis().saturating_add(step));
            // A time that was heard between the setting and its being noticed is right already.
            let is_from_before = if step > 0 { moved <= now } else { *at > now };
            if is_from_before {
                *at = moved;
            }
        };
        for live in hosts.values_mut() {
            live.last_seen.iter_mut().for_each(set);
            live.ingress.clock_was_set(set);
        }
        drop(hosts);
        self.clock_set_at.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Since when deadlines count: the start of this coordinator, or when its clock was last set.
    pub(crate) fn watched_since(&self) -> Timestamp {
        match self.clock_set_at.load(Ordering::Relaxed) {
            0 => self.started,
            at => Timestamp::from_millis(at),
        }
    }

    /// Since when deadlines of decisions count: not the time in which nothing was decided either.
    pub(super) fn counts_since(&self, state: &State, now: Timestamp) -> Timestamp {
        let gone_on = state.recovery.as_ref().and_then(|recovery| recovery.ended_at).filter(|at| *at <= now);
        let since = self.watched_since();
        gone_on.map_or(since, |at| at.max(since))
    }

    pub(super) fn judge(&self, last_seen: Option<Timestamp>, now: Timestamp) -> Liveness {
        match last_seen {
            Some(at) if now.since(at) < self.rules.suspect => Liveness::Connected,
            Some(at) if now.since(at) < self.rules.lost => Liveness::Suspect,
            None if now.since(self.watched_since()) < self.rules.unknown => Liveness::Unknown,
            Some(_) | None => Liveness::Lost,
        }
    }
}

impl Live {
    pub(super) fn seen(&mut self, now: Timestamp, clock: &Clock) {
        self.last_seen = Some(now);
        self.heard_at = Some(clock.steady());
    }

    pub(super) fn silent_for(&self, clock: &Clock) -> Option<Duration> {
        self.heard_at.map(|at| clock.steady().saturating_sub(at))
    }
}
