//! gRPC through the ingress: HTTP/2 on both sides, status in trailers.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Body as _, Frame};
use hyper::client::conn::http2;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use windlass_core::traffic::Protocol;
use windlass_ingress::{Limits, Settings};

use super::world::*;

pub(super) type Sender<B> = http2::SendRequest<B>;

pub(super) async fn connect<B>(world: &World, tasks: &mut JoinSet<()>) -> Sender<B>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(STREAM)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tasks.spawn(async move {
        let _ = connection.await;
    });
    sender
}

pub(super) fn call<B>(body: B) -> Request<B> {
    let request =
        Request::builder().method("POST").uri("http://web.example/pkg.Service/Call").version(Version::HTTP_2);
    request.header("te", "trailers").header("content-type", "application/grpc").body(body).unwrap()
}

fn trailers(status: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())])
}

#[tokio::test]
async fn a_status_in_head_or_trailers_is_counted() {
    let mut tasks = JoinSet::new();
    let respond = |request: Request<hyper::body::Incoming>| {
        let response = Response::builder().header("content-type", "application/grpc");
        match request.headers().get("x-answer").map(|value| value.to_str().unwrap().to_owned()).as_deref() {
            Some("trailers-only") => response.header("grpc-status", "14").body(text("")).unwrap(),
            Some(status) => {
                let status = if status == "internal" { "13" } else { "0" };
                let frames = [Ok(Frame::data(Bytes::from("message"))), Ok(Frame::trailers(trailers(status)))];
                response.body(StreamBody::new(tokio_stream::iter(frames)).boxed()).unwrap()
            }
            None => response.header("grpc-status", "5").body(text("")).unwrap(), // NOT_FOUND: the caller's
        }
    };
    let web = server_h2(&mut tasks, respond).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::Grpc)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    for (answer, status) in
        [(Some("trailers-only"), "14"), (Some("internal"), "13"), (Some("ok"), "0"), (None, "5")]
    {
        let mut request = call(Empty::<Bytes>::new());
        if let Some(answer) = answer {
            request.headers_mut().insert("x-answer", answer.parse().unwrap());
        }
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        let in_head = response.headers().get("grpc-status").cloned();
        let body = response.into_body().collect().await.unwrap();
        let seen =
            in_head.or_else(|| body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned()));
        assert_eq!(seen.unwrap(), status, "{answer:?}");
    }
    until("four are counted", || world.counters(1).requests == 4).await;
    let seen = world.counters(1);
    assert_eq!((seen.success, seen.grpc_failed), (4, 2));
}

/// The log says it where it stands; a call that says none has none.
#[tokio::test]
async fn a_status_is_in_the_access_log() {
    let mut tasks = JoinSet::new();
    let respond = |request: Request<hyper::body::Incoming>| {
        let response = Response::builder().header("content-type", "application/grpc");
        match request.headers().get("x-answer").map(HeaderValue::as_bytes) {
            Some(b"head") => response.header("grpc-status", "14").body(text("")).unwrap(),
            Some(b"trailers") => {
                let frames = [Ok(Frame::data(Bytes::from("message"))), Ok(Frame::trailers(trailers("5")))];
                response.body(StreamBody::new(tokio_stream::iter(frames)).boxed()).unwrap()
            }
            _ => response.body(text("message")).unwrap(),
        }
    };
    let web = server_h2(&mut tasks, respond).await;
    let (log, mut records) = tokio::sync::mpsc::channel(8);
    let world =
        World::start_in(Limits::default(), Settings { access_log: Some(log), ..Settings::default() }).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::Grpc)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    for (answer, status) in [("head", Some(14)), ("trailers", Some(5)), ("none", None)] {
        let mut request = call(Empty::<Bytes>::new());
        request.headers_mut().insert("x-answer", answer.parse().unwrap());
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        drop(response.into_body().collect().await); // the record has what came
        let record = tokio::time::timeout(Duration::from_secs(20), records.recv()).await.unwrap().unwrap();
        assert_eq!((record.status, record.grpc_status), (200, status), "{answer}");
        let line = serde_json::to_value(&record).unwrap();
        assert_eq!(line.get("grpc_status").and_then(serde_json::Value::as_u64), status.map(u64::from));
    }
}

/// Complaint 13 about other proxies (hyperium/hyper#4130): an answer of trailers alone that comes out as another one. The request
/// goes on: the endpoint ends the response with its head, and then the stream without an error.
#[tokio::test]
async fn trailers_alone_and_a_reset_without_an_error_stay_so() {
    let mut tasks = JoinSet::new();
    let web = raw_server(&mut tasks, |stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        let mut resets = JoinSet::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let head = Response::builder().header("content-type", "application/grpc");
            let head = head.header("grpc-status", "14").body(()).unwrap();
            let mut stream = respond.send_response(head, true).unwrap();
            resets.spawn(async move {
                // A reset takes back what has not been written yet.
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.send_reset(h2::Reason::NO_ERROR);
                drop(request);
            });
        }
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::Grpc)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let endless = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let response = sender.send_request(call(endless)).await.unwrap();
    let status = response.headers().get("grpc-status").cloned();
    assert_eq!(status.as_ref().map(HeaderValue::as_bytes), Some(&b"14"[..]), "{response:?}");
    assert!(response.body().is_end_stream(), "no empty DATA frame stands in for the end");
    until("the failure is counted", || world.counters(1).grpc_failed == 1).await;
}

/// An endpoint that begins a call well and never says how it ended.
#[tokio::test]
async fn a_call_that_ends_without_a_status_has_failed() {
    let mut tasks = JoinSet::new();
    let respond = |request: Request<hyper::body::Incoming>| {
        let kind =
            request.headers().get("x-kind").map_or("application/grpc+proto", |kind| kind.to_str().unwrap());
        Response::builder().header("content-type", kind).body(text("message")).unwrap()
    };
    let web = server_h2(&mut tasks, respond).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::Grpc)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    for kind in [None, Some("text/plain"), Some("application/grpc-web")] {
        let mut request = call(Empty::<Bytes>::new());
        if let Some(kind) = kind {
            request.headers_mut().insert("x-kind", kind.parse().unwrap());
        }
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "message");
    }
    until("three are counted", || world.counters(1).requests == 3).await;
    let seen = world.counters(1);
    assert_eq!((seen.success, seen.grpc_failed), (3, 1), "what is no gRPC owes no status");
}

/// h2 limits small DATA frames; its budget follows the window (see h2 0.4.16 to 0.4.20).
#[tokio::test]
async fn a_stream_of_100_000_one_byte_messages_passes_both_ways() {
    const MESSAGES: usize = 100_000;
    let mut tasks = JoinSet::new();
    let respond = |request: Request<hyper::body::Incoming>| {
        let body = request.into_body();
        // Each frame is sent back as it comes.
        let echo =
            http_body_util::BodyExt::map_err(body, |error| -> std::convert::Infallible { panic!("{error}") });
        Response::new(echo.boxed())
    };
    let web = server_h2(&mut tasks, respond).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::Grpc)).unwrap();
    let frames =
        (0..MESSAGES).map(|_| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"x"))));
    let mut sender = connect(&world, &mut tasks).await;
    let passes = async {
        let response = sender.send_request(call(StreamBody::new(tokio_stream::iter(frames)))).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes().len()
    };
    let bytes = tokio::time::timeout(Duration::from_secs(100), passes).await.expect("it ends");
    assert_eq!(bytes, MESSAGES);
}

#[tokio::test]
async fn http1_clients_reach_http2_endpoints() {
    let mut tasks = JoinSet::new();
    let web = server_h2(&mut tasks, |request| {
        let seen = format!("{:?} {}", request.version(), request.uri());
        Response::builder().header("content-length", seen.len()).body(text(seen)).unwrap()
    });
    let web = web.await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::H2c)).unwrap();
    let (head, body) = world.get("/x").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(String::from_utf8(body).unwrap(), "HTTP/2.0 http://web.example/x");
}

/// A rollout replaces the endpoint of a stream that stands: new calls go to the new one, the stream ends where it began.
#[tokio::test]
async fn a_stream_outlasts_the_switch_to_another_release() {
    let mut tasks = JoinSet::new();
    let echo = |name: &'static str| {
        move |request: Request<hyper::body::Incoming>| {
            let body = request.into_body();
            let body = http_body_util::BodyExt::map_err(body, |error| -> std::convert::Infallible {
                panic!("{error}")
            });
            Response::builder().header("x-served-by", name).body(body.boxed()).unwrap()
        }
    };
    let (old, new) = (server_h2(&mut tasks, echo("old")).await, server_h2(&mut tasks, echo("new")).await);
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[old]), Protocol::Grpc)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let (say, said) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = tokio_stream::wrappers::ReceiverStream::new(said);
    let frames =
        tokio_stream::StreamExt::map(frames, |bytes| Ok::<_, std::convert::Infallible>(Frame::data(bytes)));
    let stream = StreamBody::new(frames).boxed_unsync();
    let passes = async {
        let response = sender.send_request(call(stream)).await.unwrap();
        assert_eq!(response.headers()["x-served-by"], "old");
        let mut body = response.into_body();
        say.send(Bytes::from_static(b"before")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "before");

        let table = routes(2, &[(2, None)], vec![endpoint(new, 2)]);
        world.ingress.take(speaking(table, Protocol::Grpc)).unwrap();
        let one = Empty::new().boxed_unsync();
        let next = sender.send_request(call(one)).await.unwrap();
        assert_eq!(next.headers()["x-served-by"], "new");
        for _ in 0..100 {
            say.send(Bytes::from_static(b"after")).await.unwrap();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "after");
        }
        drop(say);
        let rest = body.collect().await.expect("it ends in order").to_bytes();
        assert!(rest.is_empty(), "{rest:?}");
    };
    tokio::time::timeout(Duration::from_secs(60), passes).await.expect("it ends");
    until("both calls are counted", || world.counters(1).success + world.counters(2).success == 2).await;
}

/// Complaint 10 about other proxies (cloudflare/pingora#563): connections of HTTP/2 without a call that stay for ever. Each is told to
/// go, and ends; its memory is not measured here.
#[tokio::test]
async fn an_idle_http2_connection_is_told_to_go() {
    let mut tasks = JoinSet::new();
    let web = server_h2(&mut tasks, |_| Response::new(text("ok"))).await;
    let limits = Limits { h2_idle: Duration::from_secs(1), ..Limits::default() };
    let world = World::start(limits).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::H2c)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let response = sender.send_request(call(Empty::<Bytes>::new())).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    until("the connection has ended", || sender.is_closed()).await;
}

#[tokio::test]
async fn an_old_http2_connection_is_told_to_go_though_busy() {
    let mut tasks = JoinSet::new();
    let web = server_h2(&mut tasks, |_| Response::new(text("ok"))).await;
    let limits = Limits { h2_lifetime: Duration::from_secs(1), ..Limits::default() };
    let world = World::start(limits).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::H2c)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while sender.ready().await.is_ok() {
        // One that meets the end of the connection is told so, and none is broken off.
        let Ok(response) = sender.send_request(call(Empty::<Bytes>::new())).await else { break };
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert!(tokio::time::Instant::now() < end, "it goes on for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((world.counters(1).cut, world.counters(1).broken), (0, 0));
}
