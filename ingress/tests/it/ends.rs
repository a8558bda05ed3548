//! Endpoints that leave and a process that ends: nothing under way is lost before its time.

use std::time::Duration;

use tokio::task::JoinSet;
use windlass_core::Span;
use windlass_ingress::{DrainTimes, Limits};

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
        idle: Duration::from_millis(400),
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
