//! The way of log lines to the coordinator: batches of at most 64 KiB, over a connection of their own, as fast as the
//! reader reads. Followed lines are never held back at the engine, which would lose them at a rotation of its log and
//! not say so: what a reader does not take in time is dropped here, and counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use windlass_core::observation::Observation;
use windlass_process::merge::{Entry, Merged};
use windlass_proto::limits::LOG_BATCH;
use windlass_proto::pb::{self, LogNote};

use super::source::{CAPACITY, Line, Source};
use super::wanted::{Target, Wanted};
use crate::clock;
use crate::runtime::Runtime;

/// How long a line waits for others to travel with.
const GATHER: Duration = Duration::from_millis(50);
/// Bytes of followed lines that wait for a reader.
const BACKLOG: usize = 4 << 20;

/// Some lines.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<pb::LogLine>,
    /// All that was written before the request is in here, or was before.
    pub(super) current: bool,
    /// Nothing follows; the reason if lines are missing.
    pub(super) end: Option<String>,
}

/// Lines that wait, and those that could not.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    lines: VecDeque<Line>,
    bytes: usize,
    since: Option<Instant>,
    dropped: BTreeMap<String, (u64, i64)>,
}

impl Gathered {
    pub(super) fn push(&mut self, line: Line, now: Instant) {
        self.bytes += line.size();
        self.since.get_or_insert(now);
        self.lines.push_back(line);
    }

    /// Counts a line for which there is no room.
    pub(super) fn drop_line(&mut self, line: &Line) {
        let (count, at) = self.dropped.entry(line.0.instance.clone()).or_insert((0, line.0.nanos));
        *count += 1;
        *at = line.0.nanos.max(*at);
    }

    /// Whether lines were dropped after those that wait.
    fn is_dropping(&self) -> bool {
        !self.dropped.is_empty()
    }

    /// Whether nothing is left to be said.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped.is_empty()
    }

    fn is_full(&self, most: usize) -> bool {
        self.bytes >= most
    }

    /// When the next batch is due.
    fn due_at(&self) -> Option<Instant> {
        let since = self.since?;
        Some(if self.is_full(LOG_BATCH) { since } else { since + GATHER })
    }

    /// The next batch. What was dropped is said once all that waited before it has been sent.
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
        if self.lines.is_empty() {
            let dropped = std::mem::take(&mut self.dropped);
            lines.extend(dropped.into_iter().map(|(instance, (count, nanos))| note(instance, count, nanos)));
        }
        self.since = (!self.lines.is_empty()).then_some(now);
        lines
    }
}

fn note(instance: String, dropped: u64, nanos: i64) -> pb::LogLine {
    let text = format!("{dropped} lines were dropped here: the reader was slower than the log");
    pb::LogLine {
        at: nanos / 1_000_000,
        nanos,
        instance,
        text,
        note: LogNote::Dropped.into(),
        dropped,
        ..pb::LogLine::default()
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
        let (mut merged, mut sources, mut known) = (Merged::new(), JoinSet::new(), BTreeSet::new());
        self.join(&mut merged, &mut sources, &mut known, false);
        if known.is_empty() && !self.wanted.follow {
            return Some("no such instance on this host".to_owned());
        }
        let follow = self.wanted.follow;
        let (mut gathered, mut said_current, mut failed) = (Gathered::default(), false, None);
        loop {
            let is_over = merged.is_empty() && self.ends();
            if is_over && gathered.is_empty() && sources.is_empty() {
                return failed;
            }
            // Only what is written now may be dropped; the past waits at the engine.
            let may_drop = follow && said_current;
            let is_full = gathered.is_full(if may_drop { BACKLOG } else { LOG_BATCH });
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
                line = merged.next(), if !merged.is_empty() && (may_drop || !is_full) => match line {
                    Some((_, line)) if is_full || gathered.is_dropping() => gathered.drop_line(&line),
                    Some((_, line)) => gathered.push(line, Instant::now()),
                    None => {}
                },
                Some(ended) = sources.join_next() => match ended {
                    Ok(why) => failed = why.or(failed),
                    Err(error) => tracing::error!(%error, "reading a log died"),
                },
                changed = self.report.changed(), if follow => {
                    if changed.is_err() { return failed; }
                    self.join(&mut merged, &mut sources, &mut known, true);
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
    fn join(
        &self,
        merged: &mut Merged<Target, Line>,
        sources: &mut JoinSet<Option<String>>,
        known: &mut BTreeSet<Target>,
        joins: bool,
    ) {
        let seen = self.report.borrow().clone();
        for target in self.wanted.targets(&seen) {
            if merged.has(&target) || !known.insert(target.clone()) {
                continue;
            }
            let (out, lines) = mpsc::channel(CAPACITY);
            merged.add(target.clone(), lines);
            let joins = joins && !self.wanted.after.contains_key(&target.instance);
            let (runtime, wanted) = (self.runtime.clone(), self.wanted.clone());
            let source = Source { runtime, target, wanted, report: self.report.clone(), out, joins };
            sources.spawn(source.run());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(nanos: i64, length: usize) -> Line {
        let text = "x".repeat(length);
        Line(pb::LogLine { nanos, instance: "web".to_owned(), text, ..pb::LogLine::default() })
    }

    #[test]
    fn a_batch_has_at_most_64_kib_unless_a_line_is_longer() {
        let (mut gathered, now) = (Gathered::default(), Instant::now());
        for n in 0..1000 {
            gathered.push(line(n, 200), now);
        }
        gathered.push(line(1000, 1 << 20), now);
        let (mut seen, mut batches) = (Vec::new(), 0);
        while !gathered.is_empty() {
            let batch = gathered.take(now);
            let bytes: usize = batch.iter().map(|line| line.text.len()).sum();
            assert!(bytes <= LOG_BATCH || batch.len() == 1);
            seen.extend(batch.iter().map(|line| line.nanos));
            batches += 1;
        }
        assert_eq!(seen, (0..=1000).collect::<Vec<_>>());
        assert!(batches < 12, "{batches}");
    }

    #[test]
    fn what_was_dropped_is_counted_in_its_place() {
        let (mut gathered, now) = (Gathered::default(), Instant::now());
        for n in 0..400 {
            gathered.push(line(n, 200), now);
        }
        assert!(gathered.is_full(LOG_BATCH) && !gathered.is_full(BACKLOG));
        gathered.drop_line(&line(400, 1));
        gathered.drop_line(&line(401, 1));
        let first = gathered.take(now);
        assert!(first.iter().all(|line| line.note == 0), "lines that were kept come first");
        let last = gathered.take(now);
        let note = last.last().unwrap();
        assert_eq!((note.note, note.dropped, note.nanos), (LogNote::Dropped.into(), 2, 401));
        assert!(gathered.is_empty() && !gathered.is_dropping());
    }
}
