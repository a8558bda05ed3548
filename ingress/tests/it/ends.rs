//! Endpoints that leave and a process that ends: nothing under way is lost before its time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use windlass_core::Span;
use windlass_core::traffic::Protocol;
use windlass_ingress::{DrainTimes, Limits};

use super::frames::{END_STREAM, Frames, GET, GOAWAY};
use super::grpc::{call, connect};
use super::world::*;

#[tokio::test]
async fn a_request_goes_on_when_its_endpoint_leaves_the_table() {
    let mut tasks = JoinSet::new();
    let (old, new) = (server(&mut tasks, "old").await, server(&mut tasks, "new").await);
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[old])).unwrap();
    let swap = async {
        until("the request is under way", || world.counters(1).in_flight == 1).await;
        world.ingress.take(pool(2, &[new])).unwrap();
        assert_eq!(world.ingress.draining().into_iter().next(), Some((old, (1, 0))));
        assert_eq!(world.get("/").await.1, b"new");
    };
    let ((_, body), ()) = tokio::join!(world.get("/slow"), swap);
    assert_eq!(body, b"old");
    until("nothing drains", || world.ingress.draining().is_empty()).await;
}

#[tokio::test]
async fn a_draining_endpoint_gets_no_new_request() {
    let mut tasks = JoinSet::new();
    let (old, new) = (server(&mut tasks, "old").await, server(&mut tasks, "new").await);
    let world = World::start(Limits::default()).await;
    let mut table = pool(1, &[old, new]);
    table.services[0].endpoints[0].draining = true;
    world.ingress.take(table).unwrap();
    for _ in 0..20 {
        assert_eq!(world.get("/").await.1, b"new");
    }
}

#[tokio::test]
async fn a_tunnel_is_cut_when_the_drain_of_its_endpoint_is_over() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    let with_drain = |seq, endpoints: &[_]| {
        let mut table = pool(seq, endpoints);
        table.services[0].drain = Span::from_millis(1500);
        table
    };
    world.ingress.take(with_drain(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client
        .write("GET /ws HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    client.response().await;
    world.ingress.take(with_drain(2, &[])).unwrap();
    client.write("ping").await;
    while client.pending() != b"ping" {
        assert!(client.more().await, "the tunnel was cut at once");
    }
    assert!(!client.more().await, "the tunnel goes on");
    until("the tunnel is counted no more", || world.counters(1).tunnels == 0).await;
}

#[tokio::test]
async fn a_drain_of_the_process_lets_requests_finish() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut kept = RawClient::connect(world.address).await;
    kept.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
    assert!(!kept.response().await.0.contains("connection: close"));
    let times = DrainTimes {
        idle: Duration::from_secs(20),
        requests: Duration::from_secs(20),
        tunnels: Duration::from_secs(20),
    };
    let drain = async {
        until("the request is under way", || world.counters(1).in_flight == 1).await;
        world.stop.cancel();
        world.ingress.drain(times).await;
    };
    let again = async {
        until("the request is under way", || world.counters(1).in_flight == 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        // A kept connection is served, and told to go.
        kept.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
        assert!(kept.response().await.0.contains("connection: close"));
        assert!(!kept.more().await);
    };
    let ((head, body), (), ()) = tokio::join!(world.get("/slow"), drain, again);
    assert!(head.starts_with("http/1.1 200") && body == b"one", "{head}");
}

/// Complaint 5 about other proxies (opnsense/plugins#3934): a reload that waits for ever on an open stream. A drain of the process has
/// two deadlines.
#[tokio::test]
async fn a_tunnel_outlives_requests_and_ends_at_its_own_time() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let streams = raw_server(&mut tasks, |mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst").await;
        std::future::pending::<()>().await;
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[streams])).unwrap();
    let mut stream = RawClient::connect(world.address).await;
    stream.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
    while !stream.pending().ends_with(b"first") {
        assert!(stream.more().await, "it never began");
    }
    world.ingress.take(pool(2, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client
        .write("GET /ws HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    client.response().await;
    world.stop.cancel();
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(5));
    let drain = world.ingress.drain(DrainTimes { idle: short, requests: short, tunnels: long });
    let begun = tokio::time::Instant::now();
    let request = async {
        assert!(!stream.more().await, "more of it came");
        begun.elapsed()
    };
    let tunnel = async {
        tokio::time::sleep(3 * short).await;
        client.write("ping").await;
        while client.pending() != b"ping" {
            assert!(client.more().await, "the tunnel was cut with the requests");
        }
        assert!(!client.more().await, "the tunnel goes on");
    };
    let ((), request_ended, ()) = tokio::join!(drain, request, tunnel);
    assert!(request_ended >= short && request_ended < long, "{request_ended:?}: the deadline of requests");
    assert!(begun.elapsed() >= long, "it had its own time");
}

/// A WebSocket that is cut between two frames is closed as one whose server starts again; within a frame that cannot be said.
#[tokio::test]
async fn a_websocket_that_is_cut_is_told_to_come_back() {
    const CLOSE: &[u8] = &[0x88, 2, 0x03, 0xf4];
    for (sent, told) in
        [(&b"\x81\x02hi"[..], CLOSE), (&b"\x81\x05hi"[..], &b""[..]), (&b"\x88\x00"[..], &b""[..])]
    {
        let mut tasks = JoinSet::new();
        let web = raw_server(&mut tasks, move |mut stream| async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let head =
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            let _ = stream.write_all(&[head, sent].concat()).await;
            std::future::pending::<()>().await;
        })
        .await;
        let world = World::start(Limits::default()).await;
        world.ingress.take(pool(1, &[web])).unwrap();
        let mut client = RawClient::connect(world.address).await;
        client
            .write("GET / HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        client.response().await;
        while client.pending() != sent {
            assert!(client.more().await, "it never began");
        }
        world.stop.cancel();
        let short = Duration::from_millis(200);
        let drain = world.ingress.drain(DrainTimes { idle: short, requests: short, tunnels: short });
        let end = async { while client.more().await {} };
        tokio::join!(drain, end);
        assert_eq!(client.pending(), [sent, told].concat());
    }
}

/// A drain ends whatever endpoints of HTTP/2 were asked, though these stay.
#[tokio::test]
async fn a_drain_ends_after_a_call_over_http2() {
    let mut tasks = JoinSet::new();
    let web = server_h2(&mut tasks, |_| Response::new(text("ok"))).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::H2c)).unwrap();
    assert!(world.get("/").await.0.starts_with("http/1.1 200"));
    world.stop.cancel();
    let short = Duration::from_millis(200);
    let times = DrainTimes { idle: short, requests: short, tunnels: short };
    tokio::time::timeout(Duration::from_secs(20), world.ingress.drain(times)).await.expect("the drain ends");
}

/// A response that goes on until it is cut.
fn endless(_: Request<Incoming>) -> Response<Body> {
    let frames = tokio_stream::StreamExt::chain(
        tokio_stream::once(Ok(Frame::data(Bytes::from_static(b"first")))),
        tokio_stream::pending(),
    );
    Response::new(StreamBody::new(frames).boxed())
}

#[tokio::test]
async fn a_stream_is_cut_when_the_drain_of_its_endpoint_is_over() {
    let mut tasks = JoinSet::new();
    let web = server_h2(&mut tasks, endless).await;
    let world = World::start(Limits::default()).await;
    let with_drain = |seq, endpoints: &[_]| {
        let mut table = speaking(pool(seq, endpoints), Protocol::Grpc);
        table.services[0].drain = Span::from_millis(1500);
        table
    };
    world.ingress.take(with_drain(1, &[web])).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let response = sender.send_request(call(Empty::<Bytes>::new())).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    world.ingress.take(with_drain(2, &[])).unwrap();
    assert_eq!(world.ingress.draining().into_iter().next(), Some((web, (1, 0))));
    let end = tokio::time::timeout(Duration::from_secs(20), body.frame()).await.expect("it is cut");
    assert!(end.unwrap().is_err(), "it was cut, and did not end");
    until("nothing drains", || world.ingress.draining().is_empty()).await;
    let seen = world.counters(1);
    assert_eq!((seen.in_flight, seen.cut, seen.broken), (0, 1, 0), "no fault of the release");
}

#[tokio::test]
async fn a_stream_is_cut_when_the_drain_of_the_process_is_over() {
    let mut tasks = JoinSet::new();
    let web = server_h2(&mut tasks, endless).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::Grpc)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let response = sender.send_request(call(Empty::<Bytes>::new())).await.unwrap();
    world.stop.cancel();
    let short = Duration::from_millis(300);
    let times = DrainTimes { idle: short, requests: short, tunnels: short };
    tokio::time::timeout(Duration::from_secs(20), world.ingress.drain(times)).await.expect("the drain ends");
    assert!(response.into_body().collect().await.is_err(), "it was cut, and did not end");
    until("it is counted", || world.counters(1).cut == 1).await;
    assert_eq!(world.counters(1).broken, 0, "no fault of the release");
}

/// Complaint 6 about other proxies (cloudflare/pingora#388): no GOAWAY. There are two of them (RFC 9113, section 6.8): what a client
/// begins before it has read the first is served too.
#[tokio::test]
async fn a_drain_says_goaway_twice_and_loses_no_stream() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let slow = [GET[0], GET[1], (":path", "/slow"), GET[3]];
    let mut client = Frames::connect(world.address).await;
    client.ask(1, &slow, END_STREAM).await;
    until("the call is under way", || world.counters(1).in_flight == 1).await;
    world.stop.cancel();
    let long = Duration::from_secs(60);
    let drain = world.ingress.drain(DrainTimes { idle: long, requests: long, tunnels: long });
    let frames = async {
        let (mut told, mut ping, mut answered) = (Vec::new(), None, Vec::new());
        while told.is_empty() || ping.is_none() {
            let frame = client.next().await.expect("the connection stands");
            if frame.kind == GOAWAY {
                told.push(frame.last_stream());
            } else if frame.is_ping() {
                ping = Some(frame);
            } else if frame.is_ok() {
                answered.push(frame.stream);
            }
        }
        client.ask(3, &slow, END_STREAM).await;
        client.pong(&ping.unwrap()).await;
        while let Some(frame) = client.next().await {
            if frame.kind == GOAWAY {
                told.push(frame.last_stream());
            } else if frame.is_ok() {
                answered.push(frame.stream);
            }
        }
        (told, answered)
    };
    let both = async { tokio::join!(drain, frames) };
    let ((), (told, mut answered)) = tokio::time::timeout(long / 2, both).await.expect("it ends in order");
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
    assert_eq!(told[..2], [0x7fff_ffff, 3], "any stream at first, then those that were begun");
}

/// Complaint 6 too: an idle client. Calls are told to go elsewhere from the first moment of a drain, and those under way end in order.
#[tokio::test]
async fn http2_clients_are_told_to_go_when_a_drain_begins() {
    let mut tasks = JoinSet::new();
    let web = server_h2_async(&mut tasks, None, |_| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Response::new(text("ok"))
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::H2c)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let under_way = sender.send_request(call(Empty::<Bytes>::new()));
    let long = Duration::from_secs(60);
    let begun = tokio::time::Instant::now();
    let drain = async {
        until("the call is under way", || world.counters(1).in_flight == 1).await;
        world.stop.cancel();
        let drain = world.ingress.drain(DrainTimes { idle: long, requests: long, tunnels: long });
        tokio::time::timeout(Duration::from_secs(20), drain).await.expect("an idle client leaves at once");
    };
    let ended = async { under_way.await.unwrap().into_body().collect().await.unwrap().to_bytes() };
    let (body, ()) = tokio::join!(ended, drain);
    assert_eq!(body, "ok");
    assert!(sender.is_closed() && begun.elapsed() < long / 2, "long before idle connections are closed");
}
