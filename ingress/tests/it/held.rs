//! Requests that wait (`hold`) until an endpoint answers.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use windlass_core::Span;
use windlass_ingress::Limits;

use super::world::*;

#[tokio::test]
async fn a_held_request_waits_for_the_next_endpoint() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    let held = |seq, endpoints: &[_], hold| {
        let mut table = pool(seq, endpoints);
        table.services[0].hold = Some(Span::from_millis(hold));
        table
    };
    world.ingress.take(held(1, &[], 200)).unwrap();
    assert!(world.get("/").await.0.starts_with("http/1.1 503"));
    world.ingress.take(held(2, &[], 20_000)).unwrap();
    let take = async {
        let ingress = world.ingress.clone();
        let nobody = ("production/web".parse().unwrap(), None, windlass_ingress::Population::Weighted);
        until("the request is held", || ingress.counters()[&nobody].held == 2).await;
        ingress.take(held(3, &[web], 20_000)).unwrap();
    };
    let ((_, body), ()) = tokio::join!(world.get("/"), take);
    assert_eq!(body, b"one");
}

/// The table leads to an instance that is about to answer: one that its host restores, say.
#[tokio::test]
async fn a_held_request_waits_for_an_endpoint_that_cannot_be_reached() {
    let mut tasks = JoinSet::new();
    let (closed, address) = listener().await;
    drop(closed);
    let world = World::start(Limits::default()).await;
    let held = |seq, hold| {
        let mut table = pool(seq, &[address]);
        table.services[0].hold = Some(Span::from_millis(hold));
        table
    };
    world.ingress.take(held(1, 300)).unwrap();
    assert!(world.get("/").await.0.starts_with("http/1.1 502"), "not for ever");
    world.ingress.take(held(2, 20_000)).unwrap();
    let comes = async {
        until("both are held", || world.counters(1).held == 2).await;
        assert_eq!(world.ingress.draining().len(), 0, "it is on no endpoint meanwhile");
        serve_on(&mut tasks, tokio::net::TcpListener::bind(address).await.unwrap(), "one");
    };
    let ((head, body), ()) = tokio::join!(world.get("/"), comes);
    assert!(head.starts_with("http/1.1 200") && body == b"one", "{head}");
}

/// Its next look is far away: the table that leads elsewhere wakes it.
#[tokio::test]
async fn a_held_request_is_woken_by_a_table() {
    let mut tasks = JoinSet::new();
    let (closed, address) = listener().await;
    drop(closed);
    let web = server(&mut tasks, "one").await;
    let long = Duration::from_secs(300);
    let world = World::start(Limits { hold_look: long, ..Limits::default() }).await;
    let held = |seq, address| {
        let mut table = pool(seq, &[address]);
        table.services[0].hold = Some(Span::from_secs(300));
        table
    };
    world.ingress.take(held(1, address)).unwrap();
    let take = async {
        until("the request is held", || world.counters(1).held == 1).await;
        world.ingress.take(held(2, web)).unwrap();
    };
    let both = async { tokio::join!(world.get("/"), take) };
    let ((head, body), ()) = timeout(Duration::from_secs(20), both).await.expect("it is woken");
    assert!(head.starts_with("http/1.1 200") && body == b"one", "{head}");
}

#[tokio::test]
async fn requests_that_wait_have_a_number() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits { held: 3, ..Limits::default() }).await;
    let held = |seq, endpoints: &[_]| {
        let mut table = pool(seq, endpoints);
        table.services[0].hold = Some(Span::from_secs(60));
        table
    };
    world.ingress.take(held(1, &[])).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut client = RawClient::connect(world.address).await;
        client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
        waiting.push(client);
    }
    let nobody = ("production/web".parse().unwrap(), None, windlass_ingress::Population::Weighted);
    until("three wait", || world.ingress.counters().get(&nobody).is_some_and(|of| of.held == 3)).await;
    assert!(world.get("/").await.0.starts_with("http/1.1 503"), "the fourth is told at once");
    // One that leaves gives its place to another.
    drop(waiting.pop());
    let mut next = RawClient::connect(world.address).await;
    let began = tokio::time::Instant::now();
    loop {
        next.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
        match tokio::time::timeout(Duration::from_millis(200), next.response()).await {
            Err(_) => break, // it waits
            Ok((head, _)) => assert!(head.starts_with("http/1.1 503"), "{head}"),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no place comes back");
    }
    world.ingress.take(held(2, &[web])).unwrap();
    for mut client in waiting {
        assert_eq!(client.response().await.1, b"one");
    }
}
