//! Endpoints that fail, and what may be tried again.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use windlass_core::traffic::{EndpointState, Hold};
use windlass_ingress::Limits;

use super::grpc::{call, connect};
use super::world::*;

/// An address at which nobody listens.
async fn nobody() -> std::net::SocketAddr {
    listener().await.1
}

/// Reads a request's head and closes without an answer.
async fn closes(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]).await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_costs_no_request() {
    let mut tasks = JoinSet::new();
    let (dead, web) = (nobody().await, server(&mut tasks, "one").await);
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[dead, web])).unwrap();
    for n in 0..50 {
        let request = format!("POST /echo HTTP/1.1\r\nHost: web.example\r\nContent-Length: 2\r\n\r\n{n:02}");
        let (head, body) = world.ask(&request).await;
        assert!(head.starts_with("http/1.1 200") && body.ends_with(format!("{n:02}").as_bytes()), "{head}");
    }
    let seen = world.counters(1);
    assert!(seen.connect_errors >= 5 && seen.retries == seen.connect_errors, "{seen:?}");
    assert!(seen.connect_errors <= 8, "it is left out after five: {seen:?}");
}

#[tokio::test]
async fn a_get_is_tried_again_after_a_close_and_a_post_is_not() {
    let mut tasks = JoinSet::new();
    let (bad, web) = (raw_server(&mut tasks, closes).await, server(&mut tasks, "one").await);
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[bad])).unwrap();
    let (head, _) = world.ask("POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 2\r\n\r\nhi").await;
    assert!(head.starts_with("http/1.1 502"), "{head}");
    world.ingress.take(pool(2, &[bad, web])).unwrap();
    for _ in 0..20 {
        assert_eq!(world.get("/").await.1, b"one");
    }
}

/// An endpoint that reads a request's head, answers with `bytes` whatever was asked, and closes.
async fn says(tasks: &mut JoinSet<()>, bytes: &'static [u8]) -> std::net::SocketAddr {
    raw_server(tasks, move |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(bytes).await;
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_resets_or_babbles_is_left_out() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let babbles = says(&mut tasks, b"220 mail.example ESMTP\r\n").await;
    for bad in [raw_server(&mut tasks, closes).await, babbles] {
        let world = World::start(Limits::default()).await;
        world.ingress.take(pool(1, &[bad, web])).unwrap();
        let mut failed = 0;
        for n in 0..60 {
            let request =
                format!("POST /echo HTTP/1.1\r\nHost: web.example\r\nContent-Length: 2\r\n\r\n{n:02}");
            failed += usize::from(!world.ask(&request).await.0.starts_with("http/1.1 200"));
        }
        assert!((1..=8).contains(&failed), "{failed} of 60 failed");
    }
}

#[tokio::test]
async fn an_endpoint_that_breaks_bodies_off_is_left_out() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let breaks = says(&mut tasks, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[breaks, web])).unwrap();
    let mut cut = 0;
    for _ in 0..60 {
        cut += usize::from(world.get("/").await.1 == b"abc");
    }
    assert!((5..=8).contains(&cut), "{cut} of 60 were cut");
}

/// A canary that begins every response well and breaks it off.
#[tokio::test]
async fn a_response_that_the_endpoint_breaks_off_is_an_error() {
    let mut tasks = JoinSet::new();
    let breaks = says(&mut tasks, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[breaks])).unwrap();
    assert_eq!(world.get("/").await.1, b"abc");
    until("it is counted", || world.counters(1).broken == 1).await;
    assert_eq!(world.counters(1).cut, 1);
}

/// The head, and what of the body was good, go out before the connection is cut.
#[tokio::test]
async fn what_came_before_an_error_reaches_the_client() {
    let mut tasks = JoinSet::new();
    let garbles =
        says(&mut tasks, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnothing\r\n")
            .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[garbles])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
    while client.more().await {}
    let answer = String::from_utf8_lossy(client.pending());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("3\r\nabc\r\n"), "{answer}");
    until("it is counted", || world.counters(1).broken == 1).await;
}

#[tokio::test]
async fn what_came_before_an_error_reaches_a_client_of_http2() {
    let mut tasks = JoinSet::new();
    let breaks = says(&mut tasks, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[breaks])).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    for _ in 0..50 {
        let response = sender.send_request(call(Empty::<Bytes>::new())).await.expect("the head comes");
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.frame().await.unwrap().is_err(), "it ended as if it were whole");
    }
}

/// A response with trailers is whole, and its connection takes the next request.
#[tokio::test]
async fn a_response_with_trailers_is_whole() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
    let mut tasks = JoinSet::new();
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&connections);
    let sums = raw_server(&mut tasks, move |mut stream: TcpStream| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {
                let _ = stream.write_all(ANSWER).await;
            }
        }
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[sums])).unwrap();
    for _ in 0..3 {
        let mut client = RawClient::connect(world.address).await;
        client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
        while !client.pending().ends_with(b"3\r\nabc\r\n0\r\n\r\n") {
            assert!(client.more().await, "{}", String::from_utf8_lossy(client.pending()));
        }
    }
    until("all are counted", || world.counters(1).requests == 3).await;
    assert_eq!((world.counters(1).cut, connections.load(std::sync::atomic::Ordering::SeqCst)), (0, 1));
}

/// Each hop speaks its own version, whatever the endpoint speaks.
#[tokio::test]
async fn an_endpoint_of_http10_is_passed_on_as_http11() {
    let mut tasks = JoinSet::new();
    let old = says(&mut tasks, b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[old])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    for _ in 0..2 {
        client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("http/1.1 200") && body == b"old", "{head}");
    }
}

/// Complaint 14 about other proxies (hyperium/hyper#2136): errors from connections that the endpoint has just closed.
#[tokio::test]
async fn an_idle_connection_that_the_endpoint_closes_costs_no_request() {
    let mut tasks = JoinSet::new();
    // Closes after one answer and says nothing of it, like a server whose idle limit is shorter than ours.
    let once = |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let web = raw_server(&mut tasks, once).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let post = "POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 2\r\n\r\nhi";
    // DELETE has no body here, and is sent once.
    let delete = "DELETE / HTTP/1.1\r\nHost: web.example\r\n\r\n";
    for n in 0..40_usize {
        let (head, body) = world.ask([post, delete][n / 2 % 2]).await;
        assert!(head.starts_with("http/1.1 200") && body == b"ok", "request {n}: {head}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_given_up_in_time() {
    let mut tasks = JoinSet::new();
    let hangs = raw_server(&mut tasks, |stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    });
    let hangs = hangs.await;
    let world = World::start(Limits { response: Duration::from_millis(200), ..Limits::default() }).await;
    world.ingress.take(pool(1, &[hangs])).unwrap();
    let (head, _) = world.get("/").await;
    assert!(head.starts_with("http/1.1 504"), "{head}");
    let seen = world.counters(1);
    assert_eq!((seen.own_answers, seen.server_error), (1, 1));
}

#[tokio::test]
async fn a_body_that_stops_is_cut_and_counted() {
    let mut tasks = JoinSet::new();
    let trickles = raw_server(&mut tasks, |mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
        std::future::pending::<()>().await;
    });
    let trickles = trickles.await;
    let world = World::start(Limits { body_idle: Duration::from_millis(200), ..Limits::default() }).await;
    world.ingress.take(pool(1, &[trickles])).unwrap();
    assert_eq!(world.get("/").await.1, b"abc");
    until("the cut is counted", || world.counters(1).cut == 1).await;
}

#[tokio::test]
async fn no_endpoint_is_said_and_counted_for_the_release() {
    let world = World::start(Limits::default()).await;
    world.ingress.take(routes(1, &[(1, Some(1000))], Vec::new())).unwrap();
    let (head, body) = world.get("/").await;
    assert!(head.starts_with("http/1.1 503") && head.contains("retry-after: 1"), "{head}");
    assert!(body.ends_with(b"no instance takes requests\n"));
    let seen = world.counters(1);
    assert_eq!((seen.requests, seen.own_answers, seen.server_error), (1, 1, 1));
}

#[tokio::test]
async fn a_client_that_leaves_is_no_error_of_the_release() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client.write("GET /slow HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
    until("the request is under way", || world.counters(1).in_flight == 1).await;
    drop(client);
    until("the client is gone", || world.counters(1).client_gone == 1).await;
    let seen = world.counters(1);
    assert_eq!((seen.server_error, seen.in_flight), (0, 0));
}

#[tokio::test]
async fn an_endpoint_that_fails_its_probe_gets_no_requests() {
    let mut tasks = JoinSet::new();
    // It answers every request, and says on its probe that it is not ready.
    let bad = raw_server(&mut tasks, |mut stream: TcpStream| async move {
        let mut head = [0; 4096];
        let count = stream.read(&mut head).await.unwrap_or_default();
        let ready = !head[..count].starts_with(b"GET /status/503 ");
        let answer: &[u8] = if ready {
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad"
        } else {
            b"HTTP/1.1 503 Not Ready\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        };
        let _ = stream.write_all(answer).await;
    })
    .await;
    let good = raw_server(&mut tasks, |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood";
        let _ = stream.write_all(answer).await;
    })
    .await;
    let (probe, probe_busy) = (Duration::from_millis(80), Duration::from_millis(80));
    let world = World::start(Limits { probe, probe_busy, ..Limits::default() }).await;
    let mut table = pool(1, &[bad, good]);
    table.services[0].ports.get_mut("http").unwrap().probe = Some("/status/503".to_owned());
    world.ingress.take(table.clone()).unwrap();
    let state = |address| {
        let services = world.ingress.traffic();
        let mut endpoints = services.values().flat_map(|service| &service.endpoints);
        endpoints.find(|endpoint| endpoint.address == address).map(|endpoint| endpoint.state)
    };
    until("it is left out", || state(bad) == Some(EndpointState::Unready)).await;
    for _ in 0..20 {
        assert_eq!(world.get("/").await.1, b"good");
    }
    // Another path brings it back, and the last endpoint is asked whatever its probe says.
    table.seq = 2;
    table.services[0].ports.get_mut("http").unwrap().probe = Some("/".to_owned());
    world.ingress.take(table).unwrap();
    until("it is back", || state(bad) == Some(EndpointState::Healthy)).await;
    let mut alone = pool(3, &[bad]);
    alone.services[0].ports.get_mut("http").unwrap().probe = Some("/status/503".to_owned());
    world.ingress.take(alone).unwrap();
    until("it fails its probe", || state(bad) == Some(EndpointState::Unready)).await;
    assert_eq!(world.get("/").await.1, b"bad");
}

fn hold(number: u16, instead_of: Option<u16>) -> Hold {
    Hold {
        service: "production/web".parse().unwrap(),
        port: "http".to_owned(),
        number,
        release: release(1),
        failed: release(2),
        instead_of,
    }
}

#[tokio::test]
async fn a_restored_release_takes_the_place_of_the_failed_one() {
    let mut tasks = JoinSet::new();
    let (failed, old) = (nobody().await, server(&mut tasks, "old").await);
    let world = World::start(Limits::default()).await;
    let here = "h1".parse().unwrap();
    let table = |seq: u64| routes(seq, &[(2, None)], vec![endpoint(failed, 2)]);
    world.ingress.take(table(1)).unwrap();
    assert!(world.get("/").await.0.starts_with("http/1.1 502"));
    for instead_of in [Some(failed.port()), None] {
        world.ingress.hold(&here, vec![hold(old.port(), instead_of)]);
        for _ in 0..10 {
            assert_eq!(world.get("/").await.1, b"old", "{instead_of:?}");
        }
    }
    assert_eq!(world.counters(1).success, 20, "by the release that answered");
    // The agent says it no more, since its plan has caught up; the table is on its way.
    world.ingress.hold(&here, Vec::new());
    assert_eq!(world.get("/").await.1, b"old");
    world.ingress.take(routes(2, &[(1, None)], vec![endpoint(old, 1)])).unwrap();
    assert_eq!(world.get("/").await.1, b"old", "the table has found it");
    world.ingress.take(table(3)).unwrap();
    assert!(world.get("/").await.0.starts_with("http/1.1 502"), "that was another failure");
    // A restore on another host, or at another port, says nothing of this endpoint.
    world.ingress.hold(&"h2".parse().unwrap(), vec![hold(old.port(), Some(failed.port()))]);
    assert!(world.get("/").await.0.starts_with("http/1.1 502"));
    world.ingress.hold(&here, vec![hold(old.port(), Some(1))]);
    assert!(world.get("/").await.0.starts_with("http/1.1 502"));
}

#[tokio::test]
async fn a_restored_release_takes_the_share_of_the_failed_one() {
    let mut tasks = JoinSet::new();
    let (failed, restored) = (nobody().await, server(&mut tasks, "restored").await);
    let elsewhere = server(&mut tasks, "elsewhere").await;
    let world = World::start(Limits::default()).await;
    let weights = [(2, Some(1000)), (1, Some(0))];
    world.ingress.take(routes(1, &weights, vec![endpoint(failed, 2), endpoint(elsewhere, 1)])).unwrap();
    world.ingress.hold(&"h1".parse().unwrap(), vec![hold(restored.port(), Some(failed.port()))]);
    for _ in 0..10 {
        assert_eq!(world.get("/").await.1, b"restored");
    }
}
