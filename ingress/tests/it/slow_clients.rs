//! Clients that take nothing of what they asked for: what they hold comes back.

use std::time::Duration;

use http_body_util::Empty;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use windlass_core::traffic::Protocol;
use windlass_ingress::Limits;

use super::grpc::{call, connect};
use super::world::*;

/// Places at the endpoint, each of which such a client takes.
const PLACES: usize = 4;

fn limits() -> Limits {
    Limits { upstream_connections: PLACES, body_idle: Duration::from_secs(1), ..Limits::default() }
}

/// Answers `/endless` without end, and everything else with two bytes.
async fn endless(mut stream: TcpStream) {
    let mut head = vec![0; 4096];
    let count = stream.read(&mut head).await.unwrap_or_default();
    if head[..count].windows(8).any(|eight| eight == b"/endless" || eight == b"/pkg.Ser") {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n").await;
        while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
    } else {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        let _ = stream.write_all(answer).await;
    }
}

/// Waits until a request finds a place.
async fn until_answered(world: &World) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let (head, _) = world.get("/").await;
        if head.starts_with("http/1.1 200") {
            return;
        }
        assert!(head.starts_with("http/1.1 503"), "{head}");
        assert!(tokio::time::Instant::now() < deadline, "no place comes back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_place() {
    let mut tasks = JoinSet::new();
    let web = raw_server(&mut tasks, endless).await;
    let world = World::start(limits()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut clients = Vec::new();
    for _ in 0..PLACES {
        let mut client = RawClient::connect(world.address).await;
        client.write("GET /endless HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
        clients.push(client);
    }
    until("every place is taken", || world.counters(1).in_flight == i64::try_from(PLACES).unwrap()).await;
    until_answered(&world).await;
    until("they are counted as cut", || world.counters(1).cut > 0).await;
    assert_eq!(world.counters(1).broken, 0, "no fault of the release");
}

#[tokio::test]
async fn a_stream_that_is_not_read_loses_its_place() {
    let mut tasks = JoinSet::new();
    let web = raw_server(&mut tasks, endless).await;
    let world = World::start(limits()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::Http)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    let mut unread = Vec::new();
    for _ in 0..PLACES {
        unread.push(sender.send_request(call(Empty::<bytes::Bytes>::new())).await.unwrap());
    }
    until_answered(&world).await;
    assert!(!sender.is_closed(), "other streams of the connection go on");
}

/// Complaint 16 about other proxies (rpxy 0.13): a slow client, and the whole response in memory.
#[tokio::test]
async fn a_slow_client_gets_all_and_little_is_buffered() {
    const SIZE: usize = 256 << 20;
    /// Bytes that the kernel holds for two connections (6 MiB to read and 4 MiB to write each, by default), and a little more.
    const MOST: usize = 24 << 20;
    let mut tasks = JoinSet::new();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let of_server = sent.clone();
    let web = raw_server(&mut tasks, move |mut stream: TcpStream| {
        let sent = of_server.clone();
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let piece = vec![b'x'; 64 * 1024];
            while sent.load(std::sync::atomic::Ordering::Relaxed) < SIZE {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
                sent.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
            }
        }
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = TcpStream::connect(world.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await.unwrap();
    // The kernel's buffers of two connections take some; while nothing is read, no more than these and ours are filled.
    let mut before = usize::MAX;
    until("nothing more is taken from the endpoint", || {
        let now = sent.load(std::sync::atomic::Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now && now > 0
    })
    .await;
    let stuck = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!(stuck < MOST, "{stuck} bytes were taken for a client that reads nothing");
    let (mut got, mut buffer) = (0, vec![0; 256 * 1024]);
    while got < SIZE {
        let read = tokio::time::timeout(Duration::from_secs(20), client.read(&mut buffer)).await;
        let count = read.expect("more comes").unwrap();
        assert!(count > 0, "cut after {got} bytes");
        got += count;
        let ahead = sent.load(std::sync::atomic::Ordering::Relaxed).saturating_sub(got);
        assert!(ahead < MOST, "{ahead} bytes wait for the client");
    }
}
