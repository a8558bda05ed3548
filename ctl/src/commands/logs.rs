//! `logs`: the lines that the instances of a service write. A stream that breaks, because the coordinator restarted or
//! this program was paused for long, is taken up again after the last line of each instance.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};
use windlass_core::Timestamp;
use windlass_process::{Backoff, backoff, report};

use crate::args::{Global, LogsArgs, Tail};
use crate::away::Away;
use crate::client::{CallError, LogChunk, LogLine, LogNote, LogQuery, LogStream};
use crate::clock;
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::session::Session;
use crate::table::printable;

/// The interval of looks at the certificate's age.
const FRESH: Duration = Duration::from_secs(1);
/// The longest wait for a coordinator that went away, where the log is not followed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines per instance, where nothing else is asked for.
const TAIL: u32 = 100;

/// A line, as `logs -o json` prints it.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct LogLineView {
    /// When, by the host's clock.
    pub(crate) at: Timestamp,
    /// Its host.
    pub(crate) host: String,
    /// Its instance.
    pub(crate) instance: String,
    /// `stdout` or `stderr`.
    pub(crate) stream: &'static str,
    /// The line; words for people in a note.
    pub(crate) text: String,
    /// The line was longer than 1 MiB.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
    /// No container wrote this: `started`, `ended` or `dropped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<&'static str>,
    /// The number of lines that are missing here, in a note `dropped`; absent if it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropped: Option<u64>,
}

pub(super) async fn run(args: &LogsArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let mut session = context.session().await?;
    let service = context.service(&args.service, &mut session.client()).await?;
    let now = clock::now();
    let selects = args.since.is_some() || args.until.is_some() || args.grep.is_some() || args.previous;
    let query = LogQuery {
        service: service.to_string(),
        instance: args.instance.clone().unwrap_or_default(),
        tail: match args.tail {
            Some(Tail::Last(lines)) => Some(lines),
            Some(Tail::All) => None,
            None => (!selects).then_some(TAIL),
        },
        follow: args.follow,
        since: args.since.map(|since| since.at(now)),
        until: args.until.map(|until| until.at(now)),
        previous: args.previous,
        release: args.release.map(|release| release.to_string()).unwrap_or_default(),
        ..LogQuery::default()
    };
    let mut reading = Reading::new(query);
    loop {
        // Each branch only waits.
        let pause = if reading.stream.is_some() { FRESH } else { Duration::MAX };
        let next = tokio::select! {
            next = reading.next(&session) => next,
            () = sleep(pause) => {
                drop(session.keep_fresh().await); // what is wrong with it shows when the stream breaks
                continue;
            }
        };
        match next {
            Ok(Some(chunk)) => {
                if !reading.take(chunk, args, printer) {
                    return Ok(Exit::Done);
                }
            }
            Ok(None) => return Ok(if reading.is_complete() { Exit::Done } else { Exit::Refused }),
            Err(error) if error.is_temporary() && reading.may_wait() => {
                if let Some(line) =
                    reading.away.failed(&report::chain(&error), "trying again", Instant::now())
                {
                    printer.note(&line);
                }
                reading.lost();
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The stream, or the wait for the next one.
struct Reading {
    query: LogQuery,
    stream: Option<LogStream>,
    backoff: Backoff,
    not_before: Instant,
    away: Away,
    heard: Option<Instant>,
    /// Hosts whose lines are missing.
    missing: std::collections::BTreeSet<String>,
    has_gap: bool,
}

impl Reading {
    fn new(query: LogQuery) -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(3));
        let (stream, heard, not_before) = (None, None, Instant::now());
        let (away, missing) = (Away::default(), Default::default());
        Self { query, stream, backoff, not_before, away, heard, missing, has_gap: false }
    }

    async fn next(&mut self, session: &Session) -> Result<Option<LogChunk>, CallError> {
        if self.stream.is_none() {
            sleep_until(self.not_before).await;
            self.stream = Some(session.client().logs(&self.query).await?);
            self.away.is_back();
        }
        let Some(stream) = self.stream.as_mut() else { return Ok(None) };
        stream.next().await
    }

    /// Returns whether a stream that broke is taken up again.
    fn may_wait(&self) -> bool {
        self.heard.is_some_and(|heard| self.query.follow || heard.elapsed() < PATIENCE)
    }

    fn lost(&mut self) {
        self.stream = None;
        self.not_before = Instant::now() + self.backoff.next(backoff::random());
    }

    fn is_complete(&self) -> bool {
        !self.has_gap && self.missing.is_empty()
    }

    /// Prints some lines. `false`: nobody reads them.
    fn take(&mut self, chunk: LogChunk, args: &LogsArgs, printer: &Printer) -> bool {
        self.backoff.reset();
        self.heard = Some(Instant::now());
        if let Some((host, why)) = chunk.missing {
            printer.warn(&format!("lines of {host} are missing: {why}"));
            self.missing.insert(host);
        }
        let mut shown = Vec::with_capacity(chunk.lines.len());
        for line in chunk.lines {
            if self.query.follow {
                self.missing.remove(&line.host); // it was asked again, from where it was read
            }
            self.has_gap |= line.note == Some(LogNote::Dropped);
            if line.note.is_none() && line.nanos > 0 {
                self.query.after.entry(line.instance.clone()).or_default().read(line.nanos);
            }
            let is_meant = args.grep.as_ref().is_none_or(|text| line.text.contains(text.as_str()));
            if is_meant || line.note.is_some() {
                shown.push(view(line));
            }
        }
        printer.stream(&shown, |line| render(line, args.timestamps))
    }
}

fn view(line: LogLine) -> LogLineView {
    LogLineView {
        at: line.at,
        host: line.host,
        instance: line.instance,
        stream: if line.is_stderr { "stderr" } else { "stdout" },
        text: line.text,
        cut: line.is_cut,
        note: line.note.map(|note| match note {
            LogNote::Started => "started",
            LogNote::Ended => "ended",
            LogNote::Dropped => "dropped",
        }),
        dropped: Some(line.dropped).filter(|dropped| *dropped > 0),
    }
}

fn render(line: &LogLineView, timestamps: bool) -> String {
    let at = if timestamps { format!("{} ", line.at) } else { String::new() };
    let text = printable(&line.text);
    let text = match (line.note, line.cut) {
        (Some(_), _) => format!("-- {text} --"),
        (None, true) => format!("{text} [cut at 1 MiB]"),
        (None, false) => text,
    };
    format!("{at}{} {}  {text}", line.host, line.instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_notes_are_told_apart() {
        let line = |text: &str, note, cut| LogLineView {
            at: Timestamp::from_millis(1_000),
            host: "h1".to_owned(),
            instance: "i1".to_owned(),
            stream: "stdout",
            text: text.to_owned(),
            cut,
            note,
            dropped: None,
        };
        assert_eq!(render(&line("hello", None, false), false), "h1 i1  hello");
        assert_eq!(
            render(&line("hello", None, true), true),
            "1970-01-01T00:00:01.000Z h1 i1  hello [cut at 1 MiB]"
        );
        assert_eq!(render(&line("3 lines", Some("dropped"), false), false), "h1 i1  -- 3 lines --");
    }
}
