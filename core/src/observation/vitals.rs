//! Vitals of an instance, and the trouble of a slot: the first things that a person needs who asks why it does not run.

use serde::{Deserialize, Serialize};

use super::devices::GpuErrors;
use crate::time::Timestamp;

/// Bytes of each text in here; longer ones are cut where they are made and where they are read.
pub const TEXT: usize = 512;

/// Vitals of an instance, beside its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// When the engine started its present run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Its last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// It has never been healthy for min ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
    /// Since when it ends again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_loop: Option<Timestamp>,
    /// The reason for which it is not ready, while it runs and is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<NotReady>,
    /// The question that it has to answer before its rollout may succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Errors of its GPUs; none if it has no GPU, or if nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_errors: Option<GpuErrors>,
}

/// A warm-up request or a smoke test that an instance has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Pending {
    /// Which: `warm-up GET /`, `smoke test GET /health`.
    pub asked: String,
    /// When it is asked, by the host's clock, if that is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

impl Pending {
    /// Cuts what is longer than an agent of ours makes it.
    pub fn bound(&mut self) {
        cut(&mut self.asked, TEXT);
    }
}

impl std::fmt::Display for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.due {
            Some(due) => write!(f, "{}, which is asked at {due}", self.asked),
            None => f.write_str(&self.asked),
        }
    }
}

/// The end of a run that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LastExit {
    /// Exit code of the process.
    pub code: i64,
    /// Whether the kernel killed the process for memory.
    pub oom_killed: bool,
    /// When.
    pub at: Timestamp,
}

impl std::fmt::Display for LastExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.oom_killed {
            write!(f, "killed for memory (exit {})", self.code)
        } else {
            write!(f, "exit {}", self.code)
        }
    }
}

/// The source that says that an instance is not ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A probe of its manifest.
    #[default]
    Probe,
    /// The HEALTHCHECK of its image.
    Image,
    /// The engine: its processes are paused.
    Paused,
    /// One that only a newer agent knows.
    #[serde(other)]
    Other,
}

/// The reason for which an instance that runs is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NotReady {
    /// The source of it.
    pub cause: Cause,
    /// The question: `readiness GET http://10.0.0.5:20000/health/ready`, `image HEALTHCHECK`.
    pub asked: String,
    /// The last answer that was not good: `HTTP 404`, `connection refused`.
    pub answer: String,
    /// So many answers were not good …
    pub failed: u32,
    /// … of so many, since it is not ready.
    pub of: u32,
    /// Since when.
    pub since: Timestamp,
}

impl NotReady {
    /// The paused container.
    pub fn paused(since: Timestamp) -> Self {
        let (asked, answer) = ("container state".to_owned(), "paused".to_owned());
        Self { cause: Cause::Paused, asked, answer, failed: 0, of: 0, since }
    }

    /// Cuts what is longer than it may be.
    pub fn bound(&mut self) {
        cut(&mut self.asked, TEXT);
        cut(&mut self.answer, TEXT);
    }
}

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cause {
            Cause::Paused => f.write_str("the container is paused"),
            Cause::Probe | Cause::Image | Cause::Other => {
                write!(f, "{} → {}", self.asked, self.answer)?;
                if self.of > 0 { write!(f, " ({} of {} failed)", self.failed, self.of) } else { Ok(()) }
            }
        }
    }
}

/// The trouble of a slot: something failed, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotTrouble {
    /// Its kind.
    pub code: TroubleCode,
    /// The message of engine, registry or kernel.
    pub message: String,
    /// The number of failures in a row.
    pub tries: u32,
    /// When it failed first.
    pub since: Timestamp,
    /// When it is tried again.
    pub retry_at: Timestamp,
}

impl SlotTrouble {
    /// Cuts what is longer than it may be.
    pub fn bound(&mut self) {
        cut(&mut self.message, TEXT);
    }
}

impl std::fmt::Display for SlotTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let times = if self.tries == 1 { "once".to_owned() } else { format!("{} times", self.tries) };
        write!(f, "{} (tried {times})", self.message)
    }
}

/// Kinds of what hinders a slot.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TroubleCode {
    /// An image that it needs does not come.
    PullFailed,
    /// Somebody else has a port of the host that it needs.
    PortTaken,
    /// The engine does not make or start its container.
    StartFailed,
    /// Another step failed: stopping, removing.
    StepFailed,
    /// A device that it is to get does not work, or cannot be given.
    DeviceFailed,
    /// The engine or the host failed, whatever was to be started.
    HostFailed,
    /// One that only a newer agent knows.
    #[serde(other)]
    Other,
}

impl TroubleCode {
    /// The code as documents and people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PullFailed => "pull_failed",
            Self::PortTaken => "port_taken",
            Self::StartFailed => "start_failed",
            Self::DeviceFailed => "device_failed",
            Self::HostFailed => "host_failed",
            Self::StepFailed => "step_failed",
            Self::Other => "other",
        }
    }
}

/// Cuts a text at a character.
pub(crate) fn cut(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_what_was_asked_and_what_came() {
        let at = Timestamp::ZERO;
        let mut probe = NotReady {
            cause: Cause::Probe,
            asked: "readiness GET /health/ready".to_owned(),
            answer: "HTTP 404".to_owned(),
            failed: 28,
            of: 28,
            since: at,
        };
        assert_eq!(probe.to_string(), "readiness GET /health/ready → HTTP 404 (28 of 28 failed)");
        assert_eq!(NotReady::paused(at).to_string(), "the container is paused");
        probe.answer = "ä".repeat(TEXT);
        probe.bound();
        assert_eq!(probe.answer.len(), TEXT);
        assert_eq!(LastExit { code: 101, oom_killed: false, at }.to_string(), "exit 101");
        assert_eq!(LastExit { code: 137, oom_killed: true, at }.to_string(), "killed for memory (exit 137)");
    }

    #[test]
    fn words_of_a_newer_agent_are_read() {
        assert_eq!(serde_json::from_str::<TroubleCode>(r#""of_tomorrow""#).unwrap(), TroubleCode::Other);
        assert_eq!(serde_json::from_str::<Cause>(r#""of_tomorrow""#).unwrap(), Cause::Other);
        let all = [
            TroubleCode::PullFailed,
            TroubleCode::PortTaken,
            TroubleCode::StartFailed,
            TroubleCode::StepFailed,
        ];
        for code in all {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
