//! The body of a response on its way to the client.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::upstream::Http1;

use super::guard::Exchange;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the endpoint cut its response: {0}")]
    Endpoint(#[from] hyper::Error),
    #[error("the endpoint sent nothing for {0:?}")]
    Idle(Duration),
}

pin_project_lite::pin_project! {
    /// What a client gets: a response of an endpoint as it comes, or a text of the ingress.
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
            Self::Stream { stream } => stream.body.size_hint(),
        }
    }
}

/// The body of an endpoint's response. It is counted when it ends, and is cut when nothing of it comes for too long.
pub(crate) struct Download {
    body: Incoming,
    exchange: Exchange,
    /// Given back to the endpoint's pool at the end of the body.
    connection: Option<Http1>,
    idle: Duration,
    /// Runs while the endpoint is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Download {
    pub(crate) fn new(
        body: Incoming,
        mut exchange: Exchange,
        mut connection: Option<Http1>,
        idle: Duration,
    ) -> Self {
        if body.is_end_stream() {
            exchange.finish(connection.take());
        }
        Self { body, exchange, connection, idle, timer: None }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            let idle = this.idle;
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
            ready!(timer.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Broken::Idle(idle))));
        };
        if let Some(timer) = &mut this.timer {
            timer.as_mut().reset(Instant::now() + this.idle);
        }
        match frame {
            None => {
                this.exchange.finish(this.connection.take());
                Poll::Ready(None)
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.exchange.trailers(trailers);
                }
                // A body of known length may not be asked again after its last byte.
                if this.body.is_end_stream() {
                    this.exchange.finish(this.connection.take());
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
