//! Everything that is written to stdout and stderr. Results go to stdout, everything else to stderr.

pub(crate) mod safe;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::error::{CtlError, Report};
use crate::exit::Exit;

/// The format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // Not as documentation: clap would then spread every `--help` over two screens.
    // For people.
    #[default]
    Table,
    // One document, or one object per line where a command follows something.
    Json,
    // The same, as YAML.
    Yaml,
}

/// Whether colour is wanted. Passed to everything that renders, so that rendering stays pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    On,
    Off,
}

impl Colour {
    /// Wraps `text` in an ANSI colour.
    pub(crate) fn paint(self, code: u8, text: &str) -> String {
        match self {
            Self::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

/// Writes results in the format that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Printer {
    format: Format,
    colour: Colour,
    error_colour: Colour,
    is_attended: bool,
}

impl Printer {
    /// Looks once at what stdout and stderr are.
    pub(crate) fn new(format: Format) -> Self {
        let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = |is_terminal: bool| if is_terminal && is_wanted { Colour::On } else { Colour::Off };
        let (colour, error_colour) = (colour(io::stdout().is_terminal()), colour(io::stderr().is_terminal()));
        let is_attended = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { format, colour, error_colour, is_attended }
    }

    /// Returns whether stdout is coloured.
    pub(crate) const fn colour(&self) -> Colour {
        self.colour
    }

    /// Returns whether the output is for programs.
    pub(crate) fn is_structured(&self) -> bool {
        self.format != Format::Table
    }

    /// Prints one result: as a document, or as what `render` makes of it.
    pub(crate) fn document<T: Serialize + ?Sized>(&self, value: &T, render: impl FnOnce(Colour) -> String) {
        match self.format {
            Format::Table => out(&render(self.colour)),
            Format::Json => data(&safe::json(&serde_json::to_string_pretty(value).unwrap_or_default())),
            Format::Yaml => data(&yaml(value)),
        }
    }

    /// Prints one of several objects that follow each other; nothing for people, who get [`Printer::text`].
    pub(crate) fn line<T: Serialize + ?Sized>(&self, value: &T) {
        match self.format {
            Format::Table => {}
            Format::Json => data(&safe::json(&serde_json::to_string(value).unwrap_or_default())),
            Format::Yaml => data(&format!("---\n{}", yaml(value))),
        }
    }

    /// Prints text to stdout, whatever the format: for results that have only one form.
    pub(crate) fn text(&self, text: &str) {
        out(text);
    }

    /// Prints several lines or objects of a stream at once, each as one line. `false`: nobody reads them any more (`| head`).
    pub(crate) fn stream<T: Serialize>(&self, items: &[T], render: impl Fn(&T) -> String) -> bool {
        let text: Vec<String> = match self.format {
            Format::Table => items.iter().map(|item| safe::line(&render(item)).into_owned()).collect(),
            Format::Json => {
                let json = |item| serde_json::to_string(item).unwrap_or_default();
                items.iter().map(|item| safe::json(&json(item)).into_owned()).collect()
            }
            Format::Yaml => items.iter().map(|item| format!("---\n{}", yaml(item))).collect(),
        };
        if text.is_empty() {
            return true;
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", text.join("\n")).and_then(|()| stdout.flush()).is_ok()
    }

    /// Says a result in words, to stdout. Nothing where the output is for programs.
    pub(crate) fn result(&self, text: &str) {
        if !self.is_structured() {
            out(text);
        }
    }

    /// Says something to a person. Silent where the output is for programs.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_structured() {
            err(text);
        }
    }

    /// Prints the document of a change to programs, and says the change to a person, on stderr.
    pub(crate) fn done<T: Serialize>(&self, value: &T, text: &str) {
        if self.is_structured() {
            self.document(value, |_| String::new());
        } else {
            err(text);
        }
    }

    /// Warns on stderr: as `{"warning": …}` where the output is for programs.
    pub(crate) fn warn(&self, text: &str) {
        if self.is_structured() {
            err(&safe::json(&serde_json::json!({ "warning": text }).to_string()));
        } else {
            err(&format!("warning: {text}"));
        }
    }

    /// Prints how something ended: to stdout if it went well, with everything to look at next on stderr if not.
    pub(crate) fn ending<T: Serialize>(&self, value: &T, exit: Exit, render: impl FnOnce(Colour) -> String) {
        if self.is_structured() {
            self.line(value);
        } else if exit == Exit::Done {
            out(&render(self.colour));
        } else {
            err(&render(self.error_colour));
        }
    }

    /// Prints why a command failed.
    pub(crate) fn error(&self, error: &CtlError) {
        failure(&error.report(), self.is_structured());
    }

    /// Returns whether a person sits there who can be asked.
    pub(crate) const fn is_attended(&self) -> bool {
        self.is_attended
    }

    /// Asks yes or no; `yes` answers beforehand.
    pub(crate) fn confirm(&self, question: &str, yes: bool) -> Result<(), CtlError> {
        if yes {
            return Ok(());
        }
        if !self.is_attended {
            return Err(CtlError::Unattended { question: question.to_owned() });
        }
        let mut stderr = io::stderr().lock();
        drop(write!(stderr, "{} [y/N] ", safe::safe(question)).and_then(|()| stderr.flush()));
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        let agreed = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
        if agreed { Ok(()) } else { Err(CtlError::Declined) }
    }
}

/// Prints an error.
pub(crate) fn failure(report: &Report, structured: bool) {
    if structured {
        err(&safe::json(&serde_json::to_string(report).unwrap_or_default()));
    } else {
        err(&report.text());
    }
}

fn yaml<T: Serialize + ?Sized>(value: &T) -> String {
    // By way of JSON, so that both forms have the same fields.
    let value = serde_json::to_value(value).unwrap_or_default();
    let text = serde_saphyr::to_string(&value).unwrap_or_default().trim_end().to_owned();
    if !text.chars().any(safe::acts) {
        return text;
    }
    // JSON is YAML too, and can write every character as an escape.
    safe::json(&serde_json::to_string_pretty(&value).unwrap_or_default()).into_owned()
}

/// For people.
fn out(text: &str) {
    data(&safe::safe(text));
}

/// For programs, as it is. A reader that went away (`| head`) is no failure of ours.
fn data(text: &str) {
    let mut stdout = io::stdout().lock();
    drop(writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush()));
}

fn err(text: &str) {
    drop(writeln!(io::stderr().lock(), "{}", safe::safe(text).trim_end_matches('\n')));
}
