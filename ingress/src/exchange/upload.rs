//! The body of a request on its way to an endpoint. Another try gets it from its beginning while all that was read of
//! it is kept here; that is bounded, and dropped when the head of a response comes.

mod source;

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Request, StatusCode};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use crate::linger::Unread;
use crate::upstream::{End, Flow, Wire};

use source::{After, Source};

/// How long an endpoint may take to say that it wants the body of a request with `Expect: 100-continue`. It need not say so
/// (RFC 9110, section 10.1.1), and clients wait as long as this too.
const WORD: Duration = Duration::from_secs(1);

/// Most bytes of a body that are read for the sake of the client's next request, and the longest time for them.
const SMALL: u64 = 64 * 1024;
const SOON: Duration = Duration::from_millis(100);

/// A request's body, as its exchange has it.
#[derive(Debug, Clone)]
pub(crate) struct Upload(Option<Arc<Shared>>);

/// The same body, as one try reads it. A later try takes it away.
#[derive(Debug)]
pub(crate) struct Outgoing {
    shared: Option<Arc<Shared>>,
    number: u32,
    /// Runs while the endpoint has not said that it wants the body.
    word: Option<Pin<Box<Sleep>>>,
}

/// The side that let an upload wait for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silent {
    Client,
    Endpoint,
}

/// The reason for which a try gets no more of a body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoBody {
    #[error("the client broke its request off")]
    Client(#[from] hyper::Error),
    #[error("another endpoint has the request, or it was answered")]
    TakenAway,
}

/// An endpoint may take nothing of the rest for so many times the pause of a client.
const ENDPOINT_PAUSES: u32 = 6;

#[derive(Debug)]
struct Shared {
    source: Mutex<Source>,
    ended: Notify,
    unread: Unread,
    /// How long the rest of an upload may pause once its response is complete.
    idle: Duration,
}

impl Upload {
    /// The body of a request; `unread` is told when all of it was read. After its response it may rest for `idle`.
    pub(crate) fn new(body: Incoming, unread: Unread, idle: Duration) -> Self {
        if body.is_end_stream() {
            return Self(None);
        }
        let source = Mutex::new(Source::new(body));
        Self(Some(Arc::new(Shared { source, ended: Notify::new(), unread, idle })))
    }

    /// No body.
    #[cfg(test)]
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Whether there is no body.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether another endpoint can have it whole.
    pub(crate) fn can_repeat(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.lock().all)
    }

    /// Whether the client broke it off.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.lock().broken)
    }

    /// The body for one more try, from its beginning. The try before gets no more of it.
    pub(crate) fn outgoing(&self) -> Outgoing {
        let Some(shared) = &self.0 else {
            return Outgoing { shared: None, number: 0, word: None };
        };
        let mut source = shared.lock();
        source.take_away();
        (source.had, source.ended, source.waits, source.is_read) = (0, false, false, true);
        source.moved_at = Instant::now();
        Outgoing { shared: Some(Arc::clone(shared)), number: source.number, word: None }
    }

    /// Leaves the body with the client until an endpoint asks for it, answers without it, or [`WORD`] has passed.
    pub(crate) fn hold(&self) {
        if let Some(shared) = &self.0 {
            shared.lock().held = true;
        }
    }

    /// Lets the endpoint's answer 100 to `request` release a body that is held.
    pub(crate) fn listen<B>(&self, request: &mut Request<B>) {
        let Some(shared) = self.0.as_ref().filter(|shared| shared.lock().held) else { return };
        // A connection keeps this until its next answer.
        let shared = Arc::downgrade(shared);
        hyper::ext::on_informational(request, move |said| {
            if let Some(shared) = shared.upgrade().filter(|_| said.status() == StatusCode::CONTINUE) {
                shared.lock().release();
            }
        });
    }

    /// The head of a response is there: no other try will need the body.
    pub(crate) fn stop_keeping(&self) {
        let Some(shared) = &self.0 else { return };
        let mut source = shared.lock();
        source.keeps = false;
        let had = std::mem::take(&mut source.had);
        source.kept.drain(..had);
        source.all = false;
    }

    /// Marks the response as complete. The endpoint may read the rest of the body until it takes nothing for a while; then
    /// `connection` is cut. Returns the rest, if any, so that the endpoint can end it.
    pub(crate) fn answered(&self, connection: Option<Arc<Wire>>) -> Option<Weak<dyn Flow>> {
        let shared = self.0.as_ref()?;
        let mut source = shared.lock();
        if !source.is_read || source.ended {
            return None;
        }
        source.after = Some(After { connection, place: None });
        source.moved_at = Instant::now();
        source.wake();
        let rest: Weak<dyn Flow> = Arc::<Shared>::downgrade(shared);
        Some(rest)
    }

    /// Holds the request's place at the endpoint until the rest has ended.
    pub(crate) fn keep(&self, place: Option<impl Send + 'static>) {
        let (Some(shared), Some(place)) = (&self.0, place) else { return };
        if let Some(after) = &mut shared.lock().after {
            after.place = Some(Box::new(place));
        }
    }

    /// Reads and drops the rest of a small body that no endpoint gets, so that its connection can take another request.
    pub(crate) async fn read_up(&self) {
        let Some(shared) = &self.0 else { return };
        if shared.lock().held {
            return; // the client would be asked for it
        }
        let mut rest = self.outgoing();
        if rest.size_hint().lower() > SMALL {
            return;
        }
        let read = async {
            let mut left = SMALL;
            while let Some(Ok(frame)) = rest.frame().await {
                let count = frame.data_ref().map_or(0, Bytes::len);
                left = left.saturating_sub(u64::try_from(count).unwrap_or(left));
                if left == 0 {
                    return;
                }
            }
        };
        drop(timeout(SOON, read).await);
    }

    /// When something of it was taken last, unless all of it was.
    pub(crate) fn moved_at(&self) -> Option<Instant> {
        let source = self.0.as_ref()?.lock();
        (!source.ended).then_some(source.moved_at)
    }

    /// Since when an endpoint that has been asked since `began` has all of it; `None` if it has not.
    pub(crate) fn whole_since(&self, began: std::time::Instant) -> Option<std::time::Instant> {
        let Some(shared) = &self.0 else { return Some(began) };
        let source = shared.lock();
        source.ended.then(|| source.moved_at.into_std().max(began))
    }

    /// Waits until nothing has moved for `idle` while there is more of it, or until an endpoint that was asked at `began` and has all
    /// of it has not answered for `response`.
    pub(crate) async fn silent(&self, began: Instant, response: Duration, idle: Duration) -> Silent {
        let Some(shared) = &self.0 else {
            sleep_until(began + response).await;
            return Silent::Endpoint;
        };
        loop {
            let (until, who) = {
                let source = shared.lock();
                let who = if source.waits && !source.ended { Silent::Client } else { Silent::Endpoint };
                (source.moved_at + if source.ended { response } else { idle }, who)
            };
            if until <= Instant::now() {
                return who;
            }
            tokio::select! {
                () = sleep_until(until) => {}
                () = shared.ended.notified() => {}
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow for Shared {
    fn end(&self, why: End, now: Instant) {
        let (body, after) = {
            let mut source = self.lock();
            // An endpoint that works on what it has may pause for longer than a client that sends nothing.
            let idle = if source.waits { self.idle } else { self.idle * ENDPOINT_PAUSES };
            let rests = now.saturating_duration_since(source.moved_at) >= idle;
            if source.after.is_none() || source.ended || !(rests || why == End::Drained) {
                return;
            }
            source.give_up()
        };
        drop(body);
        // A connection whose endpoint reads nothing does not ask for more, and would stand for ever.
        if let Some(connection) = after.and_then(|after| after.connection) {
            connection.cut();
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else { return };
        let mut source = shared.lock();
        source.is_read &= source.number != self.number;
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = NoBody;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, NoBody>>> {
        let Self { shared, number, word } = self.get_mut();
        let Some(shared) = shared else { return Poll::Ready(None) };
        let mut source = shared.lock();
        if source.number != *number {
            return Poll::Ready(Some(Err(NoBody::TakenAway)));
        }
        if source.held && source.after.is_some() {
            // The client was never asked for its body.
            return Poll::Ready(Some(Err(NoBody::TakenAway)));
        }
        if source.held {
            source.wake_later(cx);
            let word = word.get_or_insert_with(|| Box::pin(sleep(WORD)));
            ready!(word.as_mut().poll(cx));
            source.release();
        }
        let Poll::Ready(frame) = source.next(cx) else {
            source.waits = true;
            source.wake_later(cx);
            return Poll::Pending;
        };
        source.waits = false;
        source.moved_at = Instant::now();
        source.broken |= matches!(frame, Some(Err(_)));
        // Nobody asks for more after trailers.
        let trailers = matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
        if frame.is_none() || trailers || source.is_at_end() {
            source.ended = true;
            shared.ended.notify_one();
            shared.unread.end();
        }
        Poll::Ready(frame.map(|frame| Ok(frame?)))
    }

    fn is_end_stream(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.lock().is_at_end())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(shared) = &self.shared else { return SizeHint::with_exact(0) };
        shared.lock().size_hint()
    }
}
