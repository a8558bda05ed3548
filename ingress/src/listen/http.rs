//! One connection of a client, from its protocol to its end.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use crate::ingress::Shared;
use crate::limits::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::linger::Lingering;
use crate::proxy::{Client, serve};

use super::prefix::Prefixed;

/// Time between two looks whether an HTTP/2 connection is idle or old.
const LOOK: Duration = Duration::from_secs(5);

/// Serves a plain connection in the protocol that its first bytes show.
pub(super) async fn detect_and_serve<T>(shared: Arc<Shared>, client: Client, io: T)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(Ok((io, http2))) = timeout(shared.limits.detect, Prefixed::detect(io)).await else { return };
    if http2 {
        serve_http2(shared, client, io).await;
    } else {
        serve_http1(shared, client, io).await;
    }
}

/// Serves HTTP/1. A client that was answered early can send the rest of its request before the connection is closed.
pub(super) async fn serve_http1<T>(shared: Arc<Shared>, client: Client, io: T)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let of_requests = Arc::clone(&shared);
    let io = Lingering::new(io, client.unread.clone(), &shared.limits);
    let alarm = client.alarm.clone();
    let service = service_fn(move |request| serve(Arc::clone(&of_requests), client.clone(), request));
    let connection = http1::Builder::new()
        .timer(alarm)
        .header_read_timeout(shared.limits.head)
        .max_headers(shared.limits.headers)
        .max_header_size(shared.limits.head_bytes as usize)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut close_idle = pin!(shared.drain.close_idle.reached());
    let mut cut = pin!(shared.drain.cut_requests.reached());
    let mut closing = false;
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            if ended.is_err_and(|error| error.is_parse()) {
                shared.bad_requests.fetch_add(1, Relaxed); // answered by hyper
            }
            return Poll::Ready(());
        }
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !closing && close_idle.as_mut().poll(cx).is_ready() {
            closing = true;
            connection.as_mut().graceful_shutdown();
            return connection.as_mut().poll(cx).map(drop);
        }
        Poll::Pending
    })
    .await;
}

/// Serves HTTP/2. A connection that is idle for long or very old is told to go (GOAWAY), and finishes what it has.
pub(super) async fn serve_http2<T>(shared: Arc<Shared>, client: Client, io: T)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (of_requests, streams) = (Arc::clone(&shared), Arc::new(Streams::default()));
    let counted = Arc::clone(&streams);
    let service = service_fn(move |request| {
        let client = client.in_stream();
        let (shared, open) = (Arc::clone(&of_requests), Open::new(&counted));
        async move {
            let answer = serve(shared, client, request).await;
            drop(open);
            answer
        }
    });
    let connection = http2::Builder::new(shared.executor())
        .timer(TokioTimer::new())
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_concurrent_streams(100)
        .max_pending_accept_reset_streams(20)
        .max_header_list_size(shared.limits.head_bytes)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let tenth = shared.limits.h2_lifetime / 10;
    let spread = u32::try_from(shared.random() % 1000).unwrap_or_default();
    let old = Instant::now() + shared.limits.h2_lifetime - tenth + tenth * 2 / 1000 * spread;
    let (mut closing, mut idle_since, mut seen) = (false, Instant::now(), 0);
    loop {
        tokio::select! {
            _ = &mut connection => return,
            () = shared.drain.begun.reached(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = shared.drain.cut_requests.reached() => return,
            () = tokio::time::sleep(LOOK), if !closing => {
                let now = Instant::now();
                let begun = streams.begun.load(Relaxed);
                if streams.open.load(Relaxed) > 0 || begun != seen {
                    (idle_since, seen) = (now, begun);
                }
                if now >= old || now - idle_since >= shared.limits.h2_idle {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Requests of an HTTP/2 connection.
#[derive(Debug, Default)]
struct Streams {
    begun: AtomicUsize,
    open: AtomicUsize,
}

/// A request until the head of its response. Its body keeps the connection busy by itself.
struct Open(Arc<Streams>);

impl Open {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.begun.fetch_add(1, Relaxed);
        streams.open.fetch_add(1, Relaxed);
        Self(Arc::clone(streams))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
