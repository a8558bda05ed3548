//! The end of an HTTP/1 connection whose client may still be sending. The kernel resets a connection that is closed over bytes which
//! nobody has read, and the client loses the answer with it: so the rest of the request is read and dropped for a while.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::Limits;

/// Bytes that are dropped at once.
const PIECE: usize = 8 * 1024;

/// Whether the newest request of a connection has a rest that nobody has read. So has a connection without a request.
#[derive(Debug, Clone)]
pub(crate) struct Unread(Arc<AtomicBool>);

impl Default for Unread {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Unread {
    /// The head of a request has come; `more` says that it has a body.
    pub(crate) fn begin(&self, more: bool) {
        self.0.store(more, Relaxed);
    }

    /// The body was read to its end.
    pub(crate) fn end(&self) {
        self.0.store(false, Relaxed);
    }

    /// Whether a rest is left.
    pub(crate) fn is_left(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Bounds of the rest that is dropped.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    whole: Duration,
    idle: Duration,
    bytes: usize,
}

/// The reading of a rest.
#[derive(Debug)]
struct Rest {
    until: Instant,
    left: usize,
    /// Runs while nothing comes.
    timer: Pin<Box<Sleep>>,
}

/// A connection that reads and drops the rest of a request between the end of its own side and its close.
#[derive(Debug)]
pub(crate) struct Lingering<T> {
    io: T,
    unread: Unread,
    bounds: Bounds,
    rest: Option<Rest>,
}

impl<T> Lingering<T> {
    pub(crate) fn new(io: T, unread: Unread, limits: &Limits) -> Self {
        let bounds = Bounds { whole: limits.linger, idle: limits.linger_idle, bytes: limits.linger_bytes };
        Self { io, unread, bounds, rest: None }
    }
}

impl<T: AsyncRead + Unpin> Lingering<T> {
    /// Reads and drops until the client has sent all or is gone, or a bound is reached.
    fn poll_drop(io: &mut T, rest: &mut Rest, idle: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); PIECE];
        loop {
            let mut piece = ReadBuf::uninit(&mut space);
            let Poll::Ready(read) = Pin::new(&mut *io).poll_read(cx, &mut piece) else {
                return rest.timer.as_mut().poll(cx);
            };
            let (count, now) = (piece.filled().len(), Instant::now());
            rest.left = rest.left.saturating_sub(count);
            if read.is_err() || count == 0 || rest.left == 0 || now >= rest.until {
                return Poll::Ready(());
            }
            rest.timer.as_mut().reset(rest.until.min(now + idle));
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, unread, bounds, rest } = &mut *self;
        if rest.is_none() {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            if !unread.is_left() {
                return Poll::Ready(Ok(()));
            }
        }
        let rest = rest.get_or_insert_with(|| {
            let now = Instant::now();
            let timer = Box::pin(sleep_until(now + bounds.whole.min(bounds.idle)));
            Rest { until: now + bounds.whole, left: bounds.bytes, timer }
        });
        Self::poll_drop(io, rest, bounds.idle, cx).map(Ok)
    }
}
