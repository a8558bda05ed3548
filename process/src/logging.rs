//! Logging to stderr: lines for people or JSON for collectors. Stdout belongs to results.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One readable line per event, coloured on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The format is neither `human` nor `json`.
    #[error("`{0}` is not a log format (`human` or `json`)")]
    UnknownFormat(String),
    /// The filter does not parse.
    #[error("`{filter}` is not a log filter (like `info` or `info,windlass_agent=debug`)")]
    InvalidFilter {
        /// The text that was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else has already set up logging in this process.
    #[error("logging is already set up")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
}

impl FromStr for Format {
    type Err = LoggingError;
    fn from_str(text: &str) -> Result<Self, LoggingError> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            other => Err(LoggingError::UnknownFormat(other.chars().take(80).collect())),
        }
    }
}

/// What libraries say of the bytes that a peer sends, a line each: nobody's flood becomes a log. A filter that names
/// them has its way.
const QUIET: &str = "h2=error,hyper=error,hyper_util=error,rustls=error,tonic=error,tower=error";

/// Sends this process's events that pass `filter` to stderr. Once per process; colour only on a terminal
/// and without `NO_COLOR`.
pub fn init(format: Format, filter: &str) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|source| LoggingError::InvalidFilter { filter: filter.to_owned(), source })?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Human => lines.with_ansi(colour).finish().try_init(),
        Format::Json => lines.json().flatten_event(true).finish().try_init(),
    }
    .map_err(LoggingError::AlreadySet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_filters_are_checked() {
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
        assert!("xml".parse::<Format>().is_err());
        let error = init(Format::Human, "info,=%").unwrap_err();
        assert!(matches!(error, LoggingError::InvalidFilter { .. }), "{error}");
    }
}
