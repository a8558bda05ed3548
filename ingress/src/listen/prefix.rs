//! A connection of which the first bytes have been read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// The first bytes of an HTTP/2 connection (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection and the bytes that were read from it to learn its protocol.
#[derive(Debug)]
pub(super) struct Prefixed<T> {
    head: [u8; PREFACE.len()],
    from: usize,
    to: usize,
    io: T,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Prefixed<T> {
    /// Reads until the first bytes are the preface or differ from it; answers with whether they are.
    pub(super) async fn detect(mut io: T) -> io::Result<(Self, bool)> {
        let (mut head, mut to) = ([0; PREFACE.len()], 0);
        while to < head.len() && head[..to] == PREFACE[..to] {
            match io.read(&mut head[to..]).await? {
                0 => break,
                count => to += count,
            }
        }
        let http2 = head == *PREFACE;
        Ok((Self { head, from: 0, to, io }, http2))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.from < this.to {
            let left = &this.head[this.from..this.to];
            let count = left.len().min(buf.remaining());
            buf.put_slice(&left[..count]);
            this.from += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
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
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Writes the pieces one by one, then ends; answers with what was detected and what can be read.
    async fn detected(pieces: &[&[u8]]) -> (bool, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(64);
        let write = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let read = async {
            let (mut io, http2) = Prefixed::detect(server).await.unwrap();
            let mut all = Vec::new();
            io.read_to_end(&mut all).await.unwrap();
            (http2, all)
        };
        tokio::join!(write, read).1
    }

    #[tokio::test]
    async fn the_preface_is_found_in_pieces_and_kept() {
        let (http2, all) = detected(&[&PREFACE[..5], &PREFACE[5..], b"rest"]).await;
        assert_eq!((http2, all), (true, [&PREFACE[..], b"rest"].concat()));
    }

    #[tokio::test]
    async fn other_bytes_are_kept_and_no_preface() {
        assert_eq!(detected(&[b"PR", b"OPFIND / HTTP/1.1"]).await, (false, b"PROPFIND / HTTP/1.1".to_vec()));
        assert_eq!(detected(&[b"PRI"]).await, (false, b"PRI".to_vec()));
        assert_eq!(detected(&[]).await, (false, Vec::new()));
    }
}
