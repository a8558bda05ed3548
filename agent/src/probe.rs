//! Probes: one light task per running instance asks its questions and says what changed.
//!
//! The first question comes at once. While an instance has never been ready, a refused connection is asked
//! about again within milliseconds: a service is seen healthy as soon as it listens, and waiting for it to
//! listen counts as no failure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use windlass_core::Timestamp;
use windlass_core::observation::{Cause, NotReady, ProbeResult};
use windlass_core::reconcile::Health;
use windlass_core::release::{self, Probe};

use crate::runtime::Runtime;

mod answers;
mod check;
mod pace;

pub use answers::Answers;
use answers::Entry;

/// Answers kept per instance.
const HISTORY: usize = 10;
/// The first pause before a refused connection is tried again. It grows by a quarter each time, up to the
/// probe's own interval: whatever a start takes, it is noticed within a quarter of that.
const EAGER: Duration = Duration::from_millis(20);

/// Time between two reports of an answer that is as bad as before, and of one that is bad in another way.
const SAME: Duration = Duration::from_secs(5);
const OTHER: Duration = Duration::from_secs(2);

/// The last answers of an instance, the oldest first.
pub type History = Arc<Mutex<Vec<ProbeResult>>>;

/// Whom to ask, and what.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The engine's id of the container.
    pub container: String,
    /// The beginning of the run that is asked.
    pub run: Timestamp,
    /// Address at which its ports are published.
    pub address: String,
    /// Its ports on the host, by name.
    pub ports: BTreeMap<String, u16>,
    /// The questions.
    pub probes: release::Health,
    /// Store of the answers.
    pub history: History,
    /// Receiver of the figures of the answers.
    pub answers: Answers,
}

/// The word of an instance's probes from now on. Its history is in [`Subject::history`].
#[derive(Debug, Clone)]
pub struct Report {
    /// The engine's id of the container.
    pub container: String,
    /// The run that was asked.
    pub run: Timestamp,
    /// The health of the instance.
    pub health: Health,
}

/// Whether there are any questions at all.
pub const fn has_probes(probes: &release::Health) -> bool {
    probes.startup.is_some() || probes.readiness.is_some() || probes.liveness.is_some()
}

/// Asks until it is dropped, or nobody wants to know any more. Reports what changes, and the first answer.
pub async fn watch<R: Runtime>(
    runtime: Arc<R>,
    subject: Subject,
    reports: mpsc::Sender<Report>,
    now: fn() -> Timestamp,
) {
    let mut state = State::new(&subject, now());
    let mut entry = Entry::new(&subject.answers, &subject.container);
    loop {
        let Some((due, index)) = state.next() else { return };
        tokio::time::sleep_until(due).await;
        let schedule = &mut state.schedules[index];
        let began = Instant::now();
        let answer = check::ask(&*runtime, &subject, &schedule.probe, &mut schedule.hanging).await;
        let at = now();
        if schedule.counts && !answer.is_unasked {
            entry.note(answer.ok, answer.took.unwrap_or_else(|| began.elapsed()));
        }
        remember(
            &subject.history,
            ProbeResult {
                at,
                probe: schedule.kind.name().to_owned(),
                ok: answer.ok,
                detail: answer.detail.clone(),
            },
        );
        if let Some(health) = state.take(index, &answer, at) {
            let report = Report { container: subject.container.clone(), run: subject.run, health };
            if reports.send(report).await.is_err() {
                return;
            }
        }
    }
}

fn remember(history: &History, result: ProbeResult) {
    let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
    if history.len() >= HISTORY {
        history.remove(0);
    }
    history.push(result);
}

/// The purpose of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Startup,
    Readiness,
    Liveness,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

/// One probe and when it is due.
#[derive(Debug)]
struct Schedule {
    kind: Kind,
    /// Whether its answers are told as figures: those of readiness where there is such a probe.
    counts: bool,
    probe: Probe,
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
    hanging: Option<String>,
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
struct State {
    schedules: Vec<Schedule>,
    started: bool,
    health: Health,
    reported: bool,
    /// Which bad answer was reported last, and when.
    said: (String, Instant),
}

impl State {
    fn new(subject: &Subject, now: Timestamp) -> Self {
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
                asks: format!("{} {}", kind.name(), check::words(&probe)),
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
    fn next(&self) -> Option<(Instant, usize)> {
        let active = |schedule: &Schedule| (schedule.kind == Kind::Startup) != self.started;
        let due = self.schedules.iter().enumerate().filter(|(_, schedule)| active(schedule));
        due.map(|(index, schedule)| (schedule.due, index)).min()
    }

    fn has(&self, kind: Kind) -> bool {
        self.schedules.iter().any(|schedule| schedule.kind == kind)
    }

    /// Takes an answer in; the health if it changed.
    fn take(&mut self, index: usize, answer: &check::Answer, now: Timestamp) -> Option<Health> {
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

    fn judge(
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
        if !self.health.ready {
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

#[cfg(test)]
mod tests;
