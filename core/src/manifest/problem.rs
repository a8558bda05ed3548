//! A mistake in a manifest, worded so that its author can fix it: position, reason, and a hint.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A place in a file.
    File {
        /// The file, as the caller named it.
        #[serde(serialize_with = "as_text")]
        file: Arc<str>,
        /// Line, from 1.
        line: u64,
        /// Column in characters, from 1.
        column: u64,
    },
    /// Given beside the files: `--set image=…`, `-e production`.
    Given(#[serde(serialize_with = "as_text")] Arc<str>),
    /// Nobody wrote it.
    Default,
}

/// Shared text as text: serde knows `Arc` only behind a feature.
fn as_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Given(text) => f.write_str(text),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong, or (as a warning) surprising.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where.
    pub at: Origin,
    /// The key, like `strategy.rolling.batch`; empty where the whole document is meant.
    pub path: String,
    /// The mistake, and the expected value.
    pub reason: String,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{}: {}", self.at, self.reason)?,
            path => write!(f, "{}: `{path}`: {}", self.at, self.reason)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with some manifests, in the order of the documents. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Errors(pub Vec<Problem>);

impl Errors {
    /// `Ok(value)` if nothing is wrong.
    pub(super) fn unless_empty<T>(problems: Vec<Problem>, value: T) -> Result<T, Self> {
        if problems.is_empty() { Ok(value) } else { Err(Self(problems)) }
    }
}

impl From<Problem> for Errors {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}
