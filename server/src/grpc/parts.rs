//! Logs of hosts, message by message. A call stands as long as somebody reads, and may be silent for hours; a message that
//! was begun is small, and has to end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tower::Service;
use windlass_proto::limits::{self, LOG_BATCH, MAX_LOG_LINE};
use windlass_proto::pb::agent_link_server::AgentLinkServer;

use super::link::LinkService;

const SEND_LOGS: &str = "/windlass.v1.AgentLink/SendLogs";
/// Largest message with lines: one line, or many short ones.
const LARGEST: usize = MAX_LOG_LINE + LOG_BATCH;
/// The longest time for the rest of a message, once we wait for it.
const REST: Duration = Duration::from_secs(30);

/// The service of agents, with smaller bounds for their logs.
#[derive(Clone)]
pub(super) struct Link {
    all: AgentLinkServer<LinkService>,
    logs: AgentLinkServer<LinkService>,
}

impl Link {
    pub(super) fn new(service: LinkService) -> Self {
        let all = AgentLinkServer::new(service.clone())
            .max_decoding_message_size(limits::MAX_MESSAGE)
            .max_encoding_message_size(limits::MAX_MESSAGE);
        let logs = AgentLinkServer::new(service).max_decoding_message_size(LARGEST);
        Self { all, logs }
    }
}

impl NamedService for Link {
    const NAME: &'static str = AgentLinkServer::<LinkService>::NAME;
}

impl Service<Request<Body>> for Link {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() == SEND_LOGS {
            self.logs.call(request.map(Parts::new))
        } else {
            self.all.call(request)
        }
    }
}

/// A body whose messages end in time.
struct Parts {
    inner: Body,
    frames: Frames,
    late: Option<Pin<Box<Sleep>>>,
}

impl Parts {
    fn new(inner: Body) -> Self {
        Self { inner, frames: Frames::default(), late: None }
    }
}

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if frame.data_ref().is_some_and(|data| this.frames.take(data)) {
                    this.late = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(ended) => Poll::Ready(ended),
            // Time counts while nothing is there to be read, not while nobody reads.
            Poll::Pending if this.frames.is_midway() => {
                let late = this.late.get_or_insert_with(|| Box::pin(sleep(REST)));
                late.as_mut().poll(context).map(|()| {
                    Some(Err(Status::deadline_exceeded("a message was begun and did not end within 30s")))
                })
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The position of a body in its messages: each has a byte of flags, four of length, and that many more.
#[derive(Debug, Default)]
struct Frames {
    head: Vec<u8>,
    left: usize,
}

impl Frames {
    const HEAD: usize = 5;

    /// Takes in the next bytes; `true` if a message ended in them.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_ended = false;
        while !bytes.is_empty() {
            if self.left == 0 {
                let (head, rest) = bytes.split_at(bytes.len().min(Self::HEAD - self.head.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                if let [_, length @ ..] = &self.head[..]
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.left = u32::from_be_bytes(length) as usize;
                    self.head.clear();
                    has_ended |= self.left == 0;
                }
            } else {
                let taken = bytes.len().min(self.left);
                self.left -= taken;
                bytes = &bytes[taken..];
                has_ended |= self.left == 0;
            }
        }
        has_ended
    }

    fn is_midway(&self) -> bool {
        self.left > 0 || !self.head.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper::body::Body as _;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    /// A body whose sender is a test.
    struct Sent(mpsc::Receiver<Bytes>);

    impl hyper::body::Body for Sent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_was_begun_has_to_end() {
        let (sender, receiver) = mpsc::channel(4);
        let mut parts = Parts::new(Body::new(Sent(receiver)));
        let mut next = async || poll_fn(|context| Pin::new(&mut parts).poll_frame(context)).await;
        for whole in [&[0, 0, 0, 0, 1, 7][..], &[0, 0, 0, 0, 0]] {
            sender.send(Bytes::copy_from_slice(whole)).await.unwrap();
            assert!(next().await.unwrap().is_ok());
            assert!(timeout(100 * REST, next()).await.is_err(), "between messages it may be silent");
        }
        sender.send(Bytes::from_static(&[0, 0, 0, 0, 100, 7])).await.unwrap();
        assert!(next().await.unwrap().is_ok());
        assert!(timeout(REST / 2, next()).await.is_err());
        // A byte now and then is no end.
        sender.send(Bytes::from_static(&[7])).await.unwrap();
        assert!(next().await.unwrap().is_ok());
        let ended = timeout(REST, next()).await.expect("an end").unwrap();
        assert_eq!(ended.unwrap_err().code(), tonic::Code::DeadlineExceeded);
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let bytes = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0], &[7; 256]].concat();
        let ends = [8, 13, bytes.len()];
        for step in 1..=bytes.len() {
            let (mut frames, mut at) = (Frames::default(), 0);
            for piece in bytes.chunks(step) {
                let before = at;
                at += piece.len();
                let has_ended = frames.take(piece);
                assert_eq!(has_ended, ends.iter().any(|end| (before + 1..=at).contains(end)), "{step} {at}");
                assert_eq!(frames.is_midway(), !ends.contains(&at), "{step} {at}");
            }
        }
    }
}
