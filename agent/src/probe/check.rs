//! One question to an instance: HTTP, TCP, or a command in its container.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use windlass_core::release::{AskedRequest, Check, MAX_ANSWER, Probe};

use super::subject::Subject;
use crate::exchange::{self, Ask};
use crate::runtime::{Command, Runtime, RuntimeError, answer, reached_at};

/// A connection that the engine's proxy accepted in the name of nobody is closed within this.
const PROXY_CLOSES: Duration = Duration::from_millis(50);

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) ok: bool,
    /// For people: `HTTP 503`, `connection refused`.
    pub(super) detail: String,
    /// No process listens there: asking again soon makes sense while it starts.
    pub(super) nobody_listens: bool,
    /// The question never reached the instance: the answer says nothing of it.
    pub(super) is_unasked: bool,
    /// The time that the instance took, where the probe itself takes longer.
    pub(super) took: Option<Duration>,
}

impl Answer {
    const fn new(ok: bool, detail: String) -> Self {
        Self { ok, detail, nobody_listens: false, is_unasked: false, took: None }
    }

    fn failed((detail, nobody_listens): (String, bool)) -> Self {
        Self { nobody_listens, ..Self::new(false, detail) }
    }

    fn unasked(error: &RuntimeError) -> Self {
        Self { is_unasked: true, ..Self::new(false, windlass_process::report::chain(error)) }
    }
}

/// The question of a probe, in words, with the address that is asked: `GET http://10.0.0.5:20000/health`.
pub(super) fn words(probe: &Probe, subject: &Subject) -> String {
    let at = |port: &str| {
        let number = subject.ports.get(port)?;
        Some(format!("{}:{number}", exchange::authority(reached_at(&subject.address))))
    };
    match &probe.check {
        Check::Http { path, port } => match at(port) {
            Some(at) => format!("GET http://{at}{path}"),
            None => format!("GET {path}"),
        },
        Check::Request(asked) => {
            let request = &asked.request;
            let scheme = if request.tls.is_some() { "https" } else { "http" };
            match at(&request.port) {
                Some(at) => format!("{} {scheme}://{at}{}", request.method, request.path),
                None => request.to_string(),
            }
        }
        Check::Tcp { port } => format!("TCP {}", at(port).unwrap_or_else(|| format!("port {port}"))),
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
    let began = Instant::now();
    let question = async {
        match &probe.check {
            Check::Http { path, port } => http(subject, path, port).await,
            Check::Request(asked) => request(subject, asked).await,
            Check::Tcp { port } => match connect(subject, port).await {
                Ok(stream) => {
                    let took = Some(began.elapsed());
                    Answer { took, ..accepted(stream).await }
                }
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
    let Some(number) = subject.ports.get(port) else { return Err(no_port(port)) };
    exchange::connect_own(&subject.address, *number).await.map_err(|error| broken(&error))
}

fn no_port(name: &str) -> Answer {
    Answer::new(false, format!("no port `{name}`"))
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
async fn http(subject: &Subject, path: &str, name: &str) -> Answer {
    let Some(port) = subject.ports.get(name) else { return no_port(name) };
    match exchange::status(&subject.address, *port, path).await {
        Ok(status) => Answer::new((200..400).contains(&status), format!("HTTP {status}")),
        Err(failed) => Answer::failed(failed),
    }
}

/// The answer is held against all that is wanted. A redirect is never followed.
async fn request(subject: &Subject, asked: &AskedRequest) -> Answer {
    let AskedRequest { request, expect } = asked;
    let Some(port) = subject.ports.get(&request.port) else { return no_port(&request.port) };
    let ask = Ask {
        host: &subject.address,
        port: *port,
        own: true,
        authority: &subject.address,
        method: &request.method,
        path: &request.path,
        headers: &request.headers,
        body: &request.body,
        tls: request.tls.as_ref(),
        most: MAX_ANSWER,
    };
    match exchange::ask(&ask).await {
        Ok(answer) => match expect.compare(&answer) {
            Ok(()) => Answer::new(true, format!("HTTP {}", answer.status)),
            Err(difference) => Answer::new(false, difference.to_string()),
        },
        Err(failed) => Answer::failed(failed),
    }
}
