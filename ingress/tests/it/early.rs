//! Answers to requests of which the client has sent a part: it can send the rest, and reads the answer then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use windlass_ingress::{Certificates, DrainTimes, Limits};

use super::tls;
use super::world::*;

/// More than the kernel holds for a connection that nobody reads.
const BODY: usize = 16 << 20;
const LONG: Duration = Duration::from_secs(20);

/// An endpoint that answers when it has read a head, and then reads and drops the rest.
async fn refuses(tasks: &mut JoinSet<()>) -> SocketAddr {
    raw_server(tasks, |mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
            .await;
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await
}

/// Sends a head and a body of `length` bytes, and reads everything afterwards.
async fn send_and_read<S>(mut stream: S, host: &str, length: usize) -> std::io::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
    let both = async {
        stream.write_all(head.as_bytes()).await?;
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..length / piece.len() {
            stream.write_all(&piece).await?;
        }
        stream.flush().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    timeout(LONG, both).await.expect("the connection ends within 20 s")
}

#[tokio::test]
async fn an_early_answer_is_read_after_the_upload() {
    let mut tasks = JoinSet::new();
    let web = refuses(&mut tasks).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    for (host, status) in [("web.example", "413"), ("nobody.example", "404"), ("web.example@", "400")] {
        for length in [5 << 20, BODY] {
            let stream = TcpStream::connect(world.address).await.unwrap();
            let answer = send_and_read(stream, host, length).await;
            let answer = answer.unwrap_or_else(|error| panic!("{status} after {length} bytes: {error}"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
        }
    }
    assert_eq!(world.counters(1).client_gone, 0, "nobody was cut off");
}

#[tokio::test]
async fn an_early_answer_over_https_is_read_after_the_upload() {
    let mut tasks = JoinSet::new();
    let web = refuses(&mut tasks).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let (folder, mut roots) = (tempfile::tempdir().unwrap(), RootCertStore::empty());
    tls::certificate(folder.path(), &mut roots, "a", &["web.example"]);
    let certificates = Certificates::open(folder.path()).unwrap();
    let (listener, address) = listener().await;
    let ingress = world.ingress.clone();
    tasks.spawn(
        async move { ingress.serve_tls(listener, certificates, CancellationToken::new()).await.unwrap() },
    );
    let config = Arc::new(tls::client(&roots, &rustls::version::TLS13));
    let stream = tls::connect(address, config, "web.example").await.unwrap();
    let answer = send_and_read(stream, "web.example", BODY).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// An endpoint that takes a job, says so, and then reads it: the client has its answer, and nothing of the body is lost.
#[tokio::test]
async fn an_endpoint_reads_on_after_its_answer() {
    const LENGTH: usize = 1 << 20;
    let mut tasks = JoinSet::new();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let takes = raw_server(&mut tasks, move |mut stream| {
        let tell = tell.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            let read = tokio::io::copy(&mut stream.take(LENGTH as u64), &mut tokio::io::sink()).await;
            tell.send(read.unwrap()).unwrap();
        }
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[takes])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client.write(&format!("POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 202"), "{head}");
    for _ in 0..LENGTH / 1024 {
        client.write(&"x".repeat(1024)).await;
    }
    assert_eq!(timeout(LONG, told.recv()).await.unwrap(), Some(LENGTH as u64));
}

/// An endpoint that answers early, reads nothing more and keeps its connection: its client is not left there for ever.
#[tokio::test]
async fn an_upload_that_rests_ends_after_its_answer() {
    let mut tasks = JoinSet::new();
    let keeps = raw_server(&mut tasks, |mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await;
        std::future::pending::<()>().await;
    })
    .await;
    let limits = Limits { linger_idle: Duration::from_millis(300), ..Limits::default() };
    let world = World::start(Limits { upstream_connections: 1, ..limits }).await;
    world.ingress.take(pool(1, &[keeps])).unwrap();
    // The second one finds the only place free.
    for _ in 0..2 {
        let mut client = RawClient::connect(world.address).await;
        client.write("POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 9\r\n\r\nx").await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("http/1.1 401") && body == b"no", "{head}");
        assert!(!client.more().await, "the connection ends, though the client has more to send");
    }
}

/// Whether a socket of this process is connected to `address`.
fn is_connected_to(address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = address else { panic!("tests listen on IPv4") };
    let ip = u32::from_ne_bytes(address.ip().octets());
    let remote = format!("{ip:08X}:{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    // The kernel goes on with what a closed socket has left to send; such an entry has no inode.
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[2] == remote && fields[9] != "0"
    })
}

/// The same with more in the body than the kernel takes: neither the client nor the connection to the endpoint stays for ever.
#[tokio::test]
async fn an_upload_that_nobody_takes_ends_after_its_answer() {
    let mut tasks = JoinSet::new();
    let keeps = raw_server(&mut tasks, |mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await;
        std::future::pending::<()>().await;
    })
    .await;
    let short = Duration::from_millis(300);
    let limits =
        Limits { linger_idle: short, linger: short * 3, linger_bytes: usize::MAX, ..Limits::default() };
    let world = World::start(limits).await;
    world.ingress.take(pool(1, &[keeps])).unwrap();
    let (mut read, mut write) = TcpStream::connect(world.address).await.unwrap().into_split();
    let head = "POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 1000000000000\r\n\r\n";
    write.write_all(head.as_bytes()).await.unwrap();
    let flood = async { while write.write_all(&[b'x'; 64 * 1024]).await.is_ok() {} };
    let answer = async {
        let mut got = Vec::new();
        while !got.ends_with(b"no") {
            got.push(read.read_u8().await.expect("an answer"));
        }
        String::from_utf8(got).unwrap()
    };
    let ((), answer) = timeout(LONG, async { tokio::join!(flood, answer) }).await.expect("the client's end");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    until("the connection to the endpoint ends", || !is_connected_to(keeps)).await;
    assert!(world.ingress.draining().is_empty() && world.counters(1).in_flight == 0);
}

/// Many clients send a small body with its head: the refusal of it costs no connection.
#[tokio::test]
async fn a_refused_small_body_leaves_its_connection() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    for body in ["Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"] {
        client.write(&format!("POST / HTTP/1.1\r\nHost: nobody.example\r\n{body}")).await;
        let (head, _) = client.response().await;
        assert!(head.starts_with("http/1.1 404") && !head.contains("connection: close"), "{head}");
    }
    client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
    assert_eq!(client.response().await.1, b"one");
    // One that waits for the word is not asked for a body that nobody wants.
    let waits = "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    client.write(&format!("POST / HTTP/1.1\r\nHost: nobody.example\r\n{waits}")).await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 404") && head.contains("connection: close"), "{head}");
}

/// A head that is too long is refused before there is a request.
#[tokio::test]
async fn a_head_that_is_too_long_is_answered() {
    let world = World::start(Limits::default()).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: web.example\r\nX: {}\r\n\r\n", "x".repeat(BODY));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LONG, stream.read_to_string(&mut answer)).await.expect("it ends").unwrap();
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

/// Answers arrive; what is sent after the bound is reset.
#[tokio::test]
async fn a_rest_without_end_is_cut() {
    let bounds = [
        Limits { linger: Duration::from_secs(1), linger_bytes: usize::MAX, ..Limits::default() },
        Limits { linger: Duration::from_secs(3600), linger_bytes: BODY, ..Limits::default() },
    ];
    for limits in bounds {
        let world = World::start(limits).await;
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nHost: nobody.example\r\nContent-Length: 1000000000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let flood = async { while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {} };
        timeout(LONG, flood).await.expect("it is cut");
    }
}

#[tokio::test]
async fn a_silent_client_is_waited_for_as_long_as_its_limit() {
    let limits = Limits { linger_idle: Duration::from_millis(500), ..Limits::default() };
    let world = World::start(limits).await;
    let mut client = RawClient::connect(world.address).await;
    let asked_at = Instant::now(); // the answer may be read later than it was given
    client.write("POST / HTTP/1.1\r\nHost: nobody.example\r\nContent-Length: 9\r\n\r\nx").await;
    assert!(client.response().await.0.starts_with("http/1.1 404"));
    // It keeps its connection open and says nothing: the drain waits for the end that the ingress makes.
    let long = DrainTimes { idle: LONG, requests: LONG, tunnels: LONG };
    world.stop.cancel();
    timeout(LONG / 2, world.ingress.drain(long)).await.expect("it is given up");
    assert!(asked_at.elapsed() >= Duration::from_millis(500), "{:?}", asked_at.elapsed());
}

/// A connection whose request was read is closed at once, though its client keeps it open.
#[tokio::test]
async fn nobody_lingers_after_a_request_that_was_read() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let limits = Limits { linger: LONG * 3, linger_idle: LONG * 3, ..Limits::default() };
    let world = World::start(limits).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut clients = Vec::new();
    for body in
        ["Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "\r\n"]
    {
        let mut client = RawClient::connect(world.address).await;
        client
            .write(&format!("POST /echo HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n{body}"))
            .await;
        assert!(client.response().await.0.starts_with("http/1.1 200"));
        clients.push(client);
    }
    let long = DrainTimes { idle: LONG * 3, requests: LONG * 3, tunnels: LONG * 3 };
    world.stop.cancel();
    timeout(LONG, world.ingress.drain(long)).await.expect("every connection has ended");
}
