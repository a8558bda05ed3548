//! One question to an instance: HTTP, TCP, or a command in its container.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use windlass_certs::tls::lookup;
use windlass_core::release::{Check, Probe};

use super::Subject;
use crate::runtime::{Runtime, RuntimeError, answer};

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

    fn unasked(error: &RuntimeError) -> Self {
        Self { is_unasked: true, ..Self::new(false, windlass_process::report::chain(error)) }
    }
}

/// Asks once, within the probe's timeout.
pub(super) async fn ask<R: Runtime>(runtime: &R, subject: &Subject, probe: &Probe) -> Answer {
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
            Check::Exec { argv } => match runtime.exec(&subject.container, argv).await {
                Ok(code) => Answer::new(code == 0, format!("exit {code}")),
                Err(error) if error.is_unavailable() => Answer::unasked(&error),
                Err(error) => Answer::new(false, windlass_process::report::chain(&error)),
            },
        }
    };
    let late = match timeout(probe.timeout.duration(), question).await {
        Ok(answer) => return answer,
        Err(_) => Answer::new(false, format!("timed out after {}", probe.timeout)),
    };
    match &probe.check {
        // Commands go through the engine, and one that hangs runs none.
        Check::Exec { .. } => {
            answer(runtime.list()).await.map_or_else(|error| Answer::unasked(&error), |_| late)
        }
        Check::Http { .. } | Check::Tcp { .. } => late,
    }
}

async fn connect(subject: &Subject, port: &str) -> Result<TcpStream, Answer> {
    let Some(number) = subject.ports.get(port) else {
        return Err(Answer::new(false, format!("no port `{port}`")));
    };
    let found = match subject.address.parse::<std::net::IpAddr>() {
        Ok(address) => vec![(address, *number).into()],
        Err(_) => lookup(&format!("{}:{number}", subject.address)).await.map_err(|error| broken(&error))?,
    };
    TcpStream::connect(found.as_slice()).await.map_err(|error| broken(&error))
}

fn broken(error: &std::io::Error) -> Answer {
    let (detail, nobody_listens) = match error.kind() {
        ErrorKind::ConnectionRefused => ("connection refused".to_owned(), true),
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            ("connection closed".to_owned(), true)
        }
        _ => (error.to_string(), false),
    };
    Answer { nobody_listens, ..Answer::new(false, detail) }
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
        .body(Empty::<Bytes>::new());
    let request = match request {
        Ok(request) => request,
        Err(error) => return Answer::new(false, error.to_string()),
    };
    let handshake = http1::Builder::new().max_buf_size(8192).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = match handshake {
        Ok(both) => both,
        Err(error) => return Answer::new(false, error.to_string()),
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The connection drives the exchange; when it ends first, the answer is there or never comes.
    let response = tokio::select! {
        biased;
        response = &mut answer => response,
        _ = &mut connection => answer.await,
    };
    match response {
        Ok(response) => {
            let status = response.status().as_u16();
            Answer::new((200..400).contains(&status), format!("HTTP {status}"))
        }
        Err(error) => {
            let closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
            let io =
                std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
            match io {
                Some(io) => broken(io),
                None if closed => broken(&ErrorKind::UnexpectedEof.into()),
                None => Answer::new(false, error.to_string()),
            }
        }
    }
}
