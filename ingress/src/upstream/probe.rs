//! Active probes: an endpoint that does not answer them gets no requests until it does, as far as others are left.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::ingress::Ingress;
use crate::limits::Limits;

use super::endpoint::Endpoint;

/// Probes at once.
const MOST: usize = 64;
/// How often it is looked which endpoints are due, as a part of the shortest interval.
const LOOKS: u32 = 8;
/// `HTTP/1.1 200`
const STATUS_LINE: usize = 12;

impl Ingress {
    /// Probes every endpoint of the tables until `cancel`: with a request if its port has a path for that, else by a
    /// connection.
    pub async fn probe(&self, cancel: CancellationToken) {
        let limits = &self.0.limits;
        let mut look = tokio::time::interval(limits.probe.min(limits.probe_busy) / LOOKS);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut probes = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                Some(_) = probes.join_next() => continue,
                _ = look.tick() => {}
            }
            let due = self.0.registry().due(limits, Instant::now(), MOST.saturating_sub(probes.len()));
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

/// Probes an endpoint. Answers whether one that stands by answers from now on, which requests may wait for.
async fn probe(endpoint: &Arc<Endpoint>, limits: &Limits) -> bool {
    let path = endpoint.probe_path();
    let answered =
        timeout(limits.probe_timeout, ask(endpoint.key.address, path.as_deref().map(String::as_str)));
    let ready = matches!(answered.await, Ok(Ok(true)));
    let (address, release) = (endpoint.key.address, endpoint.key.release.short());
    let answers_now = ready && !endpoint.is_proven();
    let changes = endpoint.probed(ready, limits);
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

/// Whether the endpoint is ready. Only the status counts.
async fn ask(address: SocketAddr, path: Option<&str>) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let Some(path) = path else { return Ok(true) };
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
