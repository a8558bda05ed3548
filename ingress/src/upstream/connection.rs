//! One try to have a request answered by one endpoint, and what may be said of it if it fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::exchange::Upload;
use crate::ingress::Shared;
use crate::limits::{CONNECTION_WINDOW, STREAM_WINDOW};

use super::endpoint::{Endpoint, ProtocolKind};
use super::pool::Http1;

/// How long a connection that was just given back may need until it takes the next request.
const SETTLE: Duration = Duration::from_millis(20);

/// The head of a response, and the connection that its body comes over, if that can be used again.
pub(crate) struct Sent {
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: Option<Http1>,
}

/// Why an endpoint did not answer.
#[derive(Debug)]
pub(crate) enum SendFailure {
    /// No byte of the request was sent: it may go elsewhere, whatever it is.
    Unsent(Unsent),
    /// The endpoint said that it did not begin with it: it may go elsewhere if its body was not touched.
    Refused,
    /// The connection ended without a byte of a response: the request may have been carried out.
    Closed,
    /// No head of a response in time.
    Late,
    /// The response cannot be understood.
    Broken,
}

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// No connection could be made.
    Connect,
    /// The endpoint has as many connections as it may have.
    Full,
    /// The connection had ended before.
    Stale,
}

/// Sends a request to an endpoint and waits for the head of its response.
pub(crate) async fn send(
    shared: &Shared,
    endpoint: &Arc<Endpoint>,
    request: Request<Upload>,
) -> Result<Sent, SendFailure> {
    match endpoint.key.protocol {
        ProtocolKind::Http1 => send_http1(shared, endpoint, request).await,
        ProtocolKind::Http2 => send_http2(shared, endpoint, request).await,
    }
}

async fn send_http1(
    shared: &Shared,
    endpoint: &Arc<Endpoint>,
    mut request: Request<Upload>,
) -> Result<Sent, SendFailure> {
    loop {
        let (mut connection, reused) = match checkout(endpoint).await {
            Some(connection) => (connection, true),
            None => match connect_http1(shared, endpoint).await {
                Ok(connection) => (connection, false),
                Err(why) => return Err(SendFailure::Unsent(why)),
            },
        };
        let sending = connection.sender.try_send_request(request);
        match timeout(shared.limits.response, sending).await {
            Err(_) => return Err(SendFailure::Late),
            Ok(Ok(response)) => return Ok(Sent { response, connection: Some(connection) }),
            Ok(Err(mut failed)) => match failed.take_message() {
                // An idle connection had ended; a new one tells whether the endpoint is there.
                Some(unsent) if reused => request = unsent,
                Some(_) => return Err(SendFailure::Unsent(Unsent::Stale)),
                None => return Err(failure(failed.into_error())),
            },
        }
    }
}

/// An idle connection that takes a request.
async fn checkout(endpoint: &Endpoint) -> Option<Http1> {
    while let Some(mut connection) = endpoint.pool.take(Instant::now()) {
        if connection.sender.is_ready()
            || matches!(timeout(SETTLE, connection.sender.ready()).await, Ok(Ok(())))
        {
            return Some(connection);
        }
    }
    None
}

async fn connect_http1(shared: &Shared, endpoint: &Arc<Endpoint>) -> Result<Http1, Unsent> {
    let places = Arc::clone(&endpoint.pool.connections);
    let permit = match Arc::clone(&places).try_acquire_owned() {
        Ok(permit) => permit,
        Err(_) => match timeout(shared.limits.upstream_queue, places.acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            _ => return Err(Unsent::Full),
        },
    };
    let io = connect(shared, endpoint).await?;
    let mut builder = http1::Builder::new();
    builder.max_headers(shared.limits.headers).max_header_size(shared.limits.head_bytes as usize);
    let (sender, connection) = builder.handshake(io).await.map_err(|_| Unsent::Connect)?;
    let cut = endpoint.cut.clone();
    shared.tracker.spawn(async move {
        tokio::select! {
            ended = connection.with_upgrades() => {
                if let Err(error) = ended {
                    tracing::trace!(%error, "connection to an endpoint ended");
                }
            }
            () = cut.cancelled() => {}
        }
    });
    Ok(Http1 { sender, _permit: permit })
}

async fn send_http2(
    shared: &Shared,
    endpoint: &Arc<Endpoint>,
    mut request: Request<Upload>,
) -> Result<Sent, SendFailure> {
    loop {
        let (mut sender, reused) = match endpoint.pool.shared() {
            Some(sender) => (sender, true),
            None => match connect_http2(shared, endpoint).await {
                Ok(sender) => (sender, false),
                Err(why) => return Err(SendFailure::Unsent(why)),
            },
        };
        if sender.ready().await.is_err() {
            endpoint.pool.unshare();
            if reused {
                continue;
            }
            return Err(SendFailure::Unsent(Unsent::Stale));
        }
        match timeout(shared.limits.response, sender.try_send_request(request)).await {
            Err(_) => return Err(SendFailure::Late),
            Ok(Ok(response)) => return Ok(Sent { response, connection: None }),
            Ok(Err(mut failed)) => match failed.take_message() {
                Some(unsent) if reused => {
                    endpoint.pool.unshare();
                    request = unsent;
                }
                Some(_) => return Err(SendFailure::Unsent(Unsent::Stale)),
                None => return Err(failure(failed.into_error())),
            },
        }
    }
}

async fn connect_http2(
    shared: &Shared,
    endpoint: &Arc<Endpoint>,
) -> Result<http2::SendRequest<Upload>, Unsent> {
    let io = connect(shared, endpoint).await?;
    let mut builder = http2::Builder::new(shared.executor());
    builder
        .timer(TokioTimer::new())
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_header_list_size(shared.limits.head_bytes)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let (sender, connection) = builder.handshake(io).await.map_err(|_| Unsent::Connect)?;
    let cut = endpoint.cut.clone();
    shared.tracker.spawn(async move {
        tokio::select! {
            _ = connection => {}
            () = cut.cancelled() => {}
        }
    });
    endpoint.pool.share(sender.clone());
    Ok(sender)
}

async fn connect(shared: &Shared, endpoint: &Endpoint) -> Result<TokioIo<TcpStream>, Unsent> {
    match timeout(shared.limits.connect, TcpStream::connect(endpoint.key.address)).await {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            endpoint.succeeded();
            Ok(TokioIo::new(stream))
        }
        _ => Err(Unsent::Connect),
    }
}

/// Sorts an error of a request that was sent, or begun to be sent.
fn failure(error: hyper::Error) -> SendFailure {
    let h2 = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<h2::Error>());
    if let Some(h2) = h2 {
        let refused = h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        return if refused { SendFailure::Refused } else { SendFailure::Closed };
    }
    if error.is_parse() {
        return SendFailure::Broken;
    }
    SendFailure::Closed
}
