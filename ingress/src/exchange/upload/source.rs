//! The body of a request as its client sends it, and the part of it that another try can have.

use std::any::Any;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use crate::upstream::Wire;

/// Bytes of a body that are kept for another try.
const MOST_BYTES: usize = 64 * 1024;
/// Its frames that are kept.
const MOST_FRAMES: usize = 64;

/// The body as it comes from the client, and what is kept of it.
#[derive(Debug)]
pub(super) struct Source {
    /// `None` once it was given up.
    body: Option<Incoming>,
    /// The try that may read, and whether it still does.
    pub(super) number: u32,
    pub(super) is_read: bool,
    /// Frames that were taken, and how many of them the present try has had.
    pub(super) kept: VecDeque<Kept>,
    pub(super) had: usize,
    bytes: usize,
    /// Whether more is kept; and whether all that was taken is there.
    pub(super) keeps: bool,
    pub(super) all: bool,
    pub(super) moved_at: Instant,
    /// Nothing of it was there when it was asked for last.
    pub(super) waits: bool,
    pub(super) ended: bool,
    /// The client sends it once it hears that an endpoint wants it: the first look at it sends the 100.
    pub(super) held: bool,
    /// The response is there whole, and this is the rest.
    pub(super) after: Option<After>,
    /// The client broke it off.
    pub(super) broken: bool,
    waker: Option<Waker>,
}

/// The state of an upload that continues after its response.
#[derive(Debug)]
pub(super) struct After {
    /// The connection over which it goes on, if that carries nothing else.
    pub(super) connection: Option<Arc<Wire>>,
    /// The place at the endpoint, held until the end.
    pub(super) place: Option<Box<dyn Any + Send>>,
}

#[derive(Debug, Clone)]
pub(super) enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Source {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body: Some(body),
            number: 0,
            is_read: false,
            kept: VecDeque::new(),
            had: 0,
            bytes: 0,
            keeps: true,
            all: true,
            moved_at: Instant::now(),
            waits: false,
            ended: false,
            held: false,
            after: None,
            broken: false,
            waker: None,
        }
    }

    /// The try that reads now gets no more.
    pub(super) fn take_away(&mut self) {
        self.number += 1;
        self.wake();
    }

    /// Ends it for everybody. The caller drops what this returns after the lock: dropping it wakes others.
    pub(super) fn give_up(&mut self) -> (Option<Incoming>, Option<After>) {
        self.take_away();
        (self.body.take(), self.after.take())
    }

    /// The client is told to send the body.
    pub(super) fn release(&mut self) {
        self.held = false;
        self.moved_at = Instant::now();
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_later(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    /// The next frame of the present try: a kept one, or one from the client.
    pub(super) fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.had < self.kept.len() {
            let kept = if self.keeps {
                self.had += 1;
                self.kept.get(self.had - 1).cloned()
            } else {
                self.kept.pop_front()
            };
            return Poll::Ready(kept.map(|kept| Ok(kept.into())));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.keep(frame);
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let kept = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Kept::Data(data.clone()),
            (None, Some(trailers)) => Kept::Trailers(trailers.clone()),
            (None, None) => return,
        };
        self.bytes += frame.data_ref().map_or(0, Bytes::len);
        self.keeps &= self.bytes <= MOST_BYTES && self.kept.len() < MOST_FRAMES;
        if self.keeps {
            self.kept.push_back(kept);
            self.had += 1;
        } else {
            self.all = false;
            self.kept.clear();
            self.had = 0;
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        // One that was given up has not ended: an endpoint would take the part for the whole.
        self.had == self.kept.len() && self.body.as_ref().is_some_and(Incoming::is_end_stream)
    }

    /// The size of what the present try has not had.
    pub(super) fn size_hint(&self) -> SizeHint {
        let data = |kept: &Kept| match kept {
            Kept::Data(data) => u64::try_from(data.len()).unwrap_or_default(),
            Kept::Trailers(_) => 0,
        };
        let kept: u64 = self.kept.iter().skip(self.had).map(data).sum();
        let left = self.body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower().saturating_add(kept));
        if let Some(upper) = left.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}

impl From<Kept> for Frame<Bytes> {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Data(data) => Self::data(data),
            Kept::Trailers(trailers) => Self::trailers(trailers),
        }
    }
}
