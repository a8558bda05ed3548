//! The end of a connection to a coordinator.

use std::time::Duration;

use tonic::Status;
use windlass_process::report;

/// The end of a connection.
#[derive(Debug)]
pub(super) enum Ended {
    /// The coordinator never welcomed us.
    Before {
        /// Why.
        why: String,
        /// The next step of a person.
        hint: Option<&'static str>,
    },
    /// It was up.
    AfterWelcome {
        /// The reason for the end.
        why: String,
    },
    /// We ended it, to come back with a newer certificate before the old one expires.
    Handover,
}

impl Ended {
    /// One line for people.
    pub(super) fn log(&self, address: &str, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::Before { why, hint } => {
                tracing::warn!(address, why, hint, wait_ms, "no link to the coordinator");
            }
            Self::AfterWelcome { why } => {
                tracing::warn!(address, why, wait_ms, "the link to the coordinator broke");
            }
            Self::Handover => tracing::debug!(address, "reconnecting with the renewed certificate"),
        }
    }
}

/// It ended before there was a welcome.
pub(super) fn before(why: &str) -> Ended {
    Ended::Before { why: why.to_owned(), hint: None }
}

/// It ended afterwards.
pub(super) fn after(why: &str) -> Ended {
    Ended::AfterWelcome { why: why.to_owned() }
}

/// A status for people: its message, or what broke the connection.
pub(super) fn words(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(cause) => report::chain(cause),
        None => format!("{} ({:?})", status.message(), status.code()),
    }
}
