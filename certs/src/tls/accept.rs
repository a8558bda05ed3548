//! The accept loop: TCP in, finished handshakes out, strangers bounded in number and time.
//!
//! One task ([`Acceptor::run`]), which owns the listener and the handshakes under way. Input: connections; output:
//! a bounded channel of [`Connection`]s that tonic serves. When the server falls behind, handshakes wait, then the
//! kernel's backlog fills, then clients back off.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rustls::{CertificateError, Error as TlsFailure};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use windlass_core::Timestamp;

use super::connection::Place;
use super::strangers::Strangers;
use super::{ConnectInfo, Connection, ServerTls};
use crate::identity::PeerIdentity;

/// No certificate of ours lives longer; timers have a range.
const MAX_LIFETIME: Duration = Duration::from_secs(31 * 24 * 3600);
/// After `accept` itself failed (no file descriptors), so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Finished handshakes that wait to be served.
const READY: usize = 64;

/// How much a listener lets strangers do.
#[derive(Debug, Clone)]
pub struct AcceptOptions {
    /// Handshakes at a time.
    pub handshakes: usize,
    /// How long one may take.
    pub handshake_timeout: Duration,
    /// Connections the kernel keeps waiting.
    pub backlog: u32,
    /// How long a connection without a certificate lives: enough to enrol or renew.
    pub anonymous_lifetime: Duration,
    /// Connections without a certificate, all together.
    pub anonymous: usize,
    /// The same from one address; one more, and its oldest is cut.
    pub anonymous_per_address: usize,
}

impl Default for AcceptOptions {
    fn default() -> Self {
        Self {
            handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            backlog: 4096,
            anonymous_lifetime: Duration::from_secs(60),
            anonymous: 2048,
            anonymous_per_address: 256,
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}")]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl BindError {
    /// What the user can do next.
    pub fn hint(&self) -> Option<&'static str> {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => Some("another process listens there; stop it or choose another port"),
            io::ErrorKind::AddrNotAvailable => Some("this machine has no such address"),
            io::ErrorKind::PermissionDenied => Some("ports below 1024 need CAP_NET_BIND_SERVICE"),
            _ => None,
        }
    }
}

/// The accept loop, to be run as a task.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    shared: Arc<Shared>,
    ready: mpsc::Sender<Connection>,
}

#[derive(Debug)]
struct Shared {
    tls: ServerTls,
    options: AcceptOptions,
    stats: Arc<HandshakeStats>,
    strangers: Strangers,
}

/// Connections whose handshake is done: for tonic's `serve_with_incoming`.
#[derive(Debug)]
pub struct Incoming {
    ready: mpsc::Receiver<Connection>,
}

/// How handshakes ended, for metrics.
#[derive(Debug, Default)]
pub struct HandshakeStats {
    counts: [AtomicU64; Outcome::NAMES.len()],
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Done,
    Accept,
    Timeout,
    Closed,
    Expired,
    Revoked,
    WrongCa,
    WrongPeer,
    Protocol,
    Crowded,
}

impl Outcome {
    const NAMES: [&'static str; 10] = [
        "done",
        "accept_failed",
        "timeout",
        "closed",
        "expired",
        "revoked",
        "wrong_ca",
        "wrong_peer",
        "protocol",
        "crowded",
    ];

    fn of(error: &io::Error) -> Self {
        use CertificateError as C;
        let failure = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFailure>());
        match failure {
            None => Self::Closed,
            Some(TlsFailure::InvalidCertificate(reason)) => match reason {
                C::Expired | C::ExpiredContext { .. } => Self::Expired,
                C::Revoked => Self::Revoked,
                C::UnknownIssuer | C::BadSignature => Self::WrongCa,
                _ => Self::WrongPeer,
            },
            Some(_) => Self::Protocol,
        }
    }
}

impl HandshakeStats {
    /// Count per outcome: `done`, `timeout`, `closed`, `expired`, `revoked`, `wrong_ca`, `wrong_peer`, `protocol`,
    /// `accept_failed`, `crowded` (too many without a certificate).
    pub fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        Outcome::NAMES
            .iter()
            .zip(&self.counts)
            .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
            .collect()
    }

    fn count(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts listening. Nothing is accepted until [`Acceptor::run`] runs; drop [`Incoming`] to end it.
pub fn listen(
    address: SocketAddr,
    tls: ServerTls,
    options: AcceptOptions,
) -> Result<(Acceptor, Incoming), BindError> {
    let listener = bind(address, options.backlog).map_err(|source| BindError { address, source })?;
    let (sender, receiver) = mpsc::channel(READY);
    let strangers = Strangers::new(options.anonymous.max(1), options.anonymous_per_address.max(1));
    let shared = Arc::new(Shared { tls, options, stats: Arc::default(), strangers });
    Ok((Acceptor { listener, shared, ready: sender }, Incoming { ready: receiver }))
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?; // a restart does not wait for old connections to time out
    socket.bind(address)?;
    socket.listen(backlog)
}

impl Acceptor {
    /// Where it listens, with the port that was drawn for port 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// How handshakes ended so far.
    pub fn stats(&self) -> Arc<HandshakeStats> {
        self.shared.stats.clone()
    }

    /// Accepts until `cancel` is tripped or [`Incoming`] is dropped. Handshakes under way are dropped then.
    pub async fn run(self, cancel: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.shared.options.handshakes.max(1)));
        let mut handshakes = JoinSet::new();
        loop {
            while handshakes.try_join_next().is_some() {}
            // The slot first: who has to wait waits in the kernel's backlog, not in our memory.
            let accepted = async {
                let slot = slots.clone().acquire_owned().await.expect("never closed");
                (slot, self.listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.ready.closed() => return,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((tcp, remote)) => {
                    let (shared, ready) = (self.shared.clone(), self.ready.clone());
                    handshakes.spawn(async move {
                        if let Some(connection) = shared.handshake(tcp, remote).await {
                            drop(ready.send(connection).await);
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    self.shared.stats.count(Outcome::Accept);
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Shared {
    async fn handshake(&self, tcp: TcpStream, remote: SocketAddr) -> Option<Connection> {
        let acceptor = TlsAcceptor::from(self.tls.config());
        drop(tcp.set_nodelay(true)); // a connection without it is slower, not wrong
        let stream = match timeout(self.options.handshake_timeout, acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let outcome = Outcome::of(&error);
                self.stats.count(outcome);
                tracing::debug!(%remote, %error, ?outcome, "handshake failed");
                return None;
            }
            Err(_) => {
                self.stats.count(Outcome::Timeout);
                tracing::debug!(%remote, "handshake took too long");
                return None;
            }
        };
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = match leaf.map(|leaf| PeerIdentity::from_der(leaf)).transpose() {
            Ok(peer) => peer.map(Arc::new),
            Err(_) => {
                // The verifier has read it already; never serve what cannot be named.
                self.stats.count(Outcome::WrongPeer);
                return None;
            }
        };
        let lifetime =
            peer.as_ref().map_or(self.options.anonymous_lifetime, |peer| peer.not_after.since(now()));
        let cancel = CancellationToken::new();
        let place = match &peer {
            Some(peer) => Place::Member(self.tls.revocations().register(peer, cancel.clone())),
            None => match self.strangers.enter(remote.ip(), cancel.clone()) {
                Some(place) => Place::Stranger(place),
                None => {
                    self.stats.count(Outcome::Crowded);
                    tracing::debug!(%remote, "too many connections without a certificate");
                    return None;
                }
            },
        };
        self.stats.count(Outcome::Done);
        let info = ConnectInfo { peer, remote, cancel };
        Some(Connection::new(stream, info, lifetime.min(MAX_LIFETIME), place))
    }
}

/// rustls judges certificates by the system's clock; their end is judged by the same one.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx).map(|connection| connection.map(Ok))
    }
}
