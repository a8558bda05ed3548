//! One question to an instance: HTTP, TCP, or a command in its container.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use windlass_core::release::{Check, Probe};

use super::Subject;
use crate::exchange;
use crate::runtime::{Command, Runtime, RuntimeError, answer};

/// A connection that the engine's proxy accepted in the name of nobody is closed within this.
const PROXY_CLOSES: Duration = Duration::from_millis(50);

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) ok: bool,
    /// For people: `HTTP 503`, `connection refused`.
    pub(super) detail: String,
    /// No process listens there: asking again soon makes sense while it starts.
    pub(super) nobody_listens: bool,
    /// The question never reached the instance: the answer says nothing of it.
    pub(super) is_unasked: bool,
}

impl Answer {
    const fn new(ok: bool, detail: String) -> Self {
        Self { ok, detail, nobody_listens: false, is_unasked: false }
    }

    fn failed((detail, nobody_listens): (String, bool)) -> Self {
        Self { nobody_listens, ..Self::new(false, detail) }
    }

    fn unasked(error: &RuntimeError) -> Self {
        Self { is_unasked: true, ..Self::new(false, windlass_process::report::chain(error)) }
    }
}

/// What a probe asks, in words.
pub(super) fn words(probe: &Probe) -> String {
    match &probe.check {
        Check::Http { path, .. } => format!("GET {path}"),
        Check::Tcp { port } => format!("TCP port {port}"),
        Check::Exec { argv } => format!("exec {}", argv.join(" ")),
    }
}

/// Asks once, within the probe's timeout. `before` is a command of this probe that was begun and could not be killed.
pub(super) async fn ask<R: Runtime>(
    runtime: &R,
    subject: &Subject,
    probe: &Probe,
    before: &mut Option<String>,
) -> Answer {
    if let Check::Exec { argv } = &probe.check {
        return command(runtime, subject, probe, argv, before).await;
    }
    let question = async {
        match &probe.check {
            Check::Http { path, port } => match connect(subject, port).await {
                Ok(stream) => http(stream, subject, path).await,
                Err(answer) => answer,
            },
            Check::Tcp { port } => match connect(subject, port).await {
                Ok(stream) => accepted(stream).await,
                Err(answer) => answer,
            },
            Check::Exec { .. } => Answer::new(false, String::new()), // asked above
        }
    };
    let late = || Answer::new(false, format!("timed out after {}", probe.timeout));
    timeout(probe.timeout.duration(), question).await.unwrap_or_else(|_| late())
}

/// One command at a time: the next is begun when the one before has ended.
async fn command<R: Runtime>(
    runtime: &R,
    subject: &Subject,
    probe: &Probe,
    argv: &[String],
    before: &mut Option<String>,
) -> Answer {
    let result = match before.as_deref() {
        Some(id) => match answer(runtime.goes_on(id)).await {
            Ok(true) => return Answer::new(false, "the command before this one still runs".to_owned()),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        },
        None => Ok(()),
    };
    let result = match result {
        Ok(()) => {
            *before = None;
            runtime.exec(&subject.container, argv, probe.timeout.duration()).await
        }
        Err(error) => Err(error),
    };
    let late = format!("timed out after {}", probe.timeout);
    match result {
        Ok(Command::Exited(code)) => Answer::new(code == 0, format!("exit {code}")),
        Ok(Command::Killed) => Answer::new(false, late),
        Ok(Command::GoesOn(id)) => {
            *before = Some(id);
            Answer::new(false, late)
        }
        Err(error) => {
            // Commands go through the engine. One that answers nothing says nothing of the instance.
            let words = match &error {
                RuntimeError::TimedOut { .. } => late,
                error => windlass_process::report::chain(error),
            };
            let engine = answer(runtime.list()).await;
            engine.map_or_else(|error| Answer::unasked(&error), |_| Answer::new(false, words))
        }
    }
}

async fn connect(subject: &Subject, port: &str) -> Result<TcpStream, Answer> {
    let Some(number) = subject.ports.get(port) else {
        return Err(Answer::new(false, format!("no port `{port}`")));
    };
    exchange::connect(&subject.address, *number).await.map_err(|error| broken(&error))
}

fn broken(error: &std::io::Error) -> Answer {
    Answer::failed(exchange::broken(error))
}

/// The engine's proxy accepts connections before it knows whether anybody listens behind it, and closes
/// them when nobody does.
async fn accepted(mut stream: TcpStream) -> Answer {
    let mut byte = [0];
    match timeout(PROXY_CLOSES, stream.read(&mut byte)).await {
        Ok(Ok(0)) => broken(&ErrorKind::UnexpectedEof.into()),
        Ok(Err(error)) => broken(&error),
        Ok(Ok(_)) | Err(_) => Answer::new(true, "connected".to_owned()),
    }
}

/// Only the status counts: the body is never read, a redirect never followed.
async fn http(stream: TcpStream, subject: &Subject, path: &str) -> Answer {
    let request = Request::get(path)
        .header("host", &subject.address)
        .header("user-agent", "windlass-agent")
        .header("connection", "close")
        .body(Full::new(Bytes::new()));
    let request = match request {
        Ok(request) => request,
        Err(error) => return Answer::new(false, error.to_string()),
    };
    match exchange::exchange(stream, request, 0).await {
        Ok(answer) => {
            let status = answer.status;
            Answer::new((200..400).contains(&status), format!("HTTP {status}"))
        }
        Err(error) => Answer::failed(exchange::failed(&error)),
    }
}
