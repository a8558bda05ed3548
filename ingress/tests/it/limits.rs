//! The bounds on what clients may send and hold.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use hyper::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windlass_ingress::{Certificates, Limits};

use super::world::*;

#[tokio::test]
async fn a_head_has_a_size_and_a_number_of_headers() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let limits = Limits { head_bytes: 16 * 1024, headers: 20, ..Limits::default() };
    let world = World::start(limits).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let with = |headers: &str| format!("GET / HTTP/1.1\r\nHost: web.example\r\n{headers}\r\n");
    let many = |count| (0..count).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
    let long = |bytes| format!("X-Long: {}\r\n", "x".repeat(bytes));
    for (what, headers, status) in [
        ("15 more headers", many(15), "200"),
        ("20 more headers", many(20), "431"),
        ("12 KiB", long(12 * 1024), "200"),
        ("17 KiB", long(17 * 1024), "431"),
    ] {
        let (head, _) = world.ask(&with(&headers)).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{what}: {head}");
    }
    let path = format!("GET /{} HTTP/1.1\r\nHost: web.example\r\n\r\n", "x".repeat(17 * 1024));
    let (head, _) = world.ask(&path).await;
    assert!(head.starts_with("http/1.1 4"), "{head}");
    assert_eq!(world.counters(1).success, 2, "nothing else reached the endpoint");
}

/// A client that sends its head byte by byte, or only begins to say which protocol it speaks.
#[tokio::test]
async fn a_head_has_a_time() {
    let short = Duration::from_millis(500);
    let world = World::start(Limits { head: short, detect: short, ..Limits::default() }).await;
    world.ingress.take(routes(1, &[(1, None)], Vec::new())).unwrap();
    for begin in ["GET / HTTP/1.1\r\nHost: web.exa", "PRI * HT", ""] {
        let mut client = RawClient::connect(world.address).await;
        client.write(begin).await;
        let mut slowly = tokio::time::interval(short / 5);
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            tokio::select! {
                more = client.more() => if !more { break },
                _ = slowly.tick() => {}
            }
            if begin.starts_with('G') && client.try_write("x").await.is_err() {
                break;
            }
            assert!(tokio::time::Instant::now() < end, "`{begin}` holds its connection");
        }
    }
}

#[tokio::test]
async fn connections_have_a_number_and_wait_beyond_it() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits { connections: 2, ..Limits::default() }).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut kept = Vec::new();
    for path in ["/", "/ws"] {
        let mut client = RawClient::connect(world.address).await;
        let upgrade = if path == "/ws" { "Connection: upgrade\r\nUpgrade: echo\r\n" } else { "" };
        client.write(&format!("GET {path} HTTP/1.1\r\nHost: web.example\r\n{upgrade}\r\n")).await;
        assert!(client.response().await.0.starts_with("http/1.1 "), "{path}");
        kept.push(client);
    }
    // A kept connection has a place, and a tunnel too: the third waits until one of them is gone.
    let mut third = RawClient::connect(world.address).await;
    third.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
    let early = tokio::time::timeout(Duration::from_millis(300), third.more()).await;
    assert!(early.is_err(), "it is served beside the tunnel");
    drop(kept.pop());
    assert_eq!(third.response().await.1, b"one");
}

/// Begins a request that nobody answers soon.
fn slow() -> Request<()> {
    Request::builder().uri("http://web.example/slow").body(()).unwrap()
}

#[tokio::test]
async fn a_client_of_http2_has_a_hundred_streams() {
    let mut tasks = JoinSet::new();
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[server(&mut tasks, "one").await])).unwrap();
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (client, connection) = h2::client::Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
    tasks.spawn(async move { drop(connection.await) });
    let mut client = client.ready().await.unwrap();
    let (first, _) = client.send_request(slow(), true).unwrap();
    first.await.unwrap();
    assert_eq!(client.current_max_send_streams(), 100, "as its settings say");
}

#[tokio::test]
async fn a_request_of_http2_has_as_many_headers_as_one_of_http1() {
    let mut tasks = JoinSet::new();
    let world = World::start(Limits { headers: 20, ..Limits::default() }).await;
    world.ingress.take(pool(1, &[server(&mut tasks, "one").await])).unwrap();
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (client, connection) = h2::client::Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
    tasks.spawn(async move { drop(connection.await) });
    for (count, status) in [(15, 200), (21, 431), (15, 200)] {
        let mut request = Request::get("http://web.example/").body(()).unwrap();
        for n in 0..count {
            let name: hyper::header::HeaderName = format!("x-{n}").parse().unwrap();
            request.headers_mut().insert(name, "1".parse().unwrap());
        }
        let mut client = client.clone().ready().await.unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), status, "{count} headers");
    }
}

/// A client that begins requests and takes them back (CVE-2023-44487) is told to calm down, and its connection ends.
#[tokio::test]
async fn a_client_that_resets_many_streams_is_cut() {
    let mut tasks = JoinSet::new();
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[server(&mut tasks, "one").await])).unwrap();
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (client, connection) = h2::client::Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
    let ended = tasks.spawn(async move { drop(connection.await) });
    let mut client = client.ready().await.unwrap();
    let cut = async {
        loop {
            let Ok(ready) = client.clone().ready().await else { return };
            client = ready;
            // All at once, so that the server finds them begun and reset.
            for _ in 0..100 {
                let Ok((_, mut body)) = client.send_request(slow(), false) else { break };
                body.send_reset(Reason::CANCEL);
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), cut).await.expect("the connection ends");
    drop(ended);
    assert_eq!(world.get("/").await.1, b"one", "others are served");
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_is_cut() {
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
    let world = World::start(limits).await;
    let folder = tempfile::tempdir().unwrap();
    super::tls::certificate(folder.path(), &mut rustls::RootCertStore::empty(), "a", &["web.example"]);
    let certificates = Certificates::open(folder.path()).unwrap();
    let (listener, address) = listener().await;
    let ingress = world.ingress.clone();
    let _serves = tokio::task::JoinSet::from_iter([async move {
        ingress.serve_tls(listener, certificates, CancellationToken::new()).await.unwrap();
    }]);
    let mut client = RawClient::connect(address).await;
    let more = timeout(Duration::from_secs(20), client.more()).await.expect("the connection ends");
    assert!(!more, "nothing is said to it");
}
