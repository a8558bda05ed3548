//! The accept loop: TCP in, finished handshakes out, strangers bounded in number and time.
//!
//! One task ([`Acceptor::run`]), which owns the listener and the handshakes under way. Input: connections; output:
//! a bounded channel of [`Connection`]s that tonic serves. Nobody waits behind strangers to be accepted: a newcomer gets
//! a place, and whoever holds too many loses one ([`super::admission`]).

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use windlass_core::Timestamp;
use windlass_core::quota::{Source, printable};

use super::admission::{Admission, Admitted};
use super::connection::Place;
use super::options::AcceptOptions;
use super::outcome::{HandshakeStats, Outcome};
use super::pace::Paces;
use super::seats::Seats;
use super::wire::Wire;
use super::{ConnectInfo, Connection, ServerTls};
use crate::identity::PeerIdentity;

/// No certificate of ours lives longer; timers have a range.
const MAX_LIFETIME: Duration = Duration::from_secs(31 * 24 * 3600);
/// After `accept` itself failed (no file descriptors), so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Finished handshakes that wait to be served.
const READY: usize = 64;

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
    /// The next step of the user.
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
    admission: Admission,
    strangers: Seats,
    paces: Paces,
}

/// Connections whose handshake is done: for tonic's `serve_with_incoming`.
#[derive(Debug)]
pub struct Incoming {
    ready: mpsc::Receiver<Connection>,
}

/// Starts listening. Nothing is accepted until [`Acceptor::run`] runs; drop [`Incoming`] to end it.
pub fn listen(
    address: SocketAddr,
    tls: ServerTls,
    options: AcceptOptions,
) -> Result<(Acceptor, Incoming), BindError> {
    let listener = bind(address, options.backlog).map_err(|source| BindError { address, source })?;
    let (sender, receiver) = mpsc::channel(READY);
    let strangers = Seats::new(options.anonymous, options.anonymous_per_address);
    let (admission, stats, paces) = (Admission::new(&options), Arc::default(), Paces::default());
    let shared = Arc::new(Shared { tls, options, stats, admission, strangers, paces });
    Ok((Acceptor { listener, shared, ready: sender }, Incoming { ready: receiver }))
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?; // a restart does not wait for old connections to time out
    socket.bind(address)?;
    socket.listen(backlog)
}

impl Acceptor {
    /// The address at which it listens, with the port that was drawn for port 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Counts of the ends of handshakes.
    pub fn stats(&self) -> Arc<HandshakeStats> {
        self.shared.stats.clone()
    }

    /// Counts an address as one that has proven a certificate: of a member that is known from before.
    pub fn expect(&self, address: IpAddr) {
        self.shared.admission.prove(Source::of(address));
    }

    /// Accepts until `cancel` is tripped or [`Incoming`] is dropped. Handshakes under way are dropped then.
    pub async fn run(self, cancel: CancellationToken) {
        let mut handshakes = JoinSet::new();
        loop {
            while handshakes.try_join_next().is_some() {}
            let accepted = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.ready.closed() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, remote)) => {
                    let source = Source::of(remote.ip());
                    let Some(admitted) = self.shared.admission.admit(source) else {
                        self.shared.failed(source, Outcome::Throttled, &"too many connections");
                        continue;
                    };
                    let (shared, ready) = (self.shared.clone(), self.ready.clone());
                    handshakes.spawn(shared.come_in(tcp, remote, admitted, ready));
                    // Queued work goes first, before the next connection is let in.
                    yield_now().await;
                }
                Err(error) => {
                    self.shared.stats.count(Outcome::Accept);
                    // Of no address: all of these share the lines of one.
                    if self.shared.admission.line_due(Source::of(IpAddr::from([0, 0, 0, 0]))).is_some() {
                        tracing::warn!(%error, "failed to accept a connection");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Shared {
    /// Shakes hands and hands the connection on, unless its place is needed for another one meanwhile.
    async fn come_in(
        self: Arc<Self>,
        tcp: TcpStream,
        remote: SocketAddr,
        admitted: Admitted,
        ready: mpsc::Sender<Connection>,
    ) {
        let through = async {
            if let Some(connection) = self.handshake(tcp, remote, &admitted).await {
                drop(ready.send(connection).await);
            }
        };
        tokio::select! {
            biased;
            () = admitted.cut.cancelled() => {
                self.failed(admitted.source, Outcome::Crowded, &"its place was needed for another one");
            }
            () = through => {}
        }
    }

    fn failed(&self, source: Source, outcome: Outcome, why: &dyn Display) {
        self.stats.count(outcome);
        // The text may be the other end's: a flood writes a few lines, however much it does.
        if let Some(more) = self.admission.line_due(source) {
            let why = printable(&why.to_string(), 100);
            tracing::debug!(from = %source, ?outcome, untold = more, "handshake failed: {why}");
        }
    }

    async fn handshake(&self, tcp: TcpStream, remote: SocketAddr, admitted: &Admitted) -> Option<Connection> {
        let source = admitted.source;
        drop(tcp.set_nodelay(true)); // a connection without it is slower, not wrong
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), Wire::new(tcp));
        let hello = match timeout(self.options.hello_timeout, hello).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => {
                self.failed(source, Outcome::of(&error), &error);
                return None;
            }
            Err(_) => {
                self.failed(source, Outcome::Timeout, &"no hello in time");
                return None;
            }
        };
        let Some(wait) = self.admission.greeted(admitted) else {
            self.failed(source, Outcome::Throttled, &"too many handshakes");
            return None;
        };
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let stream = match timeout(self.options.handshake_timeout, hello.into_stream(self.tls.config())).await
        {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.failed(source, Outcome::of(&error), &error);
                return None;
            }
            Err(_) => {
                self.failed(source, Outcome::Timeout, &"the handshake took too long");
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
            None => Place::Stranger(self.strangers.enter(source, cancel.clone())),
        };
        if peer.is_some() {
            self.admission.prove(source);
        }
        let pace = self.paces.of(peer.as_ref().map(|peer| &peer.identity), source);
        self.stats.count(Outcome::Done);
        let info = ConnectInfo { peer, remote, cancel };
        Some(Connection::new(stream, info, lifetime.min(MAX_LIFETIME), place, pace))
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
