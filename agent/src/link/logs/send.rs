//! The way of log lines to the coordinator: batches of at most 64 KiB, over a connection of their own, as fast as the
//! reader reads. A line that a reader has no time for is not dropped: it stays in the engine's log, and is read there when
//! there is room ([`super::source`]).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use windlass_core::observation::Observation;
use windlass_process::merge::{Entry, Merged};
use windlass_proto::limits::LOG_BATCH;
use windlass_proto::pb;

use super::line::Line;
use super::source::{CAPACITY, Source};
use super::wanted::{Target, Wanted};
use crate::clock;
use crate::runtime::Runtime;

/// Time that a line waits for others to travel with.
const GATHER: Duration = Duration::from_millis(50);
/// Bytes of followed lines that wait for a reader.
const BACKLOG: usize = 1 << 20;

/// Some lines.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<pb::LogLine>,
    /// All that was written before the request is in here, or was before.
    pub(super) current: bool,
    /// Nothing follows; the reason if lines are missing.
    pub(super) end: Option<String>,
}

/// Lines that wait.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    lines: VecDeque<Line>,
    bytes: usize,
    since: Option<Instant>,
}

impl Gathered {
    pub(super) fn push(&mut self, line: Line, now: Instant) {
        self.bytes += line.size();
        self.since.get_or_insert(now);
        self.lines.push_back(line);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn is_full(&self, most: usize) -> bool {
        self.bytes >= most
    }

    /// When the next batch is due.
    fn due_at(&self) -> Option<Instant> {
        let since = self.since?;
        Some(if self.is_full(LOG_BATCH) { since } else { since + GATHER })
    }

    /// The next batch.
    pub(super) fn take(&mut self, now: Instant) -> Vec<pb::LogLine> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while let Some(line) = self.lines.front() {
            if !lines.is_empty() && bytes + line.size() > LOG_BATCH {
                break;
            }
            bytes += line.size();
            lines.extend(self.lines.pop_front().map(|line| line.0));
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.since = (!self.lines.is_empty()).then_some(now);
        lines
    }
}

/// The answer to one request.
pub(super) struct Answer<R> {
    pub(super) runtime: Arc<R>,
    pub(super) wanted: Arc<Wanted>,
    pub(super) report: watch::Receiver<Arc<Observation>>,
}

impl<R: Runtime> Answer<R> {
    /// Sends lines until there are no more, or nobody reads. Answers with why some are missing, if they are.
    pub(super) async fn run(mut self, out: mpsc::Sender<Batch>) -> Option<String> {
        let mut reading = Reading::default();
        self.join(&mut reading, false);
        // Another host may run the release that was named.
        if reading.known.is_empty() && !self.wanted.names_release() && !self.wanted.follow {
            return Some("no such instance on this host".to_owned());
        }
        let follow = self.wanted.follow;
        let (mut gathered, mut said_current, mut failed) = (Gathered::default(), false, None);
        let most = if follow { BACKLOG } else { LOG_BATCH };
        loop {
            let Reading { merged, sources, is_held, .. } = &mut reading;
            let is_over = merged.is_empty() && self.ends();
            if is_over && gathered.is_empty() && sources.is_empty() {
                return failed;
            }
            let is_full = gathered.is_full(most);
            // Sources that were held up go on when most is sent: each has to look for its place in the engine's log.
            let holds = is_full || *is_held.borrow() && gathered.is_full(LOG_BATCH);
            is_held.send_if_modified(|is_held| std::mem::replace(is_held, holds) != holds);
            let becomes_current = merged.is_current() && !said_current;
            let due = gathered.due_at();
            let is_due = due.is_some_and(|at| is_over || at <= Instant::now()) || becomes_current;
            let left = self.wanted.until.filter(|_| follow).map(|until| until.since(clock::now()));
            tokio::select! {
                biased;
                permit = out.reserve(), if is_due => {
                    let Ok(permit) = permit else { return failed };
                    let lines = gathered.take(Instant::now());
                    said_current |= becomes_current && gathered.is_empty();
                    permit.send(Batch { lines, current: said_current, end: None });
                }
                line = merged.next(), if !merged.is_empty() && !is_full => {
                    if let Some((_, line)) = line {
                        gathered.push(line, Instant::now());
                    }
                }
                Some(ended) = sources.join_next() => match ended {
                    Ok(why) => failed = why.or(failed),
                    Err(error) => tracing::error!(%error, "reading a log died"),
                },
                changed = self.report.changed(), if follow => {
                    if changed.is_err() { return failed; }
                    self.join(&mut reading, true);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !is_due => {}
                () = sleep(left.unwrap_or_default()), if left.is_some_and(|left| !left.is_zero()) => {}
                () = out.closed() => return failed,
            }
        }
    }

    /// Returns whether the answer ends when no container is left to be read.
    fn ends(&self) -> bool {
        !self.wanted.follow
            || self.wanted.names_instances()
            || self.wanted.until.is_some_and(|until| clock::now() >= until)
    }

    /// Begins to read the containers that are meant and are not read yet.
    fn join(&self, reading: &mut Reading, joins: bool) {
        let seen = self.report.borrow().clone();
        for target in self.wanted.targets(&seen) {
            if reading.merged.has(&target) || !reading.known.insert(target.clone()) {
                continue;
            }
            let (out, lines) = mpsc::channel(CAPACITY);
            reading.merged.add(target.clone(), lines);
            let source = Source {
                runtime: self.runtime.clone(),
                joins: joins && !self.wanted.after.contains_key(&target.instance),
                target,
                wanted: self.wanted.clone(),
                report: self.report.clone(),
                out,
                is_held: reading.is_held.subscribe(),
            };
            reading.sources.spawn(source.run());
        }
    }
}

/// The containers that are read.
struct Reading {
    merged: Merged<Target, Line>,
    sources: JoinSet<Option<String>>,
    known: BTreeSet<Target>,
    is_held: watch::Sender<bool>,
}

impl Default for Reading {
    fn default() -> Self {
        let (is_held, _) = watch::channel(false);
        Self { merged: Merged::new(), sources: JoinSet::new(), known: BTreeSet::new(), is_held }
    }
}

#[cfg(test)]
mod tests;
