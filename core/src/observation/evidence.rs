//! The evidence of an instance's failure: the facts that a person, and a verdict, needs to see.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::Counter;
use crate::time::{Timestamp, display_measured};
use crate::units::Span;

use super::vitals::{NotReady, TEXT, cut};

/// The reason for which an instance failed, with the evidence for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Evidence {
    /// The instance, if one was made.
    pub instance: Option<String>,
    /// Its release.
    pub release: Digest,
    /// The number of its release.
    pub counter: Counter,
    /// Which clock ran.
    pub clock: Clock,
    /// The event.
    pub reason: FailureReason,
    /// Exit code of the process, if it ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed the process for memory.
    pub oom_killed: bool,
    /// The number of restarts before.
    pub restarts: u32,
    /// The last lines it wrote, the oldest first; at most 20, each at most 500 bytes.
    pub log: Vec<String>,
    /// The log was not read: the coordinator judged, which sees no log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log_unread: bool,
    /// The last answers to its probes, the oldest first; at most 10.
    pub probes: Vec<ProbeResult>,
    /// When it was judged, by the host's clock.
    pub at: Timestamp,
    /// The reason for which it was not ready, if it ran and was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<NotReady>,
    /// Whose fault it was.
    #[serde(default, skip_serializing_if = "Fault::is_releases")]
    pub fault: Fault,
}

/// Whose fault a failure is. A release is condemned for its own only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The release's, as far as is known.
    #[default]
    Release,
    /// The fault of a device that it was given: a GPU that is lost or does not answer.
    Device,
    /// The engine's or the host's.
    Host,
    /// One that only a newer agent knows: not the release's.
    #[serde(other)]
    Other,
}

impl Fault {
    /// Whether it is the release's.
    pub const fn is_releases(&self) -> bool {
        matches!(self, Self::Release)
    }
}

/// Lines of a log, and answers of probes.
const LINES: usize = 20;

impl Evidence {
    /// Evidence without a look at an instance.
    pub fn of(
        release: Digest,
        counter: Counter,
        (clock, reason): (Clock, FailureReason),
        at: Timestamp,
    ) -> Self {
        Self {
            instance: None,
            release,
            counter,
            clock,
            reason,
            exit_code: None,
            oom_killed: false,
            restarts: 0,
            log: Vec::new(),
            log_unread: false,
            probes: Vec::new(),
            at,
            not_ready: None,
            fault: Fault::Release,
        }
    }

    /// The event, with the last answer where that says more.
    pub fn words(&self) -> String {
        let words = self.reason_words();
        match self.fault {
            Fault::Release => words,
            Fault::Device => format!("{words} (its GPU failed, not the release)"),
            Fault::Host | Fault::Other => format!("{words} (its host failed, not the release)"),
        }
    }

    fn reason_words(&self) -> String {
        match (&self.reason, &self.not_ready) {
            (FailureReason::NotHealthyInTime { deadline }, Some(why)) => {
                format!("not ready for {}; {why}", display_measured(deadline.duration()))
            }
            (FailureReason::LivenessFailed | FailureReason::UnreadyTooLong { .. }, Some(why)) => {
                format!("{}; {why}", self.reason)
            }
            (reason, _) => reason.to_string(),
        }
    }

    /// Cuts what is longer than an agent of ours makes it.
    pub fn bound(&mut self) {
        self.log.truncate(LINES);
        self.log.iter_mut().for_each(|line| cut(line, TEXT));
        self.probes.truncate(LINES);
        for probe in &mut self.probes {
            cut(&mut probe.probe, TEXT);
            cut(&mut probe.detail, TEXT);
        }
        self.not_ready.iter_mut().for_each(NotReady::bound);
        if let FailureReason::PullFailed { message } | FailureReason::StartFailed { message } =
            &mut self.reason
        {
            cut(message, 4 * TEXT);
        }
        if let FailureReason::SmokeFailed { test } = &mut self.reason {
            test.bound();
        }
    }
}

/// The four clocks of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Until its image is there.
    Pull,
    /// Until its process runs.
    Start,
    /// Until it has been healthy for min ready.
    Health,
    /// Until its rollout succeeded.
    Soak,
}

impl Clock {
    /// The clock as documents and tables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Start => "start",
            Self::Health => "health",
            Self::Soak => "soak",
        }
    }

    /// The phase of the instance that the clock measures, for people.
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Pull => "pulling the image",
            Self::Start => "starting",
            Self::Health => "waiting for health checks",
            Self::Soak => "serving, not yet good",
        }
    }
}

/// The event of an instance that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The image could not be pulled.
    PullFailed {
        /// The message of engine or registry.
        message: String,
    },
    /// No byte of the image came for this long.
    PullStalled {
        /// The time.
        after: Span,
    },
    /// The container could not be made or started.
    StartFailed {
        /// The engine's message.
        message: String,
    },
    /// A port of the host is taken by somebody else.
    PortTaken {
        /// Which.
        port: u16,
    },
    /// The process ended.
    Exited {
        /// With this code.
        code: i64,
    },
    /// The kernel killed it for memory.
    OutOfMemory,
    /// It was not healthy in time.
    NotHealthyInTime {
        /// The deadline that passed.
        deadline: Span,
    },
    /// Its liveness probe failed.
    LivenessFailed,
    /// It was healthy once, and then not ready for too long.
    UnreadyTooLong {
        /// The time.
        after: Span,
    },
    /// A smoke test was not answered as it should have been.
    SmokeFailed {
        /// Which, and how.
        test: Box<SmokeFailure>,
    },
}

impl FailureReason {
    /// Returns whether a failure by the release's own fault quarantines its content. Failed pulls and taken ports do not: the
    /// content never ran.
    pub const fn quarantines(&self) -> bool {
        !matches!(self, Self::PullFailed { .. } | Self::PullStalled { .. } | Self::PortTaken { .. })
    }
}

impl std::fmt::Display for FailureReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PullFailed { message } => said_once(f, "the image could not be pulled: ", message),
            Self::PullStalled { after } => {
                write!(f, "the pull got no byte for {}", display_measured(after.duration()))
            }
            Self::StartFailed { message } => said_once(f, "the container could not be started: ", message),
            Self::PortTaken { port } => write!(f, "port {port} of the host is taken"),
            Self::Exited { code } => write!(f, "the process exited with code {code}"),
            Self::OutOfMemory => f.write_str("the process was killed for running out of memory"),
            Self::NotHealthyInTime { deadline } => {
                write!(f, "it was not healthy within {}", display_measured(deadline.duration()))
            }
            Self::LivenessFailed => f.write_str("its liveness probe failed"),
            Self::UnreadyTooLong { after } => {
                write!(f, "it was unready for {}", display_measured(after.duration()))
            }
            Self::SmokeFailed { test } => test.fmt(f),
        }
    }
}

/// Writes words before a message, which may be the words of such a reason itself.
fn said_once(f: &mut std::fmt::Formatter<'_>, words: &str, message: &str) -> std::fmt::Result {
    write!(f, "{words}{}", message.trim_start_matches(words))
}

/// A smoke test that was not answered as it should have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SmokeFailure {
    /// The question: `GET /health`.
    pub asked: String,
    /// The wanted answer: `/database = "connected"`, `status 200`.
    pub wanted: String,
    /// The answer in its place: `"down"`, `HTTP 503`, `connection refused`.
    pub got: String,
    /// Status of the last answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The first characters of its body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// The time of the last answer.
    pub took: Span,
    /// The number of tries.
    pub tries: u32,
}

impl SmokeFailure {
    /// Cuts what is longer than an agent of ours makes it.
    fn bound(&mut self) {
        for text in [&mut self.asked, &mut self.wanted, &mut self.got, &mut self.body] {
            cut(text, 2 * TEXT);
        }
    }

    /// The last answer in words: `HTTP 200 after 12ms, asked 3 times: {"status":"ok"}`.
    pub fn answer(&self) -> String {
        let status = self.status.map_or_else(|| "no answer".to_owned(), |status| format!("HTTP {status}"));
        let times = if self.tries == 1 { "once".to_owned() } else { format!("{} times", self.tries) };
        let body = if self.body.is_empty() { String::new() } else { format!(": {}", self.body) };
        format!("{status} after {}, asked {times}{body}", self.took)
    }
}

impl std::fmt::Display for SmokeFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "smoke test {}: wanted {}, got {}", self.asked, self.wanted, self.got)
    }
}

/// One answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProbeResult {
    /// When it was asked.
    pub at: Timestamp,
    /// `startup`, `readiness` or `liveness`.
    pub probe: String,
    /// Whether the answer was good.
    pub ok: bool,
    /// The answer: `HTTP 503`, `connection refused`, `exit 1`, `timed out after 3s`.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_a_reason_is_said_once() {
        let start = |message: &str| FailureReason::StartFailed { message: message.to_owned() };
        let first = start("no such device");
        let again = start(&format!("{first} (tried 3 times)"));
        assert_eq!(again.to_string(), "the container could not be started: no such device (tried 3 times)");
        let pull = |message: &str| FailureReason::PullFailed { message: message.to_owned() };
        assert_eq!(pull(&pull("denied").to_string()).to_string(), "the image could not be pulled: denied");
        let port = FailureReason::PortTaken { port: 80 };
        let words = "the container could not be started: port 80 of the host is taken";
        assert_eq!(start(&port.to_string()).to_string(), words);
    }
}
