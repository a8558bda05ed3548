//! Requests as an endpoint gets them, and responses as a client gets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use windlass_core::traffic::Name;
use windlass_ingress::Limits;

use super::world::*;

#[tokio::test]
async fn a_request_reaches_its_service_and_is_counted() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    let (head, _) = world.get("/").await;
    assert!(head.starts_with("http/1.1 404"), "without a table: {head}");
    world.ingress.take(pool(1, &[web])).unwrap();
    let (head, body) = world.get("/").await;
    assert!(head.starts_with("http/1.1 200") && body == b"one", "{head}");
    assert!(head.contains("x-served-by: one") && !head.contains("keep-alive"), "{head}");
    until("the request is counted", || world.counters(1).requests == 1).await;
    let seen = world.counters(1);
    assert_eq!((seen.success, seen.in_flight, seen.cut), (1, 0, 0));
    assert_eq!(seen.to_end.iter().sum::<u64>(), 1);
}

/// Complaint 9 about other proxies (cloudflare/pingora#713): headers of one connection on the other one.
#[tokio::test]
async fn a_body_and_its_headers_pass_in_both_directions() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let request = "POST /echo?q=1 HTTP/1.1\r\nHost: web.example\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: x-hop\r\n\
                   X-Hop: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (head, body) = world.ask(request).await;
    let body = String::from_utf8(body).unwrap();
    assert!(head.starts_with("http/1.1 200") && body.ends_with("hello"), "{head}{body}");
    assert!(body.contains("/echo?q=1") && body.contains("\"x-forwarded-for\": \"127.0.0.1\""), "{body}");
    assert!(!body.contains("x-hop") && !body.contains("6.6.6.6"), "{body}");
    let (_, body) = world.get("/bytes").await;
    assert_eq!(body.len(), 8 * 1024 * 1024);
}

/// Complaint 9, both ways: neither side's word on its connection reaches the other, and that to the endpoint is used again.
#[tokio::test]
async fn words_on_a_connection_stay_there_and_it_is_used_again() {
    let mut tasks = JoinSet::new();
    let connections = Arc::new(AtomicUsize::new(0));
    let (counted, (tell, mut told)) = (Arc::clone(&connections), tokio::sync::mpsc::unbounded_channel());
    let web = raw_server(&mut tasks, move |mut stream: TcpStream| {
        counted.fetch_add(1, Relaxed);
        let tell = tell.clone();
        async move {
            let mut got = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                got.push(byte);
                if got.ends_with(b"\r\n\r\n") {
                    tell.send(String::from_utf8(std::mem::take(&mut got)).unwrap().to_ascii_lowercase())
                        .unwrap();
                    let hop = "Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTrailer: x-end";
                    let answer = format!("HTTP/1.1 200 OK\r\n{hop}\r\nContent-Length: 2\r\n\r\nok");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        }
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    for _ in 0..5 {
        let mine =
            "Connection: close, x-mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=1\r\nProxy-Connection: close";
        let (head, body) = world.ask(&format!("GET / HTTP/1.1\r\nHost: web.example\r\n{mine}\r\n\r\n")).await;
        assert!(
            head.starts_with("http/1.1 200") && body == b"ok" && head.contains("trailer: x-end"),
            "{head}"
        );
        assert!(!head.contains("x-hop") && !head.contains("keep-alive"), "{head}");
        let got = told.recv().await.unwrap();
        assert!(!got.contains("close") && !got.contains("x-mine") && !got.contains("keep-alive"), "{got}");
    }
    assert_eq!(connections.load(Relaxed), 1, "each client had a connection of its own, and the endpoint one");
}

#[tokio::test]
async fn many_requests_share_one_connection_on_each_side() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    for _ in 0..200 {
        client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
        assert_eq!(client.response().await.1, b"one");
    }
    assert_eq!(world.counters(1).connect_errors, 0);
}

#[tokio::test]
async fn an_unknown_name_or_path_is_not_found() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    let mut table = pool(1, &[web]);
    table.names[0].path = "/app".to_owned();
    world.ingress.take(table).unwrap();
    let (head, body) = world.get("/").await;
    assert!(head.starts_with("http/1.1 404") && body.ends_with(b"no service has this path\n"), "{head}");
    let (head, body) = world.ask("GET /app HTTP/1.1\r\nHost: other.example\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 404") && body.ends_with(b"no service has this host name\n"), "{head}");
}

#[tokio::test]
async fn an_older_table_is_refused_and_changes_nothing() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(5, &[web])).unwrap();
    world.ingress.take(pool(5, &[web])).unwrap();
    let why = world.ingress.take(pool(4, &[])).unwrap_err().to_string();
    assert!(why.contains("number 4") && why.contains("number 5"), "{why}");
    assert_eq!(world.get("/").await.1, b"one");
    assert_eq!(world.ingress.in_force()[&"production".parse().unwrap()], (1, 5));
}

/// Complaint 4 about other proxies (caddyserver/caddy#7222): a change of the configuration that cuts WebSockets of other routes.
/// `a_tunnel_holds_no_table` is its other half.
#[tokio::test]
async fn a_tunnel_outlasts_changes_of_other_routes() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let others = [server(&mut tasks, "two").await, server(&mut tasks, "three").await];
    let world = World::start(Limits::default()).await;
    let table = |seq: u64| {
        let mut table = pool(seq, &[web]);
        let mut api = pool(seq, &[others[usize::from(seq % 2 == 1)]]).services.remove(0);
        api.service = "api".parse().unwrap();
        table.names.push(Name {
            host: "api.example".to_owned(),
            service: api.service.clone(),
            ..table.names[0].clone()
        });
        table.services.push(api);
        table
    };
    world.ingress.take(table(1)).unwrap();
    let mut tunnel = RawClient::connect(world.address).await;
    let upgrade = "Connection: upgrade\r\nUpgrade: echo\r\n\r\n";
    tunnel.write(&format!("GET /ws HTTP/1.1\r\nHost: web.example\r\n{upgrade}")).await;
    assert!(tunnel.response().await.0.starts_with("http/1.1 101"));
    for seq in 2..20 {
        world.ingress.take(table(seq)).unwrap();
        let (_, body) = world.ask("GET / HTTP/1.1\r\nHost: api.example\r\n\r\n").await;
        assert_eq!(body, if seq % 2 == 1 { &b"three"[..] } else { b"two" });
        tunnel.write("x").await;
        while tunnel.pending().len() < usize::try_from(seq).unwrap() - 1 {
            assert!(tunnel.more().await, "the tunnel was cut by table {seq}");
        }
    }
    assert_eq!(world.counters(1).tunnels, 1);
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_at_the_101() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client
        .write("GET /ws HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: echo"), "{head}");
    client.write("ping").await;
    while client.pending() != b"ping" {
        assert!(client.more().await, "the tunnel ended");
    }
    until("the tunnel is counted", || world.counters(1).tunnels == 1).await;
    // A change of the table that keeps the endpoint keeps the tunnel.
    world.ingress.take(pool(2, &[web])).unwrap();
    client.write("pong").await;
    while client.pending() != b"pingpong" {
        assert!(client.more().await, "the tunnel ended");
    }
    drop(client);
    until("the tunnel has ended", || world.counters(1).tunnels == 0).await;
}

/// Complaint 7 about other proxies (cloudflare/pingora#946): a WebSocket that is torn down when the 101 comes before the
/// request's empty body has ended.
#[tokio::test]
async fn a_101_may_come_before_the_request_has_ended() {
    let mut tasks = JoinSet::new();
    let early = raw_server(&mut tasks, |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 1]).await;
        let answer = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello";
        let _ = stream.write_all(answer).await;
        let mut got = Vec::new();
        while !got.ends_with(b"ping") {
            let mut buffer = [0; 1024];
            match stream.read(&mut buffer).await {
                Ok(count @ 1..) => got.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
        let _ = stream.write_all(b"pong").await;
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[early])).unwrap();
    for length in ["", "Content-Length: 0\r\n"] {
        let mut client = RawClient::connect(world.address).await;
        let upgrade = format!("{length}Connection: upgrade\r\nUpgrade: echo\r\n");
        client.write(&format!("GET /ws HTTP/1.1\r\nHost: web.example\r\n{upgrade}\r\n")).await;
        assert!(client.response().await.0.starts_with("http/1.1 101"), "{length:?}");
        client.write("ping").await;
        while client.pending() != b"hellopong" {
            assert!(client.more().await, "the tunnel ended after {:?}", client.pending());
        }
    }
}

/// Limits on requests are none on tunnels; silence is.
/// Complaint 11 about other proxies (cloudflare/pingora#255): a limit on requests that cuts WebSockets.
#[tokio::test]
async fn a_tunnel_has_no_limit_but_on_its_silence() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let short = std::time::Duration::from_millis(100);
    let limits = Limits {
        response: short * 20,
        body_idle: short,
        tunnel_idle: std::time::Duration::from_secs(5),
        ..Limits::default()
    };
    let world = World::start(limits).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client
        .write("GET /ws HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    for round in 1..=10 {
        tokio::time::sleep(short * 3).await;
        client.write("x").await;
        while client.pending().len() < round {
            assert!(client.more().await, "the tunnel ended in round {round}");
        }
    }
    assert!(!client.more().await, "a silent tunnel is closed");
    until("the tunnel has ended", || world.counters(1).tunnels == 0).await;
}

/// The coding decides where a body ends (RFC 9112, section 6.3); nginx and HAProxy deliver all of it too.
#[tokio::test]
async fn a_response_with_a_length_beside_chunks_arrives_whole() {
    let mut tasks = JoinSet::new();
    let each = |mut stream: tokio::net::TcpStream| async move {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let _ = stream.write_all(answer.as_bytes()).await;
    };
    let web = raw_server(&mut tasks, each).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
    let (head, _) = client.response().await;
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
    while !client.pending().ends_with(b"0\r\n\r\n") && client.more().await {}
    assert_eq!(client.pending(), b"5\r\nhello\r\n0\r\n\r\n");
}

/// An answer is an answer: a 5xx goes to the client, and no other instance is asked in its place.
#[tokio::test]
async fn an_error_of_an_endpoint_is_no_reason_to_ask_another() {
    let mut tasks = JoinSet::new();
    let fails = raw_server(&mut tasks, |mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream
            .write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy")
            .await;
    })
    .await;
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[fails, web])).unwrap();
    let mut answers = [0_u64; 2];
    for _ in 0..20 {
        let (head, body) = world.get("/").await;
        let is_own = head.starts_with("http/1.1 503") && body == b"busy";
        assert!(is_own || body == b"one", "{head}");
        answers[usize::from(is_own)] += 1;
    }
    until("all are counted", || world.counters(1).requests == 20).await;
    let seen = world.counters(1);
    assert!(answers.iter().all(|count| *count > 0), "both were asked: {answers:?}");
    assert_eq!((seen.retries, seen.server_error, seen.success), (0, answers[1], answers[0]), "{seen:?}");
}
