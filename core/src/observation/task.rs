//! The report of a host on the hooks that it runs.

use serde::{Deserialize, Serialize};

use crate::id::SlotId;
use crate::plan::Task;
use crate::time::Timestamp;
use crate::units::Span;

use super::refusal::Refusal;
use super::vitals::{TEXT, cut};

/// Hooks that one observation tells of.
pub const TASKS: usize = 64;
/// Bytes of the output that is kept of a hook: its end.
pub const TASK_LOG: usize = 16 * 1024;
/// Bytes of the output of all hooks in one observation.
pub const TASK_LOGS: usize = 256 * 1024;

/// The observation of a hook that the plan in force names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskObservation {
    /// Which.
    pub task: Task,
    /// The slot that has it in the plan.
    pub slot: SlotId,
    /// Its state.
    pub state: TaskState,
}

/// The state of a hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Its container is made and started.
    Starting,
    /// Its process runs.
    Running {
        /// Since.
        since: Timestamp,
    },
    /// It is over.
    Ended(Box<TaskEnd>),
}

/// The end of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskEnd {
    /// Its outcome.
    pub outcome: TaskOutcome,
    /// The time that its process ran.
    pub took: Span,
    /// The last lines that it wrote, the oldest first; at most 16 KiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// The outcome of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskOutcome {
    /// Its process exited with 0.
    Succeeded,
    /// Its process exited with another code.
    Exited {
        /// Which.
        code: i64,
    },
    /// The kernel killed it for memory.
    OutOfMemory,
    /// It took too long, and was stopped.
    TimedOut {
        /// The time that it had.
        after: Span,
    },
    /// Its container could not be made or started.
    NotStarted {
        /// The engine's message.
        message: String,
    },
    /// The host did not let it run.
    Refused(Refusal),
    /// Its host lost sight of it while it was made: it may have run, or not. It is not run a second time.
    Interrupted,
    /// It was stopped, since the rollout went another way.
    Stopped,
    /// Nothing was heard of its host for too long. Only coordinators say so.
    Lost {
        /// The time that it was waited for.
        after: Span,
    },
}

impl TaskOutcome {
    /// Whether it did what it is for.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded)
    }

    /// The exit code of its process, if that ended by itself.
    pub const fn exit_code(&self) -> Option<i64> {
        match self {
            Self::Succeeded => Some(0),
            Self::Exited { code } => Some(*code),
            Self::OutOfMemory
            | Self::TimedOut { .. }
            | Self::NotStarted { .. }
            | Self::Refused(_)
            | Self::Interrupted
            | Self::Stopped
            | Self::Lost { .. } => None,
        }
    }

    /// The outcome as documents write it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Exited { .. } => "exited",
            Self::OutOfMemory => "out_of_memory",
            Self::TimedOut { .. } => "timed_out",
            Self::NotStarted { .. } => "not_started",
            Self::Refused(_) => "refused",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
            Self::Lost { .. } => "lost",
        }
    }
}

impl std::fmt::Display for TaskOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Exited { code } => write!(f, "exited with code {code}"),
            Self::OutOfMemory => f.write_str("was killed for running out of memory"),
            Self::TimedOut { after } => write!(f, "was not done after {after}, and was stopped"),
            Self::NotStarted { message } => write!(f, "could not be started: {message}"),
            Self::Refused(refusal) => write!(f, "was refused by the host: {refusal}"),
            Self::Interrupted => f.write_str(
                "was interrupted: its host lost sight of the container, so nobody knows whether it ran, and it is not \
                 run a second time",
            ),
            Self::Stopped => f.write_str("was stopped, since the rollout went another way"),
            Self::Lost { after } => write!(f, "is lost: nothing was heard of it for {after}"),
        }
    }
}

impl TaskEnd {
    /// One that never ran.
    pub fn without_run(outcome: TaskOutcome) -> Self {
        Self { outcome, took: Span::ZERO, log: Vec::new() }
    }

    /// The event, with the last line that it wrote where that says more.
    pub fn words(&self) -> String {
        let last = self.log.iter().rev().find(|line| !line.trim().is_empty());
        match last.filter(|_| !self.outcome.is_success()) {
            Some(line) => {
                let line: String = line.trim().chars().take(200).collect();
                format!("{}: {line}", self.outcome)
            }
            None => self.outcome.to_string(),
        }
    }

    /// Cuts what is longer than an agent of ours makes it.
    pub fn bound(&mut self) {
        keep_end(&mut self.log, TASK_LOG);
        match &mut self.outcome {
            TaskOutcome::NotStarted { message } => cut(message, 4 * TEXT),
            TaskOutcome::Refused(refusal) => refusal.bound(),
            TaskOutcome::Succeeded
            | TaskOutcome::Exited { .. }
            | TaskOutcome::OutOfMemory
            | TaskOutcome::TimedOut { .. }
            | TaskOutcome::Interrupted
            | TaskOutcome::Stopped
            | TaskOutcome::Lost { .. } => {}
        }
    }
}

/// Keeps the last lines that fit into `most` bytes, and no control characters in them. A line counts one byte more than it
/// has.
pub fn keep_end(lines: &mut Vec<String>, most: usize) {
    let mut left = most;
    let mut first = lines.len();
    for (at, line) in lines.iter_mut().enumerate().rev() {
        if line.contains(is_unwanted) {
            *line = line.replace('\t', "    ").replace(is_unwanted, "");
        }
        if line.len() >= left {
            if at + 1 == first && first > 0 && left == most {
                // The only line that there is room for: its end.
                let mut begin = line.len().saturating_sub(most.saturating_sub(1));
                while !line.is_char_boundary(begin) {
                    begin += 1;
                }
                line.drain(..begin);
                first = at;
            }
            break;
        }
        left -= line.len() + 1;
        first = at;
    }
    lines.drain(..first);
}

fn is_unwanted(c: char) -> bool {
    c.is_control()
}

/// Cuts what an observation tells of hooks to its bounds: output of later ones goes first.
pub(super) fn bound(tasks: &mut Vec<TaskObservation>) {
    tasks.truncate(TASKS);
    let mut left = TASK_LOGS;
    for task in tasks {
        cut(&mut task.task.hook, crate::release::MAX_HOOK_NAME);
        if let TaskState::Ended(end) = &mut task.state {
            end.bound();
            keep_end(&mut end.log, left.min(TASK_LOG));
            left -= end.log.iter().map(|line| line.len() + 1).sum::<usize>().min(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_kept_and_no_control_character() {
        let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let mut lines = text(&["first", "\u{1b}[31mred\u{1b}[0m", "a\tb"]);
        keep_end(&mut lines, 100);
        assert_eq!(lines, text(&["first", "[31mred[0m", "a    b"]));
        keep_end(&mut lines, 18);
        assert_eq!(lines, text(&["[31mred[0m", "a    b"]));
        keep_end(&mut lines, 17);
        assert_eq!(lines, text(&["a    b"]));
        let mut long = text(&["x", "aäöü"]);
        keep_end(&mut long, 6);
        assert_eq!(long, text(&["öü"]), "the end of the last line, at a border of characters");
        let mut none = Vec::new();
        keep_end(&mut none, 0);
        assert!(none.is_empty());
        let mut no_room = text(&["x"]);
        keep_end(&mut no_room, 0);
        assert!(no_room.iter().all(String::is_empty), "{no_room:?}");
    }

    #[test]
    fn what_a_captured_host_says_of_hooks_is_bounded() {
        let end = TaskEnd {
            outcome: TaskOutcome::Exited { code: 1 },
            took: Span::ZERO,
            log: vec!["x".repeat(90_000)],
        };
        let task = Task { rollout: "00000001".parse().unwrap(), hook: "h".repeat(9_000) };
        let slot = "production/web/0".parse().unwrap();
        let one = TaskObservation { task, slot, state: TaskState::Ended(Box::new(end)) };
        let mut tasks = vec![one; 500];
        bound(&mut tasks);
        assert_eq!(tasks.len(), TASKS);
        let size = serde_json::to_vec(&tasks).unwrap().len();
        assert!(size < TASK_LOGS + TASKS * 512, "{size}");
    }
}
