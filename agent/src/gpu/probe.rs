//! The task that keeps one child, asks it, and does without it.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use windlass_core::host::{GpuLost, Silent};
use windlass_process::{Backoff, backoff};

use super::health::{self, Health};
use super::talk::{NoAnswer, Talk, start, this_program};
use super::{Answer, Known, Look, Question, Seen, Shared, WHAT};
use crate::clock;

/// Time limits of the probe.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For the first answer of a child, which loads the library: a second or two per GPU whose driver slept.
    pub first: Duration,
    /// For the others.
    pub later: Duration,
    /// From when on it is said that there is no answer.
    pub silent: Duration,
    /// Between two looks at how they do.
    pub every: Duration,
    /// Until a library is looked for where there was none, and is loaded anew where a GPU is lost: it knows those that there
    /// were when it was loaded.
    pub again: Duration,
    /// The least and the most between two children.
    pub pause: (Duration, Duration),
    /// Killed children that have not ended: with so many, no other is started.
    pub dying: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            first: seconds(60),
            later: seconds(20),
            silent: seconds(5),
            every: seconds(5),
            again: seconds(60),
            pause: (seconds(1), seconds(60)),
            dying: 2,
        }
    }
}

/// The task.
#[derive(Debug)]
pub struct Probe {
    program: OsString,
    limits: Limits,
    seen: watch::Sender<Shared>,
    health: Health,
    /// GPUs that report no errors: said once.
    unwatched: Vec<String>,
    /// Children that were killed or ended, until the kernel gives them back.
    dying: JoinSet<()>,
    cancel: CancellationToken,
}

impl Probe {
    /// `known` is what an agent of before knew.
    pub fn new(known: Known, limits: Limits, cancel: CancellationToken) -> Self {
        let Known { gpus, lost, errors } = known;
        let seen =
            watch::Sender::new(Arc::new(Seen { gpus, lost, errors: errors.clone(), ..Seen::default() }));
        Self {
            program: this_program().to_owned(),
            limits,
            seen,
            health: Health::begun(errors),
            unwatched: Vec::new(),
            dying: JoinSet::new(),
            cancel,
        }
    }

    /// The same with another program as its child.
    #[must_use]
    pub fn with_program(self, program: impl Into<OsString>) -> Self {
        Self { program: program.into(), ..self }
    }

    /// Known facts.
    pub fn seen(&self) -> watch::Receiver<Shared> {
        self.seen.subscribe()
    }

    /// Works until it is cancelled.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let (least, most) = self.limits.pause;
        let mut backoff = Backoff::new(least, most);
        let cancel = self.cancel.clone();
        loop {
            let ended = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                ended = self.one_child(&mut backoff) => ended,
            };
            let pause = match ended {
                NoAnswer::NoLibrary => {
                    self.looked(&Look::default(), "its library or its driver is not there any more");
                    self.limits.again
                }
                NoAnswer::Outdated => least,
                ended => {
                    self.silent(&ended);
                    backoff.next(backoff::random())
                }
            };
            let again_at = Instant::now() + pause;
            loop {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Ok(()),
                    Some(_) = self.dying.join_next() => {}
                    () = sleep_until(again_at), if self.dying.len() < self.limits.dying => break,
                }
            }
        }
    }

    /// From the start of a child to its last answer. Its end is not waited for: a call may hang so that not even
    /// SIGKILL ends it.
    async fn one_child(&mut self, backoff: &mut Backoff) -> NoAnswer {
        let (mut child, mut talk) = match start(&self.program) {
            Ok(both) => both,
            Err(error) => return error,
        };
        let ended = self.ask_on(&mut talk, backoff).await;
        let killed = child.start_kill();
        tracing::debug!(?killed, %ended, "the process that asks for GPUs is given up");
        self.dying.spawn(async move { drop(child.wait().await) });
        ended
    }

    async fn ask_on(&mut self, talk: &mut Talk, backoff: &mut Backoff) -> NoAnswer {
        let mut limit = self.limits.first;
        let outdated_at = Instant::now() + self.limits.again;
        loop {
            match self.ask(talk, Question::Look, limit).await {
                Ok(Answer::Seen(look)) => {
                    backoff.reset();
                    self.looked(&look, "its driver does not list it any more");
                }
                Ok(_) => return NoAnswer::Broken("answers something else".to_owned()),
                Err(error) => return error,
            }
            limit = self.limits.later;
            if Instant::now() >= outdated_at && !self.seen.borrow().lost.is_empty() {
                return NoAnswer::Outdated;
            }
            sleep(self.limits.every).await;
        }
    }

    fn looked(&mut self, look: &Look, missing: &str) {
        let before = self.seen.borrow().clone();
        let now = clock::now();
        let mut lost = health::lost(&before, look, missing, now);
        let stats = self.health.stats(look, &mut lost, now);
        for one in look.unwatched.iter().filter(|one| !self.unwatched.contains(&one.uuid)) {
            tracing::warn!(gpu = one.uuid, why = one.why, "errors (XID) of a GPU are not reported");
        }
        self.unwatched = look.unwatched.iter().map(|one| one.uuid.clone()).collect();
        let was_lost = |gone: &GpuLost| before.lost.iter().any(|lost| lost.is_same(gone));
        for gone in lost.iter().filter(|gone| !was_lost(gone)) {
            tracing::warn!(gpu = gone.uuid, why = gone.why, "a GPU is lost");
        }
        for back in before.lost.iter().filter(|back| !lost.iter().any(|gone| gone.uuid == back.uuid)) {
            tracing::info!(gpu = back.uuid, "a GPU that was lost is there again");
        }
        let conditions = self.health.conditions(&lost, &stats, now);
        let gpus = Health::judged(&look.gpus, &stats, &conditions);
        let (driver, errors, at) = (look.driver.clone(), self.health.of_devices(), Some(Instant::now()));
        self.publish(|seen| *seen = Seen { gpus, lost, driver, stats, conditions, errors, silent: None, at });
    }

    /// The answer, which must come within `limit`; that it is missed is said long before.
    async fn ask(&self, talk: &mut Talk, question: Question, limit: Duration) -> Result<Answer, NoAnswer> {
        let asked_at = Instant::now();
        let (silent_at, late_at) = (asked_at + self.limits.silent, asked_at + limit);
        let mut answer = std::pin::pin!(talk.ask(question));
        tokio::select! {
            answer = &mut answer => return answer,
            () = sleep_until(silent_at.min(late_at)) => self.silent(&NoAnswer::Hangs(self.limits.silent)),
        }
        tokio::select! {
            answer = &mut answer => answer,
            () = sleep_until(late_at) => Err(NoAnswer::Hangs(limit)),
        }
    }

    fn silent(&self, why: &NoAnswer) {
        if self.seen.borrow().silent.is_some() {
            return; // how it showed first is enough
        }
        tracing::warn!(error = %why, "the GPUs cannot be asked; nothing waits for them");
        self.publish(|seen| {
            seen.stats.clear();
            seen.silent = Some(Silent { what: WHAT.to_owned(), since: clock::now(), why: why.to_string() });
        });
    }

    fn publish(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_if_modified(|seen| {
            let mut new = Seen::clone(seen);
            change(&mut new);
            let changed = **seen != new;
            *seen = Arc::new(new);
            changed
        });
    }
}
