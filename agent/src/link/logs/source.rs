//! Reads the log of one container and sends its lines on: the last lines, or what came after the last one that was
//! read, and then, when it is followed, every run of the container until it is removed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use windlass_core::Timestamp;
use windlass_core::observation::Observation;
use windlass_core::reconcile::ContainerState;
use windlass_process::merge::{Entry, Item};
use windlass_process::report;
use windlass_proto::pb::{self, LogNote};

use super::wanted::{Target, Wanted};
use crate::clock;
use crate::runtime::{LogLine, LogOptions, Runtime, RuntimeError};

/// Lines that wait to be merged.
pub(super) const CAPACITY: usize = 16;
/// Least time between two looks at a container that stands still.
const PAUSE: Duration = Duration::from_millis(200);
/// Words for lines that were lost to the rotation of the engine's log.
const GAP: &str = "lines are missing here: the engine does not keep them any more";
/// A log that is silent for so long has shown its past.
const IDLE: Duration = Duration::from_millis(300);
/// How often it is looked whether a container runs again, if nothing is heard.
const LOOK: Duration = Duration::from_secs(1);

/// A line on its way.
#[derive(Debug)]
pub(super) struct Line(pub(super) pb::LogLine);

impl Entry for Line {
    fn nanos(&self) -> i64 {
        self.0.nanos
    }

    fn size(&self) -> usize {
        size_of::<pb::LogLine>() + self.0.instance.len() + self.0.text.len()
    }
}

/// How reading ended.
enum Ended {
    /// Nobody reads, or `until` has passed.
    Enough,
    /// The engine's stream ended.
    Quiet,
    /// The engine failed.
    Failed(RuntimeError),
}

/// The task of one container.
pub(super) struct Source<R> {
    pub(super) runtime: Arc<R>,
    pub(super) target: Target,
    pub(super) wanted: Arc<Wanted>,
    pub(super) report: watch::Receiver<Arc<Observation>>,
    pub(super) out: mpsc::Sender<Item<Line>>,
    /// It appeared while the service was followed.
    pub(super) joins: bool,
}

impl<R: Runtime> Source<R> {
    /// Reads until the end; answers with why it failed, if it did.
    pub(super) async fn run(mut self) -> Option<String> {
        let (mut wanted, mut last) = (Wanted::clone(&self.wanted), None);
        if let Some(after) = wanted.after.get(&self.target.instance) {
            last = Some(*after);
        }
        if self.joins {
            self.note(LogNote::Started, "started", last).await;
        }
        if wanted.previous {
            match self.before_this_run().await {
                Ok(Some(until)) => wanted.until = Some(wanted.until.map_or(until, |at| at.min(until))),
                Ok(None) => {}
                Err(error) => return Some(why(&error)),
            }
        }
        if !wanted.follow {
            let options = match self.window(&wanted, last).await {
                Ok(options) => options,
                Err(error) => return Some(why(&error)),
            };
            return match self.read(options, &wanted, &mut last).await {
                Ended::Enough | Ended::Quiet => None,
                Ended::Failed(error) => Some(why(&error)),
            };
        }
        self.follow(&wanted, last).await;
        None
    }

    async fn follow(&mut self, wanted: &Wanted, mut last: Option<i64>) {
        let mut is_first = true;
        loop {
            let before = self.state().await;
            let reading = match is_first {
                true if self.joins => Ok(after(last)),
                true => self.window(wanted, last).await,
                false => Ok(after(last)),
            };
            let ended = match reading {
                Ok(reading) => {
                    is_first = false;
                    self.read(Reading { follow: true, ..reading }, wanted, &mut last).await
                }
                Err(error) => Ended::Failed(error),
            };
            if matches!(ended, Ended::Enough) || self.out.send(Item::Current).await.is_err() {
                return;
            }
            let now = self.state().await;
            if let Some(text) = ending(&before, &now) {
                self.note(LogNote::Ended, &text, last).await;
            }
            if matches!(now, Ok(None)) || !self.runs_again(wanted).await {
                return;
            }
        }
    }

    /// Waits until the container runs. `false`: it is gone, nobody reads, or `until` has passed.
    async fn runs_again(&mut self, wanted: &Wanted) -> bool {
        loop {
            // An engine that ends its streams at once is not asked in a tight loop.
            if timeout(PAUSE, self.out.closed()).await.is_ok()
                || wanted.until.is_some_and(|until| clock::now() >= until)
            {
                return false;
            }
            match self.state().await {
                Ok(Some(state)) if state.is_up() => return true,
                Ok(None) => return false,
                // Stopped, or an engine that is away: looked at again when something is heard, or in a while.
                Ok(Some(_)) | Err(_) => drop(timeout(LOOK, self.report.changed()).await),
            }
        }
    }

    async fn state(&self) -> Result<Option<ContainerState>, RuntimeError> {
        let seen = self.runtime.inspect(&self.target.container).await?;
        Ok(seen.map(|seen| seen.state))
    }

    /// When the present run began, if there is one.
    async fn before_this_run(&self) -> Result<Option<Timestamp>, RuntimeError> {
        Ok(match self.state().await? {
            Some(ContainerState::Running { started_at }) => Some(started_at),
            Some(ContainerState::Created) => Some(Timestamp::ZERO),
            Some(ContainerState::Restarting | ContainerState::Exited { .. }) | None => None,
        })
    }

    /// How many of the engine's entries make up the last lines. It counts parts of long lines one by one, and lines
    /// that are too new.
    async fn window(&self, wanted: &Wanted, last: Option<i64>) -> Result<Reading, RuntimeError> {
        let Some(tail) = wanted.tail.filter(|_| last.is_none()) else {
            let since = wanted.since.filter(|_| last.is_none());
            return Ok(if since.is_some() { Reading { since, ..Reading::default() } } else { after(last) });
        };
        if tail == 0 {
            return Ok(Reading { tail: Some(0), skip: 0, ..Reading::default() });
        }
        if wanted.until.is_none() {
            let counted = self.count(Some(tail.saturating_add(1)), tail, None).await?;
            if counted.entries <= u64::from(tail) {
                return Ok(Reading::default());
            }
            if counted.entries == counted.lines {
                return Ok(Reading { tail: Some(tail.saturating_add(1)), skip: 1, ..Reading::default() });
            }
        }
        let counted = self.count(None, tail, wanted.until).await?;
        if counted.wanted + counted.newer >= counted.entries {
            return Ok(Reading::default());
        }
        let entries = u32::try_from(counted.wanted + counted.newer + 1).unwrap_or(u32::MAX);
        Ok(Reading { tail: Some(entries), skip: 1, ..Reading::default() })
    }

    async fn count(
        &self,
        tail: Option<u32>,
        most: u32,
        until: Option<Timestamp>,
    ) -> Result<Counted, RuntimeError> {
        let mut lines =
            self.runtime.logs(&self.target.container, LogOptions { tail, ..LogOptions::default() });
        let mut counted = Counted::default();
        let mut parts = std::collections::VecDeque::new();
        while let Some(line) = lines.next().await {
            let line = line?;
            let entries = u64::from(line.parts.max(1));
            counted.entries += entries;
            counted.lines += 1;
            if is_before(&line, until) {
                counted.wanted += entries;
                parts.push_back(line.parts.max(1));
                if parts.len() > most as usize {
                    counted.wanted -= parts.pop_front().map_or(0, u64::from);
                }
            } else {
                counted.newer += entries;
            }
        }
        Ok(counted)
    }

    /// Sends the lines of one stream of the engine.
    async fn read(&self, reading: Reading, wanted: &Wanted, last: &mut Option<i64>) -> Ended {
        let opened = clock::now();
        let options = LogOptions { tail: reading.tail, since: reading.since, follow: reading.follow };
        let mut lines = self.runtime.logs(&self.target.container, options);
        let (mut skip, mut resume, mut is_current) = (reading.skip, reading.after, !reading.follow);
        loop {
            let left = wanted.until.filter(|_| reading.follow).map(|until| until.since(clock::now()));
            let line = tokio::select! {
                biased;
                line = lines.next() => line,
                () = self.out.closed() => return Ended::Enough,
                () = tokio::time::sleep(IDLE), if !is_current => {
                    is_current = true;
                    if self.out.send(Item::Current).await.is_err() { return Ended::Enough }
                    continue;
                }
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => return Ended::Enough,
            };
            let line = match line {
                Some(Ok(line)) => line,
                Some(Err(error)) => return Ended::Failed(error),
                None => return Ended::Quiet,
            };
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if !is_before(&line, wanted.until) {
                return Ended::Enough;
            }
            if let Some(after) = resume {
                if line.nanos > 0 && line.nanos <= after {
                    // Whatever stands after the line that was read last is new.
                    resume = resume.filter(|_| line.nanos < after);
                    continue;
                }
                resume = None;
                if reading.is_exact {
                    self.note(LogNote::Dropped, GAP, *last).await;
                }
            }
            if wanted.since.is_some_and(|since| line.at.is_some_and(|at| at < since)) {
                continue;
            }
            let becomes_current = !is_current && line.at.is_some_and(|at| at >= opened);
            *last = Some(line.nanos.max(last.unwrap_or(0)));
            let line = Line(wire(&self.target.instance, line));
            if self.out.send(Item::Entries(vec![line])).await.is_err() {
                return Ended::Enough;
            }
            if becomes_current {
                is_current = true;
                if self.out.send(Item::Current).await.is_err() {
                    return Ended::Enough;
                }
            }
        }
    }

    /// Says something about the instance, in its place among the lines.
    async fn note(&self, note: LogNote, text: &str, last: Option<i64>) {
        let now = clock::now().as_millis();
        let nanos = match (note, last) {
            (LogNote::Dropped, Some(last)) => last,
            _ => now.saturating_mul(1_000_000).max(last.unwrap_or(0)),
        };
        let (instance, text) = (self.target.instance.clone(), text.to_owned());
        let line = pb::LogLine {
            at: nanos / 1_000_000,
            nanos,
            instance,
            text,
            note: note.into(),
            ..pb::LogLine::default()
        };
        drop(self.out.send(Item::Entries(vec![Line(line)])).await);
    }
}

/// One stream of the engine, and what of it is skipped.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    tail: Option<u32>,
    since: Option<Timestamp>,
    follow: bool,
    /// Lines at the beginning: the first may be the end of a longer one.
    skip: u32,
    /// Lines up to this one, in Unix nanoseconds, were read already.
    after: Option<i64>,
    /// A line with exactly that time was read: if it is not there, lines are missing.
    is_exact: bool,
}

/// What the engine keeps, by counting.
#[derive(Debug, Default)]
struct Counted {
    entries: u64,
    lines: u64,
    /// Entries of the last lines that are wanted.
    wanted: u64,
    /// Entries that are too new.
    newer: u64,
}

/// All lines after one that was read.
fn after(last: Option<i64>) -> Reading {
    let since = last.map(|nanos| Timestamp::from_millis(nanos / 1_000_000));
    Reading { since, after: last, is_exact: last.is_some(), ..Reading::default() }
}

fn is_before(line: &LogLine, until: Option<Timestamp>) -> bool {
    until.is_none_or(|until| line.at.is_none_or(|at| at < until))
}

/// How a run ended, for people; `None` if it is the same run that goes on, or nobody knows.
fn ending(
    before: &Result<Option<ContainerState>, RuntimeError>,
    now: &Result<Option<ContainerState>, RuntimeError>,
) -> Option<String> {
    let Ok(Some(before)) = before else { return None };
    if !before.is_up() {
        return None;
    }
    match now {
        Err(_) => None,
        Ok(Some(now)) if now == before => None,
        Ok(None) => Some("ended, and was removed".to_owned()),
        Ok(Some(ContainerState::Exited { code, oom_killed: false, .. })) => {
            Some(format!("ended with exit code {code}"))
        }
        Ok(Some(ContainerState::Exited { code, oom_killed: true, .. })) => {
            Some(format!("ended with exit code {code}, out of memory"))
        }
        Ok(Some(ContainerState::Created | ContainerState::Restarting | ContainerState::Running { .. })) => {
            Some("ended, and is started again".to_owned())
        }
    }
}

pub(super) fn why(error: &RuntimeError) -> String {
    report::chain(error).chars().take(500).collect()
}

fn wire(instance: &str, line: LogLine) -> pb::LogLine {
    pb::LogLine {
        at: line.at.map_or(0, Timestamp::as_millis),
        nanos: line.nanos,
        instance: instance.to_owned(),
        stderr: line.stderr,
        text: line.text,
        cut: line.cut,
        ..pb::LogLine::default()
    }
}
