//! A line of a container on its way, and the words that stand between lines.

use windlass_core::Timestamp;
use windlass_core::reconcile::ContainerState;
use windlass_process::merge::{Entry, Position};
use windlass_process::report;
use windlass_proto::pb::{self, LogNote};

use crate::clock;
use crate::runtime::{LogLine, RuntimeError};

/// Words for lines that were lost to the rotation of the engine's log.
pub(super) const GAP: &str = "lines are missing here: the engine does not keep them any more";
/// Words for what a container wrote while its reader paused, and took with it.
pub(super) const GONE: &str =
    "lines may be missing here: the container was removed before its log was read to the end";

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

impl Line {
    /// A line that an instance wrote.
    pub(super) fn of(instance: &str, line: LogLine) -> Self {
        Self(pb::LogLine {
            at: line.at.map_or(0, Timestamp::as_millis),
            nanos: line.nanos,
            instance: instance.to_owned(),
            stderr: line.stderr,
            text: line.text,
            cut: line.cut,
            ..pb::LogLine::default()
        })
    }

    /// Words about an instance, after the last line that was read of it.
    pub(super) fn note(instance: &str, note: LogNote, text: &str, last: Option<Position>) -> Self {
        let now = clock::now().as_millis();
        let nanos = match (note, last) {
            (LogNote::Dropped, Some(last)) => last.nanos,
            _ => now.saturating_mul(1_000_000).max(last.map_or(0, |last| last.nanos)),
        };
        let (instance, text) = (instance.to_owned(), text.to_owned());
        let (at, note) = (nanos / 1_000_000, note.into());
        Self(pb::LogLine { at, nanos, instance, text, note, ..pb::LogLine::default() })
    }
}

/// The state of a container, as the engine says it; `None` if it has none.
pub(super) type State = Result<Option<ContainerState>, RuntimeError>;

/// The end of a run, for people; `None` if the same run goes on, or nobody knows.
pub(super) fn ending(before: &State, now: &State) -> Option<String> {
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
