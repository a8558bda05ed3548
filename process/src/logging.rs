//! Logging to stderr: lines for people or JSON for collectors. Stdout belongs to results.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One readable line per event, coloured on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// The reason for which logging could not be set up.
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
        /// The mistake in it.
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

/// Lines of libraries about the bytes that a peer sends are left out: nobody's flood becomes a log. A filter that names
/// them has its way.
const QUIET: &str = "h2=error,hyper=error,hyper_util=error,rustls=error,tonic=error,tower=error";

/// Sends this process's events that pass `filter` to stderr. Once per process; colour only on a terminal
/// and without `NO_COLOR`.
pub fn init(format: Format, filter: &str) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|source| LoggingError::InvalidFilter { filter: filter.to_owned(), source })?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Patient(std::io::stderr()));
    match format {
        Format::Human => lines.with_ansi(colour).finish().try_init(),
        Format::Json => lines.json().flatten_event(true).finish().try_init(),
    }
    .map_err(LoggingError::AlreadySet)
}

/// A writer that loses lines instead of time while nobody reads them, be it that the system's log hangs.
#[derive(Debug)]
struct Patient<W>(W);

/// Whether the last line was lost. Then the next one waits for nobody.
static LOSING: AtomicBool = AtomicBool::new(false);
/// The number of bytes for which there is room if there is any (`PIPE_BUF`).
const PIECE: usize = 4096;
/// The longest time that a line waits for room.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// One event as one line: a line end within it, which may be in the words of a peer, is written as `\\n`, so that no peer
/// writes lines that look like ours.
fn one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let text = event.strip_suffix(b"\n").unwrap_or(event);
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Cow::Borrowed(event);
    }
    let mut line = Vec::with_capacity(event.len() + 16);
    for byte in text {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            other => line.push(*other),
        }
    }
    line.push(b'\n');
    Cow::Owned(line)
}

impl<W: Write + AsFd> Write for Patient<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = one_line(event);
        for piece in line.chunks(PIECE) {
            let patience = if LOSING.load(Ordering::Relaxed) { AT_ONCE } else { PATIENCE };
            let room = poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], Some(&patience));
            let is_lost = matches!(room, Ok(0));
            LOSING.store(is_lost, Ordering::Relaxed);
            if is_lost {
                break;
            }
            self.0.write_all(piece)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_reader_that_hangs_holds_up_nobody_and_lines_go_on_after() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Patient(writer);
        let line = [b'x'; 3 * PIECE];
        for _ in 0..200 {
            assert_eq!(lines.write(&line).unwrap(), line.len(), "lost or not, it is dealt with");
        }
        let mut read = vec![0; 64 * 1024];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(lines.write(b"again\n").unwrap(), 6);
        drop(lines);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest.ends_with(b"again\n"));
    }

    #[test]
    fn a_line_end_in_an_event_begins_no_line() {
        let table = [
            ("plain\n", "plain\n"),
            ("two\nERROR forged\n", "two\\nERROR forged\n"),
            ("over\rwritten\n", "over\\rwritten\n"),
        ];
        for (event, want) in table {
            assert_eq!(String::from_utf8_lossy(&one_line(event.as_bytes())), want);
        }
    }

    #[test]
    fn formats_and_filters_are_checked() {
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
        assert!("xml".parse::<Format>().is_err());
        let error = init(Format::Human, "info,=%").unwrap_err();
        assert!(matches!(error, LoggingError::InvalidFilter { .. }), "{error}");
    }
}
