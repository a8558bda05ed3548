//! Writes of few bytes. A request or a short response is a head and a body in two pieces; the kernel takes one piece sooner than two, and
//! copying some hundred bytes costs less than the difference.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are copied into one piece.
const SMALL: usize = 2 * 1024;

/// A connection that writes small pieces as one.
#[derive(Debug)]
pub(crate) struct Compact<T>(pub(crate) T);

impl<T: AsyncRead + Unpin> AsyncRead for Compact<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Compact<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut self.0);
        if let [piece] = slices {
            return io.poll_write(cx, piece);
        }
        if slices.iter().map(|piece| piece.len()).sum::<usize>() > SMALL {
            return io.poll_write_vectored(cx, slices);
        }
        let (mut whole, mut length) = ([0; SMALL], 0);
        for piece in slices {
            whole[length..length + piece.len()].copy_from_slice(piece);
            length += piece.len();
        }
        io.poll_write(cx, &whole[..length])
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn pieces_of_all_sizes_arrive_in_their_order() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut near = Compact(near);
        let pieces = |sizes: &[usize]| -> Vec<Vec<u8>> {
            sizes.iter().enumerate().map(|(at, size)| vec![b'a' + u8::try_from(at).unwrap(); *size]).collect()
        };
        for sizes in [&[0, 0][..], &[5], &[0, 7], &[100, 1000], &[SMALL - 1, 1], &[SMALL, 1], &[1, SMALL, 9]]
        {
            let pieces = pieces(sizes);
            let all = pieces.concat();
            let mut sent = 0;
            while sent < all.len() {
                let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
                let mut left = &mut slices[..];
                IoSlice::advance_slices(&mut left, sent);
                sent += near.write_vectored(left).await.unwrap();
            }
            let mut got = vec![0; all.len()];
            far.read_exact(&mut got).await.unwrap();
            assert_eq!(got, all, "{sizes:?}");
        }
    }
}
