//! The state of an instance by the answers to its probes: which question is next, and what an answer changes.

use std::time::Duration;

use tokio::time::Instant;
use windlass_core::Timestamp;
use windlass_core::observation::{Cause, NotReady};
use windlass_core::reconcile::Health;
use windlass_core::release::Probe;

use super::subject::Subject;
use super::{check, pace};

/// The first pause before a refused connection is tried again. It grows by a quarter each time, up to the
/// probe's own interval: whatever a start takes, it is noticed within a quarter of that.
const EAGER: Duration = Duration::from_millis(20);

/// Time between two reports of an answer that is as bad as before, and of one that is bad in another way.
const SAME: Duration = Duration::from_secs(5);
const OTHER: Duration = Duration::from_secs(2);

/// The purpose of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Startup,
    Readiness,
    Liveness,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

/// One probe and when it is due.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) kind: Kind,
    /// Whether its answers are told as figures: those of readiness where there is such a probe.
    pub(super) counts: bool,
    pub(super) probe: Probe,
    due: Instant,
    eager: Duration,
    /// Good or bad answers in a row.
    successes: u32,
    failures: u32,
    /// The question, in words.
    asks: String,
    /// Answers since the last one that meant yes, and the bad ones of them.
    asked: u32,
    bad: u32,
    /// Since when answers are bad.
    bad_since: Timestamp,
    /// A command that took too long and could not be killed; the engine's id of it.
    pub(super) hanging: Option<String>,
}

impl Schedule {
    fn why(&self, answer: &str) -> NotReady {
        let (asked, answer) = (self.asks.clone(), answer.to_owned());
        let (failed, of, since) = (self.bad, self.asked, self.bad_since);
        let mut why = NotReady { cause: Cause::Probe, asked, answer, failed, of, since };
        why.bound();
        why
    }
}

/// The state of an instance, as far as its probes know.
#[derive(Debug)]
pub(super) struct State {
    pub(super) schedules: Vec<Schedule>,
    started: bool,
    pub(super) health: Health,
    reported: bool,
    /// Which bad answer was reported last, and when.
    said: (String, Instant),
}

impl State {
    pub(super) fn new(subject: &Subject, now: Timestamp) -> Self {
        let probes = &subject.probes;
        let all = [
            (Kind::Startup, &probes.startup),
            (Kind::Readiness, &probes.readiness),
            (Kind::Liveness, &probes.liveness),
        ];
        let schedule = |(kind, probe): (Kind, &Option<Probe>)| {
            let probe = probe.clone()?;
            Some(Schedule {
                kind,
                counts: kind == Kind::Readiness || probes.readiness.is_none(),
                asks: format!("{} {}", kind.name(), check::words(&probe, subject)),
                probe,
                due: Instant::now(),
                eager: EAGER,
                successes: 0,
                failures: 0,
                asked: 0,
                bad: 0,
                bad_since: now,
                hanging: None,
            })
        };
        let (ready, unbroken, was_ready, live, decided) = (false, true, false, true, false);
        let history = Vec::new();
        Self {
            schedules: all.into_iter().filter_map(schedule).collect(),
            started: probes.startup.is_none(),
            health: Health { ready, since: now, unbroken, was_ready, live, decided, history, why: None },
            reported: false,
            said: (String::new(), Instant::now()),
        }
    }

    /// Which probe is next: readiness and liveness wait for startup, which is never asked again.
    pub(super) fn next(&self) -> Option<(Instant, usize)> {
        let active = |schedule: &Schedule| (schedule.kind == Kind::Startup) != self.started;
        let due = self.schedules.iter().enumerate().filter(|(_, schedule)| active(schedule));
        due.map(|(index, schedule)| (schedule.due, index)).min()
    }

    fn has(&self, kind: Kind) -> bool {
        self.schedules.iter().any(|schedule| schedule.kind == kind)
    }

    /// Takes an answer in; the health if it changed.
    pub(super) fn take(&mut self, index: usize, answer: &check::Answer, now: Timestamp) -> Option<Health> {
        let never_ready = !self.health.was_ready;
        let schedule = &mut self.schedules[index];
        let every = schedule.probe.every.duration();
        // From the beginning of one question to that of the next.
        schedule.due = (schedule.due + every).max(Instant::now());
        if answer.is_unasked {
            return None; // neither a good answer nor a bad one
        }
        let waiting = never_ready && answer.nobody_listens;
        if waiting {
            schedule.due = Instant::now() + schedule.eager.min(every);
            schedule.eager = (schedule.eager * 5 / 4).min(every);
        }
        schedule.asked = schedule.asked.saturating_add(1);
        if answer.ok {
            schedule.successes = schedule.successes.saturating_add(1);
            schedule.failures = 0;
        } else {
            if schedule.bad == 0 {
                schedule.bad_since = now;
            }
            schedule.bad = schedule.bad.saturating_add(1);
            schedule.successes = 0;
            schedule.failures =
                schedule.failures.saturating_add(u32::from(!waiting || schedule.eager >= every));
        }
        let yes = schedule.successes >= schedule.probe.successes.max(1);
        let no = schedule.failures >= schedule.probe.failures.max(1);
        let why = (!answer.ok).then(|| schedule.why(&answer.detail));
        if yes {
            (schedule.asked, schedule.bad) = (0, 0);
        }
        if yes && !never_ready {
            schedule.due = pace::together(schedule.due, every, Instant::now(), now);
        }
        let news = self.judge(self.schedules[index].kind, yes, no, why, now);
        news.or_else(|| self.still_bad())
    }

    /// Repeats the answer of an instance that is not ready, now and then.
    fn still_bad(&mut self) -> Option<Health> {
        let why = self.health.why.as_ref()?;
        let pause = if why.answer == self.said.0 { SAME } else { OTHER };
        (self.said.1.elapsed() >= pause).then(|| self.say())
    }

    fn say(&mut self) -> Health {
        let answer = self.health.why.as_ref().map(|why| why.answer.clone()).unwrap_or_default();
        self.said = (answer, Instant::now());
        self.health.clone()
    }

    pub(super) fn judge(
        &mut self,
        kind: Kind,
        yes: bool,
        no: bool,
        why: Option<NotReady>,
        now: Timestamp,
    ) -> Option<Health> {
        let before = (self.health.ready, self.health.live, self.health.decided);
        self.health.decided |= no || (yes && self.says_ready(kind));
        match kind {
            Kind::Startup if yes => {
                self.started = true;
                let at_once = Instant::now();
                self.schedules.iter_mut().for_each(|schedule| schedule.due = at_once);
                if self.says_ready(kind) {
                    self.set_ready(true, now);
                }
            }
            Kind::Startup => {}
            Kind::Readiness if yes => self.set_ready(true, now),
            Kind::Readiness if no => self.set_ready(false, now),
            Kind::Readiness => {}
            Kind::Liveness => {
                if no {
                    self.health.live = false;
                }
                // The only question there is also says whether it is ready.
                if self.says_ready(kind) {
                    if yes {
                        self.set_ready(true, now);
                    } else if no {
                        self.set_ready(false, now);
                    }
                }
            }
        }
        // A good answer of the startup probe breaks nothing, though the instance is ready only by the next probe.
        if !self.health.ready && (no || why.is_some()) {
            self.health.unbroken = false;
        }
        if self.health.ready && self.health.live {
            self.health.why = None;
        } else if why.is_some() {
            self.health.why = why;
        }
        let changed = before != (self.health.ready, self.health.live, self.health.decided);
        let first = !std::mem::replace(&mut self.reported, true);
        (changed || first).then(|| self.say())
    }

    /// Whether this is the probe whose yes makes it ready.
    fn says_ready(&self, kind: Kind) -> bool {
        match kind {
            Kind::Readiness => true,
            Kind::Startup => !self.has(Kind::Readiness),
            Kind::Liveness => !self.has(Kind::Readiness) && !self.has(Kind::Startup),
        }
    }

    fn set_ready(&mut self, ready: bool, now: Timestamp) {
        if self.health.ready != ready {
            self.health.ready = ready;
            self.health.since = now;
            self.health.was_ready |= ready;
        }
    }
}
