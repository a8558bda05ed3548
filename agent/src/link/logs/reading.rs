//! Which of a container's lines are read: the last ones, or all after those that were read already.

use std::collections::VecDeque;

use futures_util::StreamExt;
use windlass_core::Timestamp;
use windlass_process::merge::Position;

use super::wanted::Wanted;
use crate::runtime::{LogLine, LogOptions, Runtime, RuntimeError};

/// Time before the read position from which the engine is asked again: a line that was noted out of order stands there.
const MARGIN: i64 = 2_000;

/// One stream of the engine, and where in it reading begins.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    pub(super) tail: Option<u32>,
    pub(super) since: Option<Timestamp>,
    pub(super) follow: bool,
    /// Lines at the beginning that are skipped: the first may be the end of a longer one.
    pub(super) skip: u32,
    /// Position up to which it was read already.
    pub(super) after: Option<Position>,
}

/// All lines after those that were read.
pub(super) fn after(last: Position) -> Reading {
    let since = Some(Timestamp::from_millis((last.nanos / 1_000_000).saturating_sub(MARGIN).max(0)));
    Reading { since, after: Some(last), ..Reading::default() }
}

/// Lines among which one may stand out of order: a container's two streams are noted side by side.
const DISORDER: usize = 64;

/// Tells lines that were read from those that were not, over all streams of one container.
#[derive(Debug)]
pub(super) struct Resume {
    newest: Option<Position>,
    /// Times of the last lines.
    recent: VecDeque<i64>,
    /// Lines up to here are known, until they are passed.
    after: Option<Position>,
    is_found: bool,
    /// The engine was asked for what comes after the newest line, which has to be there.
    is_asked: bool,
}

/// The fate of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was read already.
    Known,
    /// It is the next one.
    New,
    /// It is new, and lines before it are missing.
    NewAfterGap,
}

impl Resume {
    /// So far it was read.
    pub(super) const fn new(newest: Option<Position>) -> Self {
        Self { newest, recent: VecDeque::new(), after: None, is_found: false, is_asked: false }
    }

    /// Position up to which it was read.
    pub(super) const fn newest(&self) -> Option<Position> {
        self.newest
    }

    /// A new stream begins, `after` these lines.
    pub(super) const fn begin(&mut self, after: Option<Position>) {
        (self.after, self.is_found, self.is_asked) = (after, false, true);
    }

    /// Judges the next line of the stream, and takes it for read.
    pub(super) fn judge(&mut self, nanos: i64) -> Fate {
        if self.after.is_none() && self.is_again(nanos) {
            // An engine that rotates its log while it is read may begin the newest file once more.
            (self.after, self.is_found, self.is_asked) = (self.newest, false, false);
        }
        let fate = self.compare(nanos);
        if fate != Fate::Known {
            self.newest.get_or_insert_default().read(nanos);
            self.recent.push_back(nanos);
            if self.recent.len() > DISORDER {
                self.recent.pop_front();
            }
        }
        fate
    }

    /// Returns whether a line is older than any that can be new.
    fn is_again(&self, nanos: i64) -> bool {
        let is_older = nanos > 0 && self.newest.is_some_and(|newest| nanos < newest.nanos);
        let is_out = self.recent.len() == DISORDER && self.recent.iter().all(|recent| nanos < *recent);
        is_older && (is_out || self.recent.contains(&nanos))
    }

    /// The newest line that was read must be there: if it is not, the engine keeps it no more, and nobody knows how many
    /// others.
    fn compare(&mut self, nanos: i64) -> Fate {
        let Some(after) = &mut self.after else { return Fate::New };
        let is_newer = nanos <= 0 || nanos > after.nanos;
        match (is_newer, self.is_found) {
            (true, _) => {
                self.after = None;
                if self.is_found || !self.is_asked { Fate::New } else { Fate::NewAfterGap }
            }
            (false, false) => {
                self.is_found = nanos == after.nanos;
                Fate::Known
            }
            (false, true) if after.older > 0 => {
                after.older -= 1;
                Fate::Known
            }
            (false, true) => Fate::New,
        }
    }
}

/// Counts of the lines that the engine keeps.
#[derive(Debug, Default)]
struct Counted {
    entries: u64,
    lines: u64,
    /// Entries of the last lines that are wanted.
    wanted: u64,
    /// Entries that are too new.
    newer: u64,
}

/// Number of the engine's entries that make up the last lines. It counts parts of long lines one by one, and lines that are too
/// new.
pub(super) async fn window<R: Runtime>(
    runtime: &R,
    container: &str,
    wanted: &Wanted,
    last: Option<Position>,
) -> Result<Reading, RuntimeError> {
    if let Some(last) = last {
        return Ok(after(last));
    }
    let Some(tail) = wanted.tail else {
        return Ok(Reading { since: wanted.since, ..Reading::default() });
    };
    if tail == 0 {
        return Ok(Reading { tail: Some(0), ..Reading::default() });
    }
    if wanted.until.is_none() {
        let counted = count(runtime, container, Some(tail.saturating_add(1)), tail, None).await?;
        if counted.entries <= u64::from(tail) {
            return Ok(Reading::default());
        }
        if counted.entries == counted.lines {
            return Ok(Reading { tail: Some(tail.saturating_add(1)), skip: 1, ..Reading::default() });
        }
    }
    let counted = count(runtime, container, None, tail, wanted.until).await?;
    if counted.wanted + counted.newer >= counted.entries {
        return Ok(Reading::default());
    }
    let entries = u32::try_from(counted.wanted + counted.newer + 1).unwrap_or(u32::MAX);
    Ok(Reading { tail: Some(entries), skip: 1, ..Reading::default() })
}

async fn count<R: Runtime>(
    runtime: &R,
    container: &str,
    tail: Option<u32>,
    most: u32,
    until: Option<Timestamp>,
) -> Result<Counted, RuntimeError> {
    let mut lines = runtime.logs(container, LogOptions { tail, ..LogOptions::default() });
    let mut counted = Counted::default();
    let mut parts = VecDeque::new();
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

pub(super) fn is_before(line: &LogLine, until: Option<Timestamp>) -> bool {
    until.is_none_or(|until| line.at.is_none_or(|at| at < until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(after: Option<(i64, u32)>, times: &[i64]) -> Vec<Fate> {
        let after = after.map(|(nanos, older)| Position { nanos, older });
        let mut resume = Resume::new(after);
        resume.begin(after);
        times.iter().map(|nanos| resume.judge(*nanos)).collect()
    }

    #[test]
    fn lines_that_were_read_are_told_from_new_ones() {
        use Fate::{Known, New, NewAfterGap};
        type Row = (Option<(i64, u32)>, &'static [i64], &'static [Fate]);
        #[rustfmt::skip]
        let table: [Row; 8] = [
            (None, &[1, 2], &[New, New]),
            (Some((2, 0)), &[1, 2, 3, 4], &[Known, Known, New, New]),
            (Some((2, 0)), &[3, 4], &[NewAfterGap, New]),
            (Some((2, 0)), &[1, 3], &[Known, NewAfterGap]),
            // The line of 4 was noted after the one of 5: once it was read, and once it was not.
            (Some((5, 1)), &[5, 4, 6], &[Known, Known, New]),
            (Some((5, 0)), &[5, 4, 6], &[Known, New, New]),
            (Some((5, 2)), &[5, 5, 4, 3], &[Known, Known, Known, New]),
            // An engine that says no times can only be read on.
            (Some((5, 0)), &[0, 0], &[NewAfterGap, New]),
        ];
        for (after, times, want) in table {
            assert_eq!(judged(after, times), want, "{after:?} {times:?}");
        }
    }

    #[test]
    fn a_file_that_the_engine_begins_again_is_not_shown_again() {
        let mut resume = Resume::new(None);
        let mut read = |times: &[i64]| {
            let fates: Vec<Fate> = times.iter().map(|nanos| resume.judge(*nanos)).collect();
            times
                .iter()
                .zip(fates)
                .filter(|(_, fate)| *fate != Fate::Known)
                .map(|(nanos, _)| *nanos)
                .collect()
        };
        let all: Vec<i64> = (1..=1000).collect();
        let shown: Vec<i64> = read(&all);
        assert_eq!(shown, all);
        assert_eq!(read(&(400..=1002).collect::<Vec<_>>()), [1001, 1002], "most of it again");
        assert_eq!(read(&[1001, 1002, 1003]), [1003], "a little of it again");
        // Noted at the same time, and a little out of order.
        assert_eq!(read(&[1003, 1010, 1008, 1011]), [1003, 1010, 1008, 1011]);
        assert_eq!(read(&[1010, 1008, 1011, 1012]), [1012]);
    }
}
