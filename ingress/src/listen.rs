//! The side of the clients: accepting connections and serving them until they end or the process drains.

mod announced;
mod http;
mod prefix;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::certificates::Certificates;
use crate::compact::Compact;
use crate::ingress::{Ingress, Shared};
use crate::inner::Stranger;
use crate::proxy::{Client, Transport};

/// Pause after an `accept` that failed, for example because no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Most connections that are still accepted after the order to stop.
const QUEUED: usize = 1024;

/// A connection of a client, with its place among them.
struct Taken {
    address: SocketAddr,
    stream: TcpStream,
    place: Arc<OwnedSemaphorePermit>,
}

/// Returns the client of a connection: the one that a trusted proxy announces, else the peer; and whether a trusted proxy announced
/// none. `None` if a trusted proxy sends no valid header in time.
async fn client_of(shared: &Shared, stream: &mut TcpStream, peer: SocketAddr) -> Option<(SocketAddr, bool)> {
    if !shared.proxies.trusts(peer.ip()) {
        return Some((peer, false));
    }
    let read = timeout(shared.limits.detect, announced::read(stream)).await;
    let client = read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match client {
        Ok(client) => Some((client.unwrap_or(peer), client.is_none())),
        Err(error) => {
            tracing::debug!(proxy = %peer, %error, "a connection without a header of the PROXY protocol was closed");
            None
        }
    }
}

/// Serves a plain connection: calls by name if it came in at the gateway of an inner network, else as `otherwise` says.
/// A listener on every address has the port of each gateway too, and nobody else can listen there then.
async fn serve_at(shared: Arc<Shared>, taken: Taken, otherwise: Option<Transport>) {
    let Taken { mut address, mut stream, place } = taken;
    let Ok(local) = stream.local_addr() else { return };
    let door = shared.table.load().inner.door(local, address.ip());
    let transport = match door {
        Ok(Some(door)) => Some(Transport::Inner(door)),
        Ok(None) => otherwise,
        Err(Stranger) => {
            tracing::debug!(client = %address, gateway = %local, "a client from outside an inner network was turned away");
            None
        }
    };
    let Some(transport) = transport else { return };
    let mut is_unnamed = false;
    if shared.proxy_protocol.http && !matches!(transport, Transport::Inner(_)) {
        let Some(client) = client_of(&shared, &mut stream, address).await else { return };
        (address, is_unnamed) = client;
    }
    let client = Client::new(address, is_unnamed, transport, place);
    http::detect_and_serve(shared, client, Compact(stream)).await;
}

impl Ingress {
    /// Serves plain HTTP on a listener until `stop`; connections that stand go on. HTTP/2 is recognised by its preface.
    pub async fn serve_plain(&self, listener: TcpListener, stop: CancellationToken) {
        self.accept(listener, stop, |shared, taken| async move {
            serve_at(shared, taken, Some(Transport::Plain)).await;
        })
        .await;
    }

    /// Serves calls of services by name on a listener at the gateway of an inner network, until `stop`. A connection from
    /// elsewhere is closed.
    pub async fn serve_inner(&self, listener: TcpListener, stop: CancellationToken) {
        self.accept(listener, stop, |shared, taken| async move {
            serve_at(shared, taken, None).await;
        })
        .await;
    }

    /// Serves one connection of `client` to its end, as one that was accepted on a plain listener.
    pub async fn serve_connection<T>(&self, io: T, client: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(place) = Arc::clone(&self.0.places).acquire_owned().await else { return };
        let client = Client::new(client, false, Transport::Plain, Arc::new(place));
        http::detect_and_serve(Arc::clone(&self.0), client, io).await;
    }

    /// Answers every request on a listener with a redirect to HTTPS at `port`, until `stop`.
    pub async fn serve_redirect(&self, listener: TcpListener, port: u16, stop: CancellationToken) {
        self.accept(listener, stop, move |shared, taken| async move {
            serve_at(shared, taken, Some(Transport::Redirect { port })).await;
        })
        .await;
    }

    /// Serves HTTPS on a listener until `stop`; connections that stand go on.
    ///
    /// # Errors
    /// Only if the cryptography of this build knows no TLS 1.2 or 1.3.
    pub async fn serve_tls(
        &self,
        listener: TcpListener,
        certificates: Arc<Certificates>,
        stop: CancellationToken,
    ) -> Result<(), rustls::Error> {
        let acceptor = TlsAcceptor::from(Arc::new(certificates.server_config()?));
        self.accept(listener, stop, move |shared, taken| {
            let Taken { mut address, mut stream, place } = taken;
            let (acceptor, certificates) = (acceptor.clone(), Arc::clone(&certificates));
            async move {
                let mut is_unnamed = false;
                if shared.proxy_protocol.https {
                    let Some(client) = client_of(&shared, &mut stream, address).await else { return };
                    (address, is_unnamed) = client;
                }
                let Ok(Ok(stream)) = timeout(shared.limits.handshake, acceptor.accept(Compact(stream))).await
                else {
                    return;
                };
                let session = stream.get_ref().1;
                let names = certificates.names_for(session.server_name());
                let transport = Transport::Tls(names);
                let client = Client::new(address, is_unnamed, transport, place);
                if session.alpn_protocol() == Some(b"h2") {
                    http::serve_http2(shared, client, stream).await;
                } else {
                    http::serve_http1(shared, client, stream).await;
                }
            }
        })
        .await;
        Ok(())
    }

    /// Accepts connections until `stop`, and has `each` serve them.
    async fn accept<F>(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
        each: impl Fn(Arc<Shared>, Taken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut left = QUEUED;
        loop {
            let place = tokio::select! {
                biased;
                place = Arc::clone(&self.0.places).acquire_owned() => place,
                () = stop.cancelled() => return,
            };
            let Ok(place) = place else { return };
            // Clients in the kernel's queue are connected already: they are taken before the end, as their connections
            // would be reset with the socket.
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept(), if left > 0 => accepted,
                () = stop.cancelled() => return,
            };
            if stop.is_cancelled() {
                left -= 1;
            }
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            // A client that takes nothing for so long, or is gone, does not keep what it asked for.
            let idle = u32::try_from(self.0.limits.body_idle.as_millis()).unwrap_or(u32::MAX);
            let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, idle);
            let taken = Taken { address, stream, place: Arc::new(place) };
            self.0.tracker.spawn(each(Arc::clone(&self.0), taken));
        }
    }
}
