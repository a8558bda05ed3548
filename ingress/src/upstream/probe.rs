//! Active probes: an endpoint that does not answer them gets no requests until it does, as far as others are left.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::ingress::Ingress;
use crate::limits::Limits;

use super::endpoint::{Endpoint, Question};

/// Probes at once.
const MOST: usize = 1024;
/// Looks for due endpoints in the shortest interval.
const LOOKS: u32 = 8;
/// `HTTP/1.1 200`
const STATUS_LINE: usize = 12;
/// The beginning of a client of HTTP/2 (RFC 9113, section 3.4): the preface, and settings, of which there are none.
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The end of a connection: GOAWAY without a stream or an error.
const END: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// The head of a frame, with the type of settings.
const FRAME_HEAD: usize = 9;
const SETTINGS: u8 = 4;

impl Ingress {
    /// Probes every endpoint of the tables until `cancel`: with a request if its port has a path for that, by the first
    /// frames if it speaks HTTP/2, else by a connection.
    pub async fn probe(&self, cancel: CancellationToken) {
        let limits = &self.0.limits;
        let every = limits.probe.min(limits.probe_busy) / LOOKS;
        let resting = share(limits.probe_rate, every);
        let mut look = tokio::time::interval(every);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut probes = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                Some(_) = probes.join_next() => continue,
                _ = look.tick() => {}
            }
            let most = MOST.saturating_sub(probes.len());
            let due = self.0.registry().begin_probes(limits, Instant::now(), most, resting);
            for endpoint in due {
                let ingress = self.clone();
                probes.spawn(async move {
                    if probe(&endpoint, &ingress.0.limits).await {
                        ingress.0.changed.send_modify(|count| *count += 1);
                    }
                });
            }
        }
    }
}

/// The part of a number for each second that falls on `time`, at least one.
fn share(rate: u32, time: Duration) -> usize {
    let share = u128::from(rate) * time.as_millis() / 1000;
    usize::try_from(share).unwrap_or(usize::MAX).max(1)
}

/// Probes an endpoint. Answers whether one that stands by answers from now on, which requests may wait for.
async fn probe(endpoint: &Arc<Endpoint>, limits: &Limits) -> bool {
    let ready = ask(endpoint, Instant::now() + limits.probe_timeout).await;
    let (address, release) = (endpoint.key.address, endpoint.key.release.short());
    let answers_now = ready && !endpoint.is_proven();
    let changes = endpoint.probed(ready, limits, Instant::now());
    if endpoint.stands_by() {
        if answers_now {
            tracing::info!(%address, release, "an endpoint that stands by answers its probes");
        }
        return answers_now;
    }
    if changes {
        if ready {
            tracing::info!(%address, release, "an endpoint answers its probes again");
        } else {
            tracing::warn!(%address, release, "an endpoint does not answer its probes; it gets no requests while others do");
        }
    }
    false
}

/// Whether the endpoint is ready, as far as it answers before `until`.
async fn ask(endpoint: &Endpoint, until: Instant) -> bool {
    let address = endpoint.key.address;
    let connected = timeout_at(until.into(), TcpStream::connect(address)).await;
    endpoint.probe_reached(matches!(connected, Ok(Ok(_))));
    let Ok(Ok(mut stream)) = connected else { return false };
    let answered = async {
        match endpoint.question() {
            Question::Connect => Ok(true),
            Question::Get(path) => get(&mut stream, address, &path).await,
            Question::Settings => settings(&mut stream).await,
        }
    };
    matches!(timeout_at(until.into(), answered).await, Ok(Ok(true)))
}

/// Only the status of the answer counts.
async fn get(stream: &mut TcpStream, address: SocketAddr, path: &str) -> io::Result<bool> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: windlass-ingress\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line).await?;
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', status @ ..] = &line else { return Ok(false) };
    Ok(std::str::from_utf8(status)
        .ok()
        .and_then(|s| s.parse().ok())
        .is_some_and(|s: u16| (200..400).contains(&s)))
}

/// The first frame of a server are its settings.
async fn settings(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(BEGIN).await?;
    let mut head = [0; FRAME_HEAD];
    stream.read_exact(&mut head).await?;
    let _ = stream.write_all(END).await; // it has answered
    Ok(matches!(head, [_, _, _, SETTINGS, ..]))
}
