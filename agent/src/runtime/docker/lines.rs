//! Lines from the entries of a container's log. The engine splits a line at 16 KiB; here its parts are joined.

use std::collections::VecDeque;

use futures_util::stream::{self, Stream, StreamExt};
use windlass_core::Timestamp;
use windlass_proto::limits::MAX_LOG_LINE;

use super::super::{LogLine, RuntimeError};
use super::inspect::LogEntry;

/// A line whose end did not come yet.
#[derive(Debug)]
struct Open {
    line: LogEntry,
    parts: u32,
    cut: bool,
    last: i64,
}

/// Parts of lines whose end did not come yet: one of stdout, one of stderr.
#[derive(Debug, Default)]
struct Joiner {
    open: [Option<Open>; 2],
}

impl Joiner {
    /// Takes in an entry; answers with the line that it ends. Its place is that of its last part, its time that of the first.
    fn take(&mut self, entry: LogEntry) -> Option<LogLine> {
        let place = &mut self.open[usize::from(entry.stderr)];
        let (is_end, last) = (entry.is_end, entry.nanos);
        let (mut line, parts, cut) = match place.take() {
            None => (entry, 1, false),
            Some(Open { mut line, parts, cut, .. }) => {
                line.text.extend_from_slice(&entry.text);
                (line, parts.saturating_add(1), cut)
            }
        };
        let cut = cut || line.text.len() > MAX_LOG_LINE;
        line.text.truncate(MAX_LOG_LINE);
        let open = Open { line, parts, cut, last };
        if is_end {
            return Some(finish(open));
        }
        *place = Some(open);
        None
    }

    /// The parts that are left when the log ends in the middle of a line.
    fn rest(&mut self) -> VecDeque<LogLine> {
        let mut rest: Vec<LogLine> = self.open.iter_mut().filter_map(Option::take).map(finish).collect();
        rest.sort_by_key(|line| line.nanos);
        rest.into()
    }
}

fn finish(Open { line, parts, cut, last }: Open) -> LogLine {
    let mut bytes = line.text;
    if cut {
        // Not in the middle of a character.
        let tail = bytes.iter().rev().take(4).position(|byte| *byte & 0xc0 != 0x80).unwrap_or(0);
        let is_split = bytes.len() > tail && std::str::from_utf8(&bytes[bytes.len() - tail - 1..]).is_err();
        bytes.truncate(bytes.len() - if is_split { tail + 1 } else { 0 });
    }
    let at = (line.nanos > 0).then(|| Timestamp::from_millis(line.nanos / 1_000_000));
    let mut text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    // A byte that is no character becomes one of three bytes.
    let most = text.floor_char_boundary(MAX_LOG_LINE);
    let cut = cut || text.len() > most;
    text.truncate(most);
    LogLine { at, nanos: last, stderr: line.stderr, text, cut, parts }
}

/// The lines of a log.
pub(super) fn lines(
    entries: impl Stream<Item = Result<LogEntry, RuntimeError>> + Send + 'static,
) -> impl Stream<Item = Result<LogLine, RuntimeError>> + Send + 'static {
    struct State<S> {
        entries: std::pin::Pin<Box<S>>,
        joiner: Joiner,
        rest: VecDeque<LogLine>,
        is_over: bool,
    }
    let state = State {
        entries: Box::pin(entries),
        joiner: Joiner::default(),
        rest: VecDeque::new(),
        is_over: false,
    };
    stream::unfold(state, |mut state| async move {
        loop {
            if let Some(line) = state.rest.pop_front() {
                return Some((Ok(line), state));
            }
            if state.is_over {
                return None;
            }
            match state.entries.next().await {
                Some(Ok(entry)) => {
                    if let Some(line) = state.joiner.take(entry) {
                        return Some((Ok(line), state));
                    }
                }
                Some(Err(error)) => return Some((Err(error), state)),
                None => {
                    state.is_over = true;
                    state.rest = state.joiner.rest();
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(nanos: i64, stderr: bool, text: &str, is_end: bool) -> LogEntry {
        LogEntry { nanos, stderr, text: text.as_bytes().to_vec(), is_end }
    }

    async fn joined(entries: Vec<LogEntry>) -> Vec<LogLine> {
        lines(stream::iter(entries.into_iter().map(Ok))).map(Result::unwrap).collect().await
    }

    #[tokio::test]
    async fn parts_of_a_line_are_joined() {
        let long = "x".repeat(16 * 1024);
        let seen = joined(vec![
            entry(1, false, &long, false),
            entry(2, true, "between", true),
            entry(3, false, &long, false),
            entry(4, false, "end", true),
            entry(5, false, "no end", false),
        ])
        .await;
        let shape: Vec<_> = seen.iter().map(|l| (l.nanos, l.text.len(), l.cut, l.parts)).collect();
        assert_eq!(shape, [(2, 7, false, 1), (4, 2 * 16 * 1024 + 3, false, 3), (5, 6, false, 1)]);
    }

    #[tokio::test]
    async fn a_line_is_cut_at_a_mebibyte_and_marked() {
        let part = "ä".repeat(8 * 1024);
        let mut entries: Vec<LogEntry> = (0..80).map(|n| entry(n, false, &part, false)).collect();
        entries.insert(0, entry(0, false, "a", false));
        entries.push(entry(99, false, "end", true));
        entries.push(entry(100, false, "next", true));
        let seen = joined(entries).await;
        assert_eq!((seen[0].text.len(), seen[0].cut, seen[0].parts), (MAX_LOG_LINE - 1, true, 82));
        assert!(!seen[0].text.contains('\u{fffd}'));
        assert_eq!((seen[1].text.as_str(), seen[1].cut), ("next", false));
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_make_a_line_no_longer() {
        let entry = LogEntry { nanos: 1, stderr: false, text: vec![0xff; MAX_LOG_LINE], is_end: true };
        let seen = joined(vec![entry]).await;
        assert!((MAX_LOG_LINE - 2..=MAX_LOG_LINE).contains(&seen[0].text.len()), "{}", seen[0].text.len());
        assert!(seen[0].cut);
    }
}
