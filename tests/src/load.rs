//! Requests at a steady rate through an ingress, kept-alive and not, and a record of each that failed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::wait;

/// Connections that stay open, and as many clients that open one per request.
const CLIENTS: u32 = 8;
/// Failures that are kept in words.
const TOLD: usize = 10;
const LIMIT: Duration = Duration::from_secs(40);

/// The load. Ask [`Load::end`] for what became of it.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Answers>>,
    begun_at: Instant,
}

/// The answers.
#[derive(Debug, Default)]
pub struct Answers {
    /// Answers with status 200, by the version that the sample service says.
    pub whole: BTreeMap<String, u64>,
    /// When each of them answered last, since the load began.
    pub last: BTreeMap<String, Duration>,
    /// Requests that got another answer, or none.
    pub failed: u64,
    /// Of these, requests for which nobody accepted a connection: none of them was under way.
    pub refused: u64,
    /// The first of these, in words.
    pub first: Vec<String>,
    /// When the first and the last of them ended, since the load began.
    pub failed_at: Option<(Duration, Duration)>,
    /// For how long requests were sent.
    pub took: Duration,
}

impl Load {
    /// Sends `rate` requests a second for `name` and `path` to the ingress at `address`. Where that is no address but a name
    /// with a port, each new connection goes to one of its addresses.
    pub fn begin(address: &str, name: &str, path: &str, rate: u32) -> Self {
        Self::of(address, name, &format!("GET {path}"), "\r\n", rate, CLIENTS)
    }

    /// The same from five times as many clients: while some of them wait for an answer, others send their requests.
    pub fn of_many(address: &str, name: &str, path: &str, rate: u32) -> Self {
        Self::of(address, name, &format!("GET {path}"), "\r\n", rate, 5 * CLIENTS)
    }

    /// The same with requests that nobody may repeat, as they have a body.
    pub fn posts(address: &str, name: &str, path: &str, rate: u32) -> Self {
        Self::of(address, name, &format!("POST {path}"), "Content-Length: 1\r\n\r\nx", rate, CLIENTS)
    }

    fn of(address: &str, name: &str, line: &str, rest: &str, rate: u32, kept: u32) -> Self {
        let place = address.parse().map_or_else(|_| Place::Named(address.to_owned()), Place::Fixed);
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let head = |keeps: bool| {
            let connection = if keeps { "keep-alive" } else { "close" };
            format!("{line} HTTP/1.1\r\nHost: {name}\r\nConnection: {connection}\r\n{rest}")
        };
        let every = Duration::from_secs(1) * (2 * kept) / rate;
        let client = |n: u32| {
            let (stop, answered, keeps) = (Arc::clone(&stop), Arc::clone(&answered), n < kept);
            let (head, place) = (head(keeps), place.clone());
            // One after another: all at once, they would come as bursts with nothing under way in between.
            let after = every * n / (2 * kept);
            std::thread::spawn(move || {
                wait::pause(after);
                Answers::gather(&place, &head, keeps, every, &stop, &answered)
            })
        };
        Self {
            clients: (0..2 * kept).map(client).collect(),
            stop: Arc::clone(&stop),
            answered: Arc::clone(&answered),
            begun_at: Instant::now(),
        }
    }

    /// The time since its begin.
    pub fn now(&self) -> Duration {
        self.begun_at.elapsed()
    }

    /// Requests that were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn end(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Answers { took: self.begun_at.elapsed(), ..Answers::default() };
        for client in self.clients {
            let answers = client.join().expect("a client does not panic");
            answers.whole.into_iter().for_each(|(body, count)| *all.whole.entry(body).or_default() += count);
            for (body, at) in answers.last {
                let last = all.last.entry(body).or_default();
                *last = at.max(*last);
            }
            all.failed += answers.failed;
            all.refused += answers.refused;
            all.failed_at = match (all.failed_at, answers.failed_at) {
                (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
                (known, other) => known.or(other),
            };
            all.first.extend(answers.first);
        }
        all.first.truncate(TOLD);
        all
    }
}

impl Answers {
    /// Requests that were answered by a release.
    pub fn answered(&self) -> u64 {
        self.whole.values().sum()
    }

    /// When a release answered last, since the load began.
    pub fn last_of(&self, version: &str) -> Option<Duration> {
        self.last.iter().filter(|(body, _)| body.contains(version)).map(|(_, at)| *at).max()
    }

    /// Fails the scenario if any request was lost.
    ///
    /// # Panics
    /// If one was, or none was sent.
    #[track_caller]
    pub fn expect_none_lost(&self) {
        assert!(self.answered() > 0, "nothing was sent");
        assert_eq!(
            self.failed,
            0,
            "of {} requests; the first: {:#?}",
            self.answered() + self.failed,
            self.first
        );
    }

    fn gather(
        place: &Place,
        head: &str,
        keeps: bool,
        every: Duration,
        stop: &AtomicBool,
        answered: &AtomicU64,
    ) -> Self {
        let mut answers = Self::default();
        let mut kept = None;
        let begun_at = Instant::now();
        let mut due = begun_at;
        while !stop.load(Ordering::Relaxed) {
            match request(place, head, kept.take()) {
                Ok((status, body, stream)) => {
                    if status == 200 {
                        answered.fetch_add(1, Ordering::Relaxed);
                        answers.last.insert(body.clone(), begun_at.elapsed());
                        *answers.whole.entry(body).or_default() += 1;
                    } else {
                        answers.fail(format!("{status}: {body}"), begun_at.elapsed());
                    }
                    kept = stream.filter(|_| keeps);
                }
                Err(error) => {
                    answers.refused += u64::from(error.is::<Refused>());
                    answers.fail(format!("{error:#}"), begun_at.elapsed());
                }
            }
            due += every;
            wait::pause(due.saturating_duration_since(Instant::now()));
        }
        answers
    }

    fn fail(&mut self, why: String, at: Duration) {
        self.failed += 1;
        self.failed_at = Some((self.failed_at.map_or(at, |(first, _)| first), at));
        if self.first.len() < TOLD {
            self.first.push(why);
        }
    }
}

/// Nobody accepted the connection.
#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connect")
    }
}

/// The target of requests.
#[derive(Debug, Clone)]
enum Place {
    Fixed(SocketAddr),
    /// To one of the addresses that a name has, asked anew each time.
    Named(String),
}

impl Place {
    fn address(&self) -> Result<SocketAddr> {
        match self {
            Self::Fixed(address) => Ok(*address),
            Self::Named(name) => {
                static NEXT: AtomicU64 = AtomicU64::new(0);
                let all: Vec<SocketAddr> = name.to_socket_addrs().context(Refused)?.collect();
                let turn = usize::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
                all.get(turn % all.len().max(1)).copied().context(Refused)
            }
        }
    }
}

type Kept = BufReader<TcpStream>;

/// Sends one request and reads the whole answer. Answers with the connection if the other end keeps it open.
fn request(place: &Place, head: &str, kept: Option<Kept>) -> Result<(u16, String, Option<Kept>)> {
    let mut stream = match kept {
        Some(kept) => kept,
        None => {
            let stream = TcpStream::connect_timeout(&place.address()?, LIMIT).context(Refused)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        }
    };
    stream.get_mut().write_all(head.as_bytes()).context("send")?;
    let mut line = String::new();
    ensure!(stream.read_line(&mut line).context("read")? > 0, "the connection was closed without an answer");
    let status: u16 = line.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no status")?;
    let (mut length, mut chunked, mut closes) = (None, false, false);
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line).context("read")? > 0, "the headers were cut");
        let header = line.trim().to_ascii_lowercase();
        match header.split_once(':').map(|(name, value)| (name, value.trim())) {
            None => break,
            Some(("content-length", value)) => length = Some(value.parse::<usize>()?),
            Some(("transfer-encoding", _)) => chunked = true,
            Some(("connection", value)) => closes = value == "close",
            Some(_) => {}
        }
    }
    ensure!(!chunked, "the answer is chunked, which this client does not read");
    let Some(length) = length else { bail!("the answer has no length") };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).context("the body was cut")?;
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let version = said["version"].as_str().map(str::to_owned);
    let body = version.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
    Ok((status, body, Some(stream).filter(|_| !closes)))
}
