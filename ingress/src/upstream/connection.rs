//! One try to have a request answered by one endpoint, and what may be said of it if it fails.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::{http1, http2};
use hyper::header::UPGRADE;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::alarm::Alarm;
use crate::compact::Compact;
use crate::exchange::{Outgoing, Silent, Upload};
use crate::ingress::Shared;
use crate::limits::{CONNECTION_WINDOW, STREAM_WINDOW};

use super::driver::{Driver, poll_with};
use super::endpoint::{Endpoint, Patience, ProtocolKind, Wait};
use super::pool::{Http1, Stream, Streams};

/// Time that a connection which was just given back may need until it takes the next request.
const SETTLE: Duration = Duration::from_millis(20);

/// The place that a request has at its endpoint.
pub(crate) enum Line {
    /// A connection of its own, which takes another request afterwards.
    Http1(Http1),
    /// One of the streams of a connection.
    Http2(#[expect(dead_code, reason = "it is held until the response ends")] Stream),
}

impl Line {
    /// The work on the connection, if the task of the request does it.
    pub(crate) const fn driver(&mut self) -> Option<&mut Driver> {
        match self {
            Self::Http1(connection) => connection.driver.as_mut(),
            Self::Http2(_) => None,
        }
    }
}

/// The head of a response, and what its body comes over.
pub(crate) struct Sent {
    pub(crate) response: Response<Incoming>,
    pub(crate) line: Line,
}

/// The reason for which an endpoint did not answer.
#[derive(Debug)]
pub(crate) enum SendFailure {
    /// No byte of the request was sent: it may go elsewhere, whatever it is.
    Unsent(Unsent),
    /// The endpoint said that it did not begin with it: it may go elsewhere if its body is there whole.
    Refused,
    /// The connection ended without a byte of a response: the request may have been carried out.
    Closed,
    /// No head of a response in time, or nothing of the body was taken for too long.
    Late,
    /// It answers nobody, and another endpoint does.
    Hangs,
    /// The client sent nothing of the body for too long.
    Stalled,
    /// The client broke the body off.
    BrokenOff,
    /// The response cannot be understood.
    Broken,
    /// The head of the response is too large.
    TooLarge,
}

/// The reason for which a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// No connection could be made.
    Connect,
    /// The endpoint has as many connections as it may have.
    Full,
    /// The connection had ended before.
    Stale,
}

/// The surroundings of one try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending<'r> {
    pub(crate) shared: &'r Shared,
    pub(crate) endpoint: &'r Arc<Endpoint>,
    pub(crate) upload: &'r Upload,
    pub(crate) patience: Patience<'r>,
    /// The timer of the client's task.
    pub(crate) alarm: &'r Alarm,
}

/// Sends a request to an endpoint and waits for the head of its response.
pub(crate) async fn send(with: Sending<'_>, request: Request<Outgoing>) -> Result<Sent, SendFailure> {
    let upload = with.upload;
    let sent = match with.endpoint.key.protocol {
        ProtocolKind::Http1 => send_http1(with, request).await,
        ProtocolKind::Http2 => send_http2(with, request).await,
    };
    match &sent {
        Ok(_) => upload.stop_keeping(),
        Err(SendFailure::Closed) if upload.is_broken() => return Err(SendFailure::BrokenOff),
        Err(_) => {}
    }
    sent
}

type Answer = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>;

/// Waits for the head of a response for as long as the body moves, and then for its time; for less if the endpoint hangs.
async fn head(with: Sending<'_>, answer: impl Future<Output = Answer>) -> Result<Answer, SendFailure> {
    let Sending { shared, endpoint, upload, patience, alarm } = with;
    let limits = &shared.limits;
    let wait = Wait::begin(endpoint, upload, limits, patience);
    let mut answer = pin!(answer);
    let soon = tokio::select! {
        biased;
        answer = &mut answer => Some(answer),
        () = alarm.until(wait.earliest()) => None,
    };
    let answer = match soon {
        Some(answer) => answer,
        None => tokio::select! {
            biased;
            answer = answer => answer,
            () = wait.too_long() => return Err(SendFailure::Hangs),
            silent = upload.silent(wait.began().into(), limits.response, limits.body_idle) => return Err(match silent {
                Silent::Client => SendFailure::Stalled,
                Silent::Endpoint => SendFailure::Late,
            }),
        },
    };
    if answer.is_ok() {
        wait.answered()
    } else {
        wait.ended()
    }
    Ok(answer)
}

async fn send_http1(with: Sending<'_>, mut request: Request<Outgoing>) -> Result<Sent, SendFailure> {
    let Sending { shared, endpoint, upload, .. } = with;
    // A body goes on while its client takes nothing of the response, and bytes of another protocol go both ways.
    let needs_task = !upload.is_empty() || request.headers().contains_key(UPGRADE);
    loop {
        let (mut connection, reused) = match checkout(endpoint).await {
            Some(connection) => (connection, true),
            None => match connect_http1(shared, endpoint).await {
                Ok(connection) => (connection, false),
                Err(why) => return Err(SendFailure::Unsent(why)),
            },
        };
        if needs_task && let Some(driver) = connection.driver.take() {
            shared.upstream.spawn(driver);
        }
        let Http1 { sender, driver, .. } = &mut connection;
        // Without tokio's budget for a poll: where that is used up, the waker that is there then is the one that wakes nobody.
        let mut answer = pin!(unconstrained(sender.try_send_request(request)));
        let answer = poll_fn(|cx| poll_with(driver.as_mut(), cx, |cx| answer.as_mut().poll(cx)));
        match head(with, answer).await? {
            Ok(response) => return Ok(Sent { response, line: Line::Http1(connection) }),
            Err(mut failed) => match failed.take_message() {
                // An idle connection had ended; a new one tells whether the endpoint is there.
                Some(unsent) if reused => request = unsent,
                Some(_) => return Err(SendFailure::Unsent(Unsent::Stale)),
                None => return Err(failure(&failed.into_error())),
            },
        }
    }
}

/// An idle connection that takes a request.
async fn checkout(endpoint: &Endpoint) -> Option<Http1> {
    while let Some(mut connection) = endpoint.pool.take(Instant::now()) {
        if connection.driver.as_mut().is_none_or(Driver::look) && is_ready(&mut connection).await {
            return Some(connection);
        }
    }
    None
}

/// Whether a connection takes a request, at once or in a moment.
async fn is_ready(connection: &mut Http1) -> bool {
    let Http1 { sender, driver, .. } = connection;
    if sender.is_ready() {
        return true;
    }
    let mut ready = pin!(unconstrained(sender.ready()));
    let ready = poll_fn(|cx| poll_with(driver.as_mut(), cx, |cx| ready.as_mut().poll(cx)));
    matches!(timeout(SETTLE, ready).await, Ok(Ok(())))
}

/// A place among the connections of an endpoint.
async fn place(shared: &Shared, endpoint: &Endpoint) -> Result<OwnedSemaphorePermit, Unsent> {
    let places = Arc::clone(&endpoint.pool.connections);
    if let Ok(permit) = Arc::clone(&places).try_acquire_owned() {
        return Ok(permit);
    }
    match timeout(shared.limits.upstream_queue, places.acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Unsent::Full),
    }
}

async fn connect_http1(shared: &Shared, endpoint: &Arc<Endpoint>) -> Result<Http1, Unsent> {
    let permit = place(shared, endpoint).await?;
    let io = connect(shared, endpoint).await?;
    let mut builder = http1::Builder::new();
    builder.max_headers(shared.limits.headers).max_header_size(shared.limits.head_bytes as usize);
    let (sender, connection) = builder.handshake(io).await.map_err(|_| Unsent::Connect)?;
    let wire = Arc::default();
    endpoint.connected(&wire);
    let driver = Driver::new(&wire, async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "connection to an endpoint ended");
        }
    });
    Ok(Http1 { sender, driver: Some(driver), wire, _permit: permit })
}

async fn send_http2(with: Sending<'_>, mut request: Request<Outgoing>) -> Result<Sent, SendFailure> {
    let Sending { shared, endpoint, .. } = with;
    loop {
        let (mut sender, stream, reused) = match endpoint.pool.stream() {
            Some((sender, stream)) => (sender, stream, true),
            None => match another_stream(shared, endpoint).await {
                Ok((sender, stream)) => (sender, stream, false),
                Err(why) => return Err(SendFailure::Unsent(why)),
            },
        };
        match head(with, sender.try_send_request(request)).await? {
            Ok(response) => {
                stream.streams().answered();
                return Ok(Sent { response, line: Line::Http2(stream) });
            }
            Err(mut failed) => {
                let unsent = failed.take_message();
                if unsent.is_some() {
                    endpoint.pool.forget(stream.streams());
                }
                match unsent {
                    Some(unsent) if reused => request = unsent,
                    Some(_) => return Err(SendFailure::Unsent(Unsent::Stale)),
                    None => {
                        let why = failure(&failed.into_error());
                        if matches!(why, SendFailure::Refused) {
                            stream.streams().refused();
                        }
                        return Err(why);
                    }
                }
            }
        }
    }
}

/// A stream of a new connection, or of one that another request has made meanwhile.
async fn another_stream(
    shared: &Shared,
    endpoint: &Arc<Endpoint>,
) -> Result<(http2::SendRequest<Outgoing>, Stream), Unsent> {
    let Ok(_alone) = timeout(shared.limits.connect, endpoint.pool.connecting.lock()).await else {
        return Err(Unsent::Connect);
    };
    if let Some(found) = endpoint.pool.stream() {
        return Ok(found);
    }
    let assumed = endpoint.pool.streams.load(Relaxed);
    let streams = Streams::new(place(shared, endpoint).await?, assumed);
    let io = connect(shared, endpoint).await?;
    let tasks = shared.until_cut(endpoint);
    let mut builder = http2::Builder::new(tasks.clone());
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(assumed)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_header_list_size(shared.limits.head_bytes)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let (sender, mut connection) = builder.handshake(io).await.map_err(|_| Unsent::Connect)?;
    let (of, at) = (Arc::clone(&streams), Arc::clone(endpoint));
    tasks.run(async move {
        loop {
            let polled = poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                let most = connection.current_max_send_streams();
                if of.allow(most) {
                    at.pool.streams.store(most, Relaxed);
                }
                polled
            });
            tokio::select! {
                _ = polled => return,
                () = of.look() => {}
            }
        }
    });
    let stream = Stream::begin(&streams);
    endpoint.pool.share(sender.clone(), streams);
    Ok((sender, stream))
}

async fn connect(shared: &Shared, endpoint: &Endpoint) -> Result<TokioIo<Compact<TcpStream>>, Unsent> {
    match timeout(shared.limits.connect, TcpStream::connect(endpoint.key.address)).await {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            endpoint.reached();
            Ok(TokioIo::new(Compact(stream)))
        }
        Ok(Err(error)) if is_our_own(&error) => Err(Unsent::Full),
        _ => Err(Unsent::Connect),
    }
}

/// Whether a connection was not even begun, for want of a descriptor, a port or memory here.
fn is_our_own(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM))
}

/// Sorts an error of a request that was sent, or begun to be sent.
fn failure(error: &hyper::Error) -> SendFailure {
    let h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    if let Some(h2) = h2 {
        let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        // A GOAWAY ends only the streams beyond the last one that the endpoint began with.
        let beyond = h2.is_go_away() && h2.is_remote();
        return if refused || beyond { SendFailure::Refused } else { SendFailure::Closed };
    }
    if error.is_parse_too_large() {
        return SendFailure::TooLarge;
    }
    if error.is_parse() {
        return SendFailure::Broken;
    }
    SendFailure::Closed
}
