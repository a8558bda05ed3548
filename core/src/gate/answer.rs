//! The answer of a provider, and the ways in which there is none.

use serde::{Deserialize, Serialize};

use super::Number;
use crate::time::Timestamp;

/// Bytes of an answer that are kept.
const RAW: usize = 2048;
/// Bytes of a fault's words.
const DETAIL: usize = 300;

/// The answer of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Answer {
    /// The query or the address, as it was sent.
    pub sent: String,
    /// When it was sent.
    pub at: Timestamp,
    /// The time that the answer took, in milliseconds.
    pub took_ms: u64,
    /// The answer, or the fault.
    pub said: Said,
    /// The answer's bytes as text, as far as they are kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub raw: String,
    /// Whether there were more bytes than are kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// The word of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// A number.
    Number(Number),
    /// Pass (true) or fail (false): the provider judges by itself.
    Passes(bool),
    /// Nothing that counts.
    Fault {
        /// Why.
        kind: AnswerFault,
        /// The details.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
}

/// The reason for which an answer does not count. Each is a provider error, and none is ever a fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFault {
    /// The address is none that the coordinator may ask.
    NotAllowed,
    /// No connection.
    NoConnection,
    /// No whole answer in time.
    TimedOut,
    /// The answer is longer than 64 KiB.
    TooLarge,
    /// A status that is not 200.
    Status,
    /// The answer is not the JSON that was asked for.
    NotJson,
    /// Prometheus did not run the query.
    QueryFailed,
    /// No series, or no value at the place.
    Empty,
    /// More series than one.
    SeveralSeries,
    /// The value is not a number.
    NotANumber,
    /// The value is infinite.
    Infinite,
    /// The value is older than two windows.
    Stale,
    /// The value is of more than 60 s from now.
    Future,
    /// The question was not asked in time.
    NotAsked,
}

impl AnswerFault {
    /// Every fault.
    pub const ALL: [Self; 14] = [
        Self::NotAllowed,
        Self::NoConnection,
        Self::TimedOut,
        Self::TooLarge,
        Self::Status,
        Self::NotJson,
        Self::QueryFailed,
        Self::Empty,
        Self::SeveralSeries,
        Self::NotANumber,
        Self::Infinite,
        Self::Stale,
        Self::Future,
        Self::NotAsked,
    ];

    /// The fault in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotAllowed => "the coordinator may not ask this address",
            Self::NoConnection => "no connection to the provider",
            Self::TimedOut => "the provider did not answer in time",
            Self::TooLarge => "the answer is longer than 64 KiB",
            Self::Status => "the provider answered with an error",
            Self::NotJson => "the answer is not the JSON that was asked for",
            Self::QueryFailed => "Prometheus did not run the query",
            Self::Empty => "the answer has no value",
            Self::SeveralSeries => "the answer has several series, and a gate wants one",
            Self::NotANumber => "the value is not a number (NaN)",
            Self::Infinite => "the value is infinite",
            Self::Stale => "the value is older than two windows",
            Self::Future => "the value is from the future: the clocks differ by more than 60 s",
            Self::NotAsked => "the question was not asked in time",
        }
    }
}

impl Said {
    /// A fault; words that are too long are cut.
    pub fn fault(kind: AnswerFault, detail: impl Into<String>) -> Self {
        let mut detail: String =
            detail.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        detail.truncate(detail.floor_char_boundary(DETAIL));
        Self::Fault { kind, detail }
    }
}

impl Answer {
    /// No answer, since nobody asked in time.
    pub fn missing(at: Timestamp) -> Self {
        let said = Said::fault(AnswerFault::NotAsked, "");
        Self { sent: String::new(), at, took_ms: 0, said, raw: String::new(), cut: false }
    }

    /// Keeps the answer's bytes, as far as there is room.
    #[must_use]
    pub fn with_raw(mut self, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let end = text.floor_char_boundary(RAW);
        self.cut = end < text.len();
        text[..end].clone_into(&mut self.raw);
        self
    }
}
