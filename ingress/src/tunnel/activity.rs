//! Whether bytes move in a tunnel.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// Counts reads that brought something.
#[derive(Debug, Default)]
pub(super) struct Activity(AtomicU64);

impl Activity {
    /// Ends when nothing has moved for `limit`, seen at the end of a span of that length: after at most twice as long.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            let before = self.0.load(Relaxed);
            tokio::time::sleep(limit).await;
            if self.0.load(Relaxed) == before {
                return;
            }
        }
    }
}

/// One side of a tunnel.
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: T,
    activity: Arc<Activity>,
    /// The frames that were written to it, if it is a WebSocket.
    frames: Option<Frames>,
}

impl<T> Watched<T> {
    pub(super) const fn new(io: T, activity: Arc<Activity>, frames: Option<Frames>) -> Self {
        Self { io, activity, frames }
    }

    /// The frames that were written to it, if it is a WebSocket.
    pub(super) const fn frames(&self) -> Option<&Frames> {
        self.frames.as_ref()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.0.fetch_add(1, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        if let Some(frames) = &mut self.frames {
            frames.take(bytes.get(..written).unwrap_or_default());
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
