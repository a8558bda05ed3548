//! HTTP/2 to endpoints: connections that are told to go, refusals, and limits on streams.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use windlass_core::traffic::Protocol;
use windlass_ingress::Limits;

use super::world::*;

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// `GOAWAY` with no stream processed and no error.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// `RST_STREAM` with `REFUSED_STREAM`, of a stream that is yet to be named.
const REFUSED: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 7];

/// Speaks HTTP/2, and answers the end of each request with this frame.
async fn answers(mut stream: TcpStream, frame: &'static [u8]) {
    let _ = stream.write_all(&SETTINGS).await;
    let mut preface = [0; 24];
    if stream.read_exact(&mut preface).await.is_err() {
        return;
    }
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).await.is_err() {
            return;
        }
        // DATA or HEADERS with END_STREAM.
        if head[3] <= 1 && head[4] & 1 == 1 {
            let mut frame = frame.to_vec();
            if frame[3] == REFUSED[3] {
                frame[5..9].copy_from_slice(&head[5..]);
            }
            let _ = stream.write_all(&frame).await;
        }
    }
}

async fn is_tried_elsewhere(frame: &'static [u8]) {
    let mut tasks = JoinSet::new();
    let bad = raw_server(&mut tasks, move |stream| answers(stream, frame)).await;
    let good = server_h2_async(&mut tasks, None, |request: Request<Incoming>| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
        Response::new(text(body))
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[bad, good]), Protocol::H2c)).unwrap();
    for n in 0..20 {
        let request = format!("POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 2\r\n\r\n{n:02}");
        let (head, body) = world.ask(&request).await;
        assert!(head.starts_with("http/1.1 200"), "request {n}: {head}");
        assert_eq!(body, format!("{n:02}").as_bytes());
    }
    let seen = world.counters(1);
    assert!(seen.retries > 0 && seen.connect_errors == 0, "{seen:?}");
}

#[tokio::test]
async fn a_request_beyond_a_goaway_is_tried_elsewhere() {
    is_tried_elsewhere(&GOAWAY).await;
}

#[tokio::test]
async fn a_refused_stream_is_tried_elsewhere_with_its_body() {
    is_tried_elsewhere(&REFUSED).await;
}

/// Servers end old connections, and serve on new ones.
#[tokio::test]
async fn a_goaway_of_the_only_endpoint_costs_no_request() {
    let mut tasks = JoinSet::new();
    // Every other connection ends before its first request; the others lead to an endpoint. Probes connect too.
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let web = server_h2(&mut tasks, |_| Response::new(text("ok"))).await;
    let door = raw_server(&mut tasks, move |mut stream: TcpStream| {
        let nth = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            if nth.is_multiple_of(2) {
                return answers(stream, &GOAWAY).await;
            }
            let mut through = TcpStream::connect(web).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut through).await;
        }
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[door]), Protocol::Grpc)).unwrap();
    let (head, body) = world.ask("POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 2\r\n\r\nhi").await;
    assert!(head.starts_with("http/1.1 200") && body == b"ok", "{head}");
}

/// An endpoint that allows two streams to a connection and takes a while for each.
async fn narrow(tasks: &mut JoinSet<()>, takes: Duration) -> SocketAddr {
    server_h2_async(tasks, Some(2), move |_| async move {
        tokio::time::sleep(takes).await;
        Response::new(text("ok"))
    })
    .await
}

#[tokio::test]
async fn a_second_connection_is_made_at_the_limit_of_streams() {
    let mut tasks = JoinSet::new();
    let takes = Duration::from_secs(2);
    let web = narrow(&mut tasks, takes).await;
    let world = World::start(Limits { response: takes * 2, ..Limits::default() }).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::H2c)).unwrap();
    assert!(world.get("/").await.0.starts_with("http/1.1 200"), "and the limit is known");
    let asks = async |_| world.get("/").await.0;
    let heads = tokio::join!(asks(1), asks(2), asks(3), asks(4), asks(5), asks(6), asks(7), asks(8));
    let (a, b, c, d, e, f, g, h) = heads;
    for head in [a, b, c, d, e, f, g, h] {
        assert!(head.starts_with("http/1.1 200"), "{head}");
    }
}

#[tokio::test]
async fn connections_of_streams_are_bounded_too() {
    let mut tasks = JoinSet::new();
    let web = narrow(&mut tasks, Duration::from_secs(3)).await;
    let world = World::start(Limits { upstream_connections: 1, ..Limits::default() }).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::H2c)).unwrap();
    assert!(world.get("/").await.0.starts_with("http/1.1 200"), "and the limit is known");
    let asks = async |_| world.get("/").await.0;
    let heads = tokio::join!(asks(1), asks(2), asks(3), asks(4));
    let heads = [heads.0, heads.1, heads.2, heads.3];
    let answered = heads.iter().filter(|head| head.starts_with("http/1.1 200")).count();
    let full = heads.iter().filter(|head| head.starts_with("http/1.1 503")).count();
    assert_eq!((answered, full), (2, 2), "{heads:?}");
}
