//! A connection that ends when its certificate does, and that is read no faster than its pace.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::pace::{Frames, Pace};
use super::seats::Seat;
use super::wire::Wire;
use crate::identity::PeerIdentity;
use crate::revocation::Registered;

/// The connection of a request, for its handler:
/// `request.extensions().get::<ConnectInfo>()`.
#[derive(Debug, Clone)]
pub struct ConnectInfo {
    /// The member at the other end; `None` without a certificate, which only enrolment and renewal allow.
    pub peer: Option<Arc<PeerIdentity>>,
    /// The address of the peer.
    pub remote: SocketAddr,
    /// Tripped when the certificate is revoked or expires, or the connection ends. Long streams select on it.
    pub cancel: CancellationToken,
}

/// A TLS connection that a coordinator accepted. Reads and writes fail as soon as its token is tripped.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<Wire>,
    info: ConnectInfo,
    cut: Pin<Box<Cut>>,
    pace: Arc<Pace>,
    frames: Frames,
    /// Not read before this.
    rest: Option<Pin<Box<Sleep>>>,
    // Dropped with the connection: takes it out of the register.
    _place: Place,
}

/// The count that a live connection belongs to.
#[derive(Debug)]
pub(super) enum Place {
    /// Among those of its identity.
    Member(#[expect(dead_code, reason = "held for its drop")] Registered),
    /// Among those without a certificate.
    Stranger(#[expect(dead_code, reason = "held for its drop")] Seat),
}

#[derive(Debug)]
struct Cut {
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    expires: Pin<Box<Sleep>>,
    token: CancellationToken,
}

impl Connection {
    /// `lifetime` is what its certificate has left, or what a connection without one gets.
    pub(super) fn new(
        stream: TlsStream<Wire>,
        info: ConnectInfo,
        lifetime: Duration,
        place: Place,
        pace: Arc<Pace>,
    ) -> Self {
        let cut = Cut {
            cancelled: Box::pin(info.cancel.clone().cancelled_owned()),
            expires: Box::pin(tokio::time::sleep(lifetime)),
            token: info.cancel.clone(),
        };
        let (frames, rest) = (Frames::new(), None);
        Self { stream, info, cut: Box::pin(cut), pace, frames, rest, _place: place }
    }

    /// The peer and its address.
    pub const fn info(&self) -> &ConnectInfo {
        &self.info
    }

    /// Whether it may go on. Leaves a waker with the token and the clock, so that an idle connection is cut too.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let cut = &mut *self.cut;
        if cut.token.is_cancelled() || cut.cancelled.as_mut().poll(cx).is_ready() {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "cut: the certificate was revoked, or there are too many connections",
            ));
        }
        if cut.expires.as_mut().poll(cx).is_ready() {
            cut.token.cancel();
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the certificate has expired, or there is none",
            ));
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectInfo;
    fn connect_info(&self) -> ConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        if let Some(rest) = &mut self.rest {
            std::task::ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        let (wire, filled) = (self.stream.get_ref().0.read(), buf.filled().len());
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let frames = self.frames.count(&buf.filled()[filled..]);
        let bytes = self.stream.get_ref().0.read() - wire;
        if frames > 0 || bytes > 0 {
            let wait = self.pace.spend(frames, bytes, Instant::now());
            if !wait.is_zero() {
                self.rest = Some(Box::pin(tokio::time::sleep(wait)));
            }
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    // Not checked: closing is what a cut connection should do.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
