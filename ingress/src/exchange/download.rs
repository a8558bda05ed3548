//! The body of a response on its way to the client.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::upstream::{End, Flow, Line, poll_with};

use super::guard::Exchange;
use super::upload::Upload;

/// Delay before a stream of HTTP/2 is reset, so that what came before is sent first: a reset discards what is queued.
const RESET_DELAY: Duration = Duration::from_millis(20);

/// The reason for which a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the endpoint cut its response: {0}")]
    Endpoint(#[from] hyper::Error),
    #[error("the endpoint sent nothing for {0:?}")]
    Idle(Duration),
    #[error("its endpoint has left, or the client took nothing of it")]
    GivenUp,
}

pin_project_lite::pin_project! {
    /// The answer to a client: a response of an endpoint as it comes, or a text of the ingress.
    #[project = AnswerParts]
    pub(crate) enum Answer {
        Text { #[pin] text: Full<Bytes> },
        Stream { #[pin] stream: Download },
    }
}

impl Answer {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self::Text { text: Full::new(text.into()) }
    }

    pub(crate) const fn stream(stream: Download) -> Self {
        Self::Stream { stream }
    }

    /// Whether it is a text of the ingress.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self, Self::Text { .. })
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.project() {
            AnswerParts::Text { text } => text.poll_frame(cx).map_err(|never| match never {}),
            AnswerParts::Stream { stream } => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text { text } => text.is_end_stream(),
            Self::Stream { stream } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text { text } => text.size_hint(),
            Self::Stream { stream } => stream.size_hint(),
        }
    }
}

/// The body of an endpoint's response. It is counted when it ends, and is cut when nothing of it comes for too long.
pub(crate) struct Download(Arc<Passing>);

/// A response on its way.
struct Passing(Mutex<Option<Live>>);

struct Live {
    body: Incoming,
    exchange: Exchange,
    /// Given back to the endpoint's pool at the end of the body.
    line: Option<Line>,
    upload: Upload,
    idle: Duration,
    /// Runs while the endpoint is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when the client has been given all that came, if it is not waiting for more.
    given_at: Option<Instant>,
    listed: bool,
    /// The end that the client hears of next, once what came before is on its way.
    broken: Option<Broken>,
    waker: Option<Waker>,
}

impl std::fmt::Debug for Passing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passing").finish_non_exhaustive()
    }
}

impl Passing {
    fn lock(&self) -> MutexGuard<'_, Option<Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow for Passing {
    fn end(&self, why: End, now: Instant) {
        let live = {
            let mut live = self.lock();
            let ends = |live: &Live| match why {
                End::Drained => true,
                End::Unread(idle) => {
                    live.exchange.is_stream() && live.given_at.is_some_and(|at| now - at >= idle)
                }
            };
            if !live.as_ref().is_some_and(ends) {
                return;
            }
            live.take()
        };
        if let Some(waker) = live.and_then(|live| live.waker) {
            waker.wake();
        }
    }
}

impl Download {
    pub(crate) fn new(
        body: Incoming,
        exchange: Exchange,
        line: Option<Line>,
        upload: Upload,
        idle: Duration,
    ) -> Self {
        let (timer, given_at, listed, broken, waker) = (None, None, false, None, None);
        let mut live = Live { body, exchange, line, upload, idle, timer, given_at, listed, broken, waker };
        if live.body.is_end_stream() {
            live.finish();
        }
        Self(Arc::new(Passing(Mutex::new(Some(live)))))
    }
}

impl Live {
    /// The last byte of the response was read. A connection of HTTP/1 over which an upload still goes on takes no other request.
    fn finish(&mut self) {
        let line = self.line.take();
        let connection = match &line {
            Some(Line::Http1(connection)) => Some(Arc::clone(&connection.wire)),
            Some(Line::Http2(_)) | None => None,
        };
        match self.upload.answered(connection) {
            None => self.exchange.finish(line),
            Some(rest) => {
                self.exchange.list(rest);
                self.exchange.finish(None);
                self.upload.keep(self.exchange.give_place());
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.broken.is_some()
            && let Some(timer) = &mut self.timer
        {
            ready!(timer.as_mut().poll(cx));
        }
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        let Self { body, line, .. } = self;
        let driver = line.as_mut().and_then(Line::driver);
        let Poll::Ready(frame) = poll_with(driver, cx, |cx| Pin::new(&mut *body).poll_frame(cx)) else {
            self.given_at = None;
            let idle = self.idle;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
            loop {
                ready!(timer.as_mut().poll(cx));
                // An endpoint that waits for the rest of the request is not idle.
                match self.upload.moved_at() {
                    Some(at) if at + idle > Instant::now() => timer.as_mut().reset(at + idle),
                    _ => break,
                }
            }
            self.exchange.broke();
            return Poll::Ready(Some(Err(Broken::Idle(idle))));
        };
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + self.idle);
        }
        match frame {
            None => {
                self.finish();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                // A client that breaks its request off ends the connection to the endpoint too.
                if !self.upload.is_broken() {
                    self.exchange.broke_off();
                }
                // An error ends the client's connection or stream, with the head and all data that were not written yet.
                self.broken = Some(error.into());
                self.timer = self.exchange.is_stream().then(|| Box::pin(tokio::time::sleep(RESET_DELAY)));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.exchange.trailers(trailers);
                }
                // A body may not be asked again after its trailers, or, if its length is known, after its last byte.
                if self.body.is_end_stream() || frame.is_trailers() {
                    self.finish();
                } else {
                    self.given_at = Some(Instant::now());
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut lock = self.0.lock();
        let Some(live) = &mut *lock else { return Poll::Ready(Some(Err(Broken::GivenUp))) };
        let polled = live.poll_frame(cx);
        let goes_on =
            matches!(polled, Poll::Pending | Poll::Ready(Some(Ok(_)))) && !live.body.is_end_stream();
        if goes_on && !std::mem::replace(&mut live.listed, true) {
            live.exchange.list(Arc::<Passing>::downgrade(&self.0));
        }
        if polled.is_pending() && !live.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            live.waker = Some(cx.waker().clone());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|live| live.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().as_ref().map_or_else(SizeHint::default, |live| live.body.size_hint())
    }
}
