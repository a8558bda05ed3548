//! Clients that send a body only when they hear that it is wanted (RFC 9110, section 10.1.1): the word is the endpoint's.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use windlass_core::traffic::Protocol;
use windlass_ingress::Limits;

use super::world::*;

const ASK: &str = "POST / HTTP/1.1\r\nHost: web.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

/// Reads to the end of a head; answers with everything that came.
async fn head(stream: &mut TcpStream) -> String {
    let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
    while !got.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => got.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&got).into_owned()
}

/// An endpoint that says `word` to the head, and answers with the body that follows.
async fn says(tasks: &mut JoinSet<()>, word: &'static str) -> SocketAddr {
    raw_server(tasks, move |mut stream| async move {
        let asked = head(&mut stream).await.to_ascii_lowercase();
        let expects = asked.contains("expect: 100-continue\r\n") && asked.ends_with("\r\n\r\n");
        // Nothing of the body comes before the word.
        let early = timeout(Duration::from_millis(100), stream.read(&mut [0; 16])).await;
        if !expects || early.is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 500 Early\r\nContent-Length: 0\r\n\r\n").await;
            return;
        }
        let _ = stream.write_all(word.as_bytes()).await;
        let mut body = [0; 5];
        if stream.read_exact(&mut body).await.is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
            let _ = stream.write_all(&body).await;
        }
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await
}

async fn world(web: SocketAddr) -> (World, RawClient) {
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client.write(ASK).await;
    (world, client)
}

/// Sends the body after the 100, which has to come first.
async fn send_when_told(client: &mut RawClient) -> (String, Vec<u8>) {
    let (told, _) = client.response().await;
    assert!(told.starts_with("http/1.1 100"), "{told}");
    client.write("hello").await;
    client.response().await
}

#[tokio::test]
async fn a_body_comes_when_its_endpoint_says_so() {
    let mut tasks = JoinSet::new();
    let web = says(&mut tasks, "HTTP/1.1 100 Continue\r\n\r\n").await;
    let (_world, mut client) = world(web).await;
    let (head, body) = send_when_told(&mut client).await;
    assert!(head.starts_with("http/1.1 200") && body == b"hello", "{head}");
}

#[tokio::test]
async fn a_body_that_its_endpoint_refuses_is_not_asked_for() {
    let mut tasks = JoinSet::new();
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    let web = says(&mut tasks, refusal).await;
    let (_world, mut client) = world(web).await;
    let (head, body) = client.response().await;
    assert!(head.starts_with("http/1.1 401") && body == b"no", "no 100 before it: {head}");
    assert!(head.contains("connection: close"), "half a request is left: {head}");
    assert!(!client.more().await, "and nobody waits for it");
}

/// An endpoint may say nothing and wait for the body.
#[tokio::test]
async fn a_body_comes_after_a_while_if_its_endpoint_is_silent() {
    let mut tasks = JoinSet::new();
    let web = says(&mut tasks, "").await;
    let began = Instant::now();
    let (_world, mut client) = world(web).await;
    let (head, body) = send_when_told(&mut client).await;
    assert!(head.starts_with("http/1.1 200") && body == b"hello", "{head}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn nobody_asks_for_a_body_that_no_endpoint_takes() {
    let (listener, address) = listener().await;
    drop(listener);
    let (_world, mut client) = world(address).await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 502"), "{head}");
}

#[tokio::test]
async fn a_client_of_an_http2_endpoint_is_told_to_send() {
    let mut tasks = JoinSet::new();
    let web =
        server_h2_async(&mut tasks, None, |request: hyper::Request<hyper::body::Incoming>| async move {
            let asked = request.headers().contains_key("expect");
            let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
            Response::new(text(format!("{asked} {}", body.len())))
        })
        .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(speaking(pool(1, &[web]), Protocol::H2c)).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client.write(ASK).await;
    let (head, body) = send_when_told(&mut client).await;
    assert!(head.starts_with("http/1.1 200") && body == b"false 5", "{head}");
}
