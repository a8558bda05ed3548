//! Connections and answers: every endpoint of the sample service.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::behaviour::Behaviour;
use crate::http::{self, Request, json, respond};
use crate::signal::Terminations;

/// A drain that takes longer is cut off; below the engine's default stop timeout of 10 s.
const DRAIN: Duration = Duration::from_secs(9);
const POLL: Duration = Duration::from_millis(2);

pub struct Server {
    behaviour: Behaviour,
    requests: AtomicU64,
    ordinary: AtomicU64,
    errors: AtomicU64,
    in_flight: AtomicU64,
    draining: AtomicBool,
    /// The word of `/be`, which counts more than the variables: [`NO`], [`YES`], or 0 for none.
    ready: AtomicU8,
    live: AtomicU8,
}

const NO: u8 = 1;
const YES: u8 = 2;

impl Server {
    pub fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            requests: AtomicU64::new(0),
            ordinary: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            ready: AtomicU8::new(0),
            live: AtomicU8::new(0),
        }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    pub fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.requests.load(SeqCst)
    }

    /// Waits for SIGTERM, finishes what is in flight, exits.
    pub fn end_on_sigterm(&self, terminations: &Terminations) {
        loop {
            terminations.wait();
            if !self.behaviour.ignore_sigterm {
                break;
            }
            println!("web: SIGTERM ignored");
        }
        let deadline = Instant::now() + DRAIN;
        println!("web: SIGTERM, finishing {} requests", self.in_flight.load(SeqCst));
        self.draining.store(true, SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.behaviour.port)); // wakes `accept`
        while self.in_flight.load(SeqCst) > 0 && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        println!("web: ends after {} requests", self.answered());
        exit(0)
    }

    /// Serves one connection to its end.
    pub fn connection(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(self.behaviour.idle_close)?;
        let (mut reader, mut writer) = (BufReader::new(stream), stream);
        // In flight from the first byte on: a request that has arrived is answered, not cut off.
        while !reader.fill_buf()?.is_empty() {
            self.in_flight.fetch_add(1, SeqCst);
            let outcome = self.exchange(&mut reader, &mut writer);
            self.in_flight.fetch_sub(1, SeqCst);
            if outcome? {
                break;
            }
        }
        Ok(())
    }

    /// Answers one request; true when the connection ends with it.
    fn exchange(&self, reader: &mut impl BufRead, writer: &mut impl Write) -> std::io::Result<bool> {
        let request = match Request::read(reader) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(true),
            Err(error) => return respond(writer, 400, &error.to_string(), true).map(|()| true),
        };
        if request.header("upgrade").is_some() {
            return echo(reader, writer).map(|()| true);
        }
        if request.path == "/download" {
            let bytes = request.parameter("bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
            return download(writer, bytes).map(|()| false);
        }
        let (status, body) = self.answer(&request);
        self.count(status);
        let close = request.wants_close() || self.is_draining();
        match self.behaviour.trickle {
            None => respond(writer, status, &body, close)?,
            Some(pause) => respond(&mut Trickle { writer, pause }, status, &body, close)?,
        }
        Ok(close)
    }

    fn count(&self, status: u16) {
        let number = self.requests.fetch_add(1, SeqCst) + 1;
        if status >= 500 {
            self.errors.fetch_add(1, SeqCst);
        }
        if number.is_multiple_of(self.behaviour.log_every) {
            println!("web: {number} requests");
        }
    }

    fn answer(&self, request: &Request) -> (u16, String) {
        let behaviour = &self.behaviour;
        let age = behaviour.started_at.elapsed();
        let health = |good: bool| {
            let (status, word) = if good { (200, "ok") } else { (503, "unavailable") };
            let version = json(&behaviour.version);
            let (uptime, extra) = (age.as_secs(), &behaviour.health_extra);
            (status, format!(r#"{{"status":"{word}","version":{version},"uptime":{uptime}{extra}}}"#))
        };
        let path = request.path.strip_prefix("/api").unwrap_or(&request.path);
        match (request.method.as_str(), path) {
            (_, "/health" | "/health/detailed" | "/sync/status") => {
                health(self.is_ready(age) && self.is_live())
            }
            (_, "/health/ready" | "/ready") => health(self.is_ready(age)),
            (_, "/health/live") => health(self.is_live()),
            (_, "/be") => self.be(request),
            (_, "/metrics") => (200, self.metrics()),
            (_, "/headers") => {
                let pair = |(name, value): &(String, String)| format!("{}:{}", json(name), json(value));
                (200, format!("{{{}}}", request.headers.iter().map(pair).collect::<Vec<_>>().join(",")))
            }
            (_, "/env") => match request.parameter("name").and_then(|name| std::env::var(name).ok()) {
                Some(value) => (200, value),
                None => (404, "no such variable".into()),
            },
            (_, "/file") => match std::fs::read_to_string(request.parameter("path").unwrap_or("")) {
                Ok(text) => (200, text),
                Err(error) => (404, error.to_string()),
            },
            (_, "/call") => match http::get(request.parameter("url").unwrap_or(""), DRAIN) {
                Ok(answer) => answer,
                Err(error) => (502, error.to_string()),
            },
            (_, "/lines") => write_lines(request),
            (_, "/exit") => {
                let code = request.parameter("code").and_then(|code| code.parse().ok()).unwrap_or(1);
                eprintln!("web: fatal: asked to exit with code {code}");
                exit(code)
            }
            ("POST", "/echo") | ("PUT", "/upload") => (200, String::from_utf8_lossy(&request.body).into_owned()),
            ("POST", "/predictions") if behaviour.api_key.as_deref() != request.header("x-api-key") => {
                (401, "wrong or missing x-api-key".into())
            }
            (_, "/" | "/version" | "/slow" | "/predictions" | "/signals") => self.ordinary(request),
            _ => (404, "not found".into()),
        }
    }

    fn is_ready(&self, age: Duration) -> bool {
        told(&self.ready).unwrap_or_else(|| self.behaviour.is_ready(age))
    }

    fn is_live(&self) -> bool {
        told(&self.live).unwrap_or(true)
    }

    /// Is ready and live from now on as the request says, whatever the variables say.
    fn be(&self, request: &Request) -> (u16, String) {
        for (name, word) in [("ready", &self.ready), ("live", &self.live)] {
            match request.parameter(name) {
                Some("0") => word.store(NO, SeqCst),
                Some("1") => word.store(YES, SeqCst),
                Some(other) => return (400, format!("`{name}` must be 0 or 1, not `{other}`")),
                None => {}
            }
        }
        (200, "as told".into())
    }

    /// A user's request: subject to `FAIL_PERCENT` and `LATENCY_MS`.
    fn ordinary(&self, request: &Request) -> (u16, String) {
        let behaviour = &self.behaviour;
        let asked = request.parameter("ms").and_then(|ms| ms.parse().ok()).unwrap_or(0);
        thread::sleep(behaviour.latency + Duration::from_millis(asked));
        if behaviour.fails(self.ordinary.fetch_add(1, SeqCst)) {
            return (500, "failed on purpose".into());
        }
        let (version, instance) = (json(&behaviour.version), json(&behaviour.instance));
        let (pid, requests) = (std::process::id(), self.answered());
        (200, format!(r#"{{"version":{version},"instance":{instance},"pid":{pid},"requests":{requests}}}"#))
    }

    fn metrics(&self) -> String {
        let (all, errors) = (self.answered(), self.errors.load(SeqCst));
        format!(
            "# TYPE http_requests_total counter\n\
             http_requests_total{{status=\"200\"}} {}\nhttp_requests_total{{status=\"500\"}} {errors}\n",
            all - errors.min(all)
        )
    }
}

fn told(word: &AtomicU8) -> Option<bool> {
    match word.load(SeqCst) {
        NO => Some(false),
        YES => Some(true),
        _ => None,
    }
}

/// Writes so many numbered lines at once, each padded to so many bytes.
fn write_lines(request: &Request) -> (u16, String) {
    let number = |name| request.parameter(name).and_then(|text| text.parse::<usize>().ok());
    let (count, bytes) = (number("count").unwrap_or(1), number("bytes").unwrap_or(0));
    let mark = request.parameter("mark").unwrap_or("line");
    let mut out = std::io::stdout().lock();
    for n in 1..=count {
        let line = format!("{mark} {n} ");
        if let Err(error) = writeln!(out, "{line:x<bytes$}") {
            return (500, error.to_string());
        }
    }
    (200, format!("{count} lines"))
}

/// Accepts any upgrade and returns every byte, for tests of tunnels.
fn echo(reader: &mut impl Read, writer: &mut impl Write) -> std::io::Result<()> {
    writer.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")?;
    std::io::copy(reader, writer).map(|_| ())
}

/// Answers with so many bytes, rounded down to eights: each eight say their own number, so that a lost or doubled byte shows.
fn download(writer: &mut impl Write, bytes: u64) -> std::io::Result<()> {
    const PIECE: u64 = 8 * 1024;
    let eights = bytes / 8;
    write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", eights * 8)?;
    for first in (0..eights).step_by(PIECE as usize) {
        let numbers = first..eights.min(first + PIECE);
        writer.write_all(&numbers.flat_map(u64::to_be_bytes).collect::<Vec<u8>>())?;
    }
    Ok(())
}

/// Writes in pieces of 16 bytes, with a pause after each.
struct Trickle<'w, W> {
    writer: &'w mut W,
    pause: Duration,
}

impl<W: Write> Write for Trickle<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let piece = &bytes[..bytes.len().min(16)];
        self.writer.write_all(piece)?;
        self.writer.flush()?;
        thread::sleep(self.pause);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}
