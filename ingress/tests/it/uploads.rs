//! Bodies on their way to an endpoint: no limit on how long they move, one on their silence.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::{Request, Response};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::sleep;
use windlass_core::traffic::{EndpointState, Protocol};
use windlass_ingress::Limits;

use super::grpc::{call, connect};
use super::world::{
    RawClient, World, pool, raw_server, server, server_h2, server_h2_async, speaking, text, until,
};

/// Shorter than the uploads of these tests, and far longer than a pause in one.
const SHORT: Duration = Duration::from_secs(3);
const PIECE: Duration = Duration::from_millis(300);
const PIECES: usize = 12;

#[tokio::test]
async fn an_upload_may_last_longer_than_an_answer_may() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits { response: SHORT, ..Limits::default() }).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client
        .write(&format!("POST /echo HTTP/1.1\r\nHost: web.example\r\nContent-Length: {PIECES}\r\n\r\n"))
        .await;
    for _ in 0..PIECES {
        sleep(PIECE).await;
        client.write("x").await;
    }
    let (head, body) = client.response().await;
    assert!(head.starts_with("http/1.1 200") && body.ends_with(&[b'x'; PIECES]), "{head}");
}

/// A client stream whose endpoint says nothing before its end.
#[tokio::test]
async fn a_client_stream_may_last_longer_than_an_answer_may() {
    let mut tasks = JoinSet::new();
    let counts = server_h2_async(&mut tasks, None, |request: Request<Incoming>| async move {
        let got = request.into_body().collect().await.map(|body| body.to_bytes().len());
        Response::new(text(format!("{got:?}")))
    })
    .await;
    let world = World::start(Limits { response: SHORT, ..Limits::default() }).await;
    world.ingress.take(speaking(pool(1, &[counts]), Protocol::Grpc)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let (say, said) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = tokio_stream::wrappers::ReceiverStream::new(said);
    let frames = tokio_stream::StreamExt::map(frames, |bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let stream = StreamBody::new(frames).boxed_unsync();
    let sends = async move {
        for _ in 0..PIECES {
            sleep(PIECE).await;
            say.send(Bytes::from_static(b"x")).await.unwrap();
        }
    };
    let (response, ()) = tokio::join!(sender.send_request(call(stream)), sends);
    let body = response.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("Ok({PIECES})"));
}

/// The body of a response that says how much it got when all of it is there.
struct AtTheEnd(Option<Incoming>, usize);

impl Body for AtTheEnd {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while let Some(body) = &mut self.0 {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(frame) => self.1 += frame.unwrap().into_data().unwrap().len(),
                None => {
                    self.0 = None;
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.1])))));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// Answers begun early do not end because only the upload moves.
#[tokio::test]
async fn an_upload_keeps_an_answer_alive_that_waits_for_it() {
    let mut tasks = JoinSet::new();
    let echo =
        server_h2(&mut tasks, |request| Response::new(AtTheEnd(Some(request.into_body()), 0).boxed())).await;
    let world = World::start(Limits { body_idle: SHORT, ..Limits::default() }).await;
    world.ingress.take(speaking(pool(1, &[echo]), Protocol::H2c)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let (say, said) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = tokio_stream::wrappers::ReceiverStream::new(said);
    let frames = tokio_stream::StreamExt::map(frames, |bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let response = sender.send_request(call(StreamBody::new(frames).boxed_unsync())).await.unwrap();
    let sends = async move {
        for _ in 0..PIECES {
            sleep(PIECE).await;
            say.send(Bytes::from_static(b"x")).await.unwrap();
        }
    };
    let (body, ()) = tokio::join!(response.into_body().collect(), sends);
    assert_eq!(body.expect("it is not cut").to_bytes().len(), PIECES);
}

#[tokio::test]
async fn trailers_of_a_request_end_no_connection() {
    let mut tasks = JoinSet::new();
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[server(&mut tasks, "one").await])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    for _ in 0..3 {
        client
            .write(
                "POST /echo HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                 3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
            )
            .await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"), "{head}");
        assert!(body.ends_with(b"abc"));
    }
}

#[tokio::test]
async fn an_upload_that_stops_is_told_so() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits { body_idle: SHORT, ..Limits::default() }).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client.write("POST /echo HTTP/1.1\r\nHost: web.example\r\nContent-Length: 10\r\n\r\nabc").await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 408") && head.contains("connection: close"), "{head}");
    let seen = world.counters(1);
    assert_eq!((seen.client_error, seen.server_error), (1, 0), "no fault of the release");
}

#[tokio::test]
async fn a_client_that_breaks_off_is_no_fault_of_the_endpoint() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    for n in 1..=10 {
        let mut client = RawClient::connect(world.address).await;
        client.write("POST /echo HTTP/1.1\r\nHost: web.example\r\nContent-Length: 10\r\n\r\nabc").await;
        until("it is under way", || world.counters(1).in_flight == 1).await;
        drop(client);
        until("it is counted", || world.counters(1).client_gone == n).await;
    }
    let services = world.ingress.traffic();
    let states: Vec<_> =
        services.values().flat_map(|of| &of.endpoints).map(|endpoint| endpoint.state).collect();
    assert_eq!(states, [EndpointState::Healthy]);
    assert_eq!(world.counters(1).server_error, 0);
}

#[tokio::test]
async fn an_endpoint_that_reads_no_upload_is_given_up() {
    let mut tasks = JoinSet::new();
    let deaf = raw_server(&mut tasks, |mut stream| async move {
        let _ = stream.read(&mut [0; 100]).await;
        std::future::pending::<()>().await;
    })
    .await;
    let world = World::start(Limits { body_idle: SHORT, ..Limits::default() }).await;
    world.ingress.take(pool(1, &[deaf])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client.write("POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 1000000000\r\n\r\n").await;
    let head = client.flood_until_answered().await;
    assert!(head.starts_with("http/1.1 504"), "{head}");
}
