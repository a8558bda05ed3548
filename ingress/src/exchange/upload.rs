//! The body of a request on its way to an endpoint. It can be taken back for another try until its first byte was asked for.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A request's body.
#[derive(Debug, Clone)]
pub(crate) struct Upload(Option<Arc<Mutex<Source>>>);

#[derive(Debug)]
struct Source {
    body: Incoming,
    touched: bool,
}

impl Upload {
    pub(crate) fn new(body: Incoming) -> Self {
        if body.is_end_stream() {
            return Self(None);
        }
        Self(Some(Arc::new(Mutex::new(Source { body, touched: false }))))
    }

    /// Whether there is no body.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether nothing of it was asked for, so that another endpoint can have it whole.
    pub(crate) fn is_untouched(&self) -> bool {
        self.0.as_ref().is_none_or(|source| !lock(source).touched)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(source) = &self.0 else { return Poll::Ready(None) };
        let mut source = lock(source);
        source.touched = true;
        Pin::new(&mut source.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|source| lock(source).body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |source| lock(source).body.size_hint())
    }
}

fn lock(source: &Mutex<Source>) -> std::sync::MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}
