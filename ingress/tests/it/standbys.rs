//! Endpoints that stand by: a host restores them by itself, and requests find them without a new table.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_core::Span;
use windlass_core::traffic::{Endpoint, EndpointState, Routes, StandsBy};
use windlass_ingress::{Limits, Population};

use super::world::*;

/// The service with release 2 on trial at `first`, if that is there yet, and release 1 behind it.
fn trial(seq: u64, first: Option<SocketAddr>, behind: SocketAddr) -> Routes {
    let stands_by = Some(StandsBy { instead_of: first.map(|first| first.port()) });
    let behind = Endpoint { draining: true, stands_by, ..endpoint(behind, 1) };
    let first = first.map(|first| endpoint(first, 2));
    routes(seq, &[(2, None), (1, None)], first.into_iter().chain([behind]).collect())
}

fn quick() -> Limits {
    let every = Duration::from_millis(100);
    // A machine that holds the tests up makes no endpoint unready.
    Limits { probe: every, probe_busy: every, probe_timeout: Duration::from_secs(10), ..Limits::default() }
}

/// An address at which something answers from the moment on that it is served.
fn later() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn state(world: &World, address: SocketAddr) -> Option<EndpointState> {
    let traffic = world.ingress.traffic();
    let endpoints = traffic.values().flat_map(|service| &service.endpoints);
    endpoints.filter(|of| of.address == address).map(|of| of.state).next()
}

#[tokio::test]
async fn what_stands_by_gets_nothing_while_the_first_answers() {
    let mut tasks = JoinSet::new();
    let (first, behind) = (server(&mut tasks, "new").await, server(&mut tasks, "old").await);
    let world = World::start(quick()).await;
    world.ingress.take(trial(1, Some(first), behind)).unwrap();
    let begun = Instant::now();
    // Over many probes of both.
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(world.get("/").await.1, b"new");
    }
    assert_eq!(state(&world, behind), Some(EndpointState::StandsBy));
    assert_eq!(world.population(1, Population::Unconfirmed).requests, 0);
}

#[tokio::test]
async fn what_a_host_has_restored_answers_without_a_table() {
    let mut tasks = JoinSet::new();
    // The new release ends with its first answer; what stands by is not up yet.
    let (listener, first) = listener().await;
    let (waiting, behind) = later();
    drop(waiting);
    let world = World::start(quick()).await;
    world.ingress.take(trial(1, Some(first), behind)).unwrap();
    drop(listener);
    assert!(world.get("/").await.0.starts_with("http/1.1 502"), "nobody is there");
    let listener = TcpListener::bind(behind).await.unwrap();
    serve_on(&mut tasks, listener, "old");
    // At once, and before any probe: there is nobody else to ask.
    assert_eq!(world.get("/").await.1, b"old");
    until("it is found to answer", || state(&world, behind) == Some(EndpointState::Healthy)).await;
    for _ in 0..20 {
        assert_eq!(world.get("/").await.1, b"old");
    }
    let unconfirmed = world.population(1, Population::Unconfirmed);
    assert_eq!((unconfirmed.success, world.counters(1).requests), (21, 0), "no evidence for a gate");
    // The release on trial is back: it gets its requests again.
    let listener = TcpListener::bind(first).await.unwrap();
    serve_on(&mut tasks, listener, "new");
    until("the first one has them", || state(&world, behind) == Some(EndpointState::StandsBy)).await;
    assert_eq!(world.get("/").await.1, b"new");
    // An endpoint that drains and does not stand by gets nothing, whoever else is there.
    let drains = Endpoint { draining: true, ..endpoint(behind, 1) };
    world.ingress.take(routes(2, &[(1, None)], vec![drains])).unwrap();
    assert!(world.get("/").await.0.starts_with("http/1.1 503"));
}

/// Half of the endpoints of a release have failed, and their hosts have restored the one before.
#[tokio::test]
async fn what_stands_in_counts_among_those_that_serve() {
    let mut tasks = JoinSet::new();
    let world = World::start(quick()).await;
    let mut endpoints = Vec::new();
    for n in 0..3 {
        let (waiting, dead) = later();
        drop(waiting);
        let first = if n == 0 { server(&mut tasks, "new").await } else { dead };
        let behind = server(&mut tasks, "old").await;
        let stands_by = Some(StandsBy { instead_of: Some(first.port()) });
        endpoints.push(endpoint(first, 2));
        endpoints.push(Endpoint { draining: true, stands_by, ..endpoint(behind, 1) });
    }
    world.ingress.take(routes(1, &[(2, None), (1, None)], endpoints.clone())).unwrap();
    let stand_in = || {
        let behind = endpoints.iter().filter(|of| of.stands_by.is_some());
        let state = |of: &Endpoint| state(&world, (of.address, of.number).into());
        behind.filter(|of| state(of) == Some(EndpointState::Healthy)).count()
    };
    until("two stand in", || stand_in() == 2).await;
    let (mut old, before) = (0, world.counters(2).connect_errors);
    for _ in 0..300 {
        let (head, body) = world.get("/").await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        old += usize::from(body == b"old");
    }
    assert!((100..290).contains(&old), "two of three serve the old one: {old} of 300");
    assert_eq!(world.counters(2).connect_errors, before, "nobody asks the dead ones");
}

/// Both hosts of a service have failed, and one of them is back: all of its requests go there, and cost no second try.
#[tokio::test]
async fn what_stands_in_is_asked_first_while_others_are_dead() {
    let mut tasks = JoinSet::new();
    let world = World::start(Limits::default()).await;
    let mut endpoints = Vec::new();
    for n in 0..2 {
        let (_, first) = later();
        let (_, nobody) = later();
        let behind = if n == 0 { nobody } else { server(&mut tasks, "old").await };
        let stands_by = Some(StandsBy { instead_of: Some(first.port()) });
        endpoints.push(endpoint(first, 2));
        endpoints.push(Endpoint { draining: true, stands_by, ..endpoint(behind, 1) });
    }
    world.ingress.take(routes(1, &[(2, None), (1, None)], endpoints.clone())).unwrap();
    let stands_in = || {
        let state = |of: &Endpoint| state(&world, (of.address, of.number).into());
        endpoints.iter().any(|of| of.stands_by.is_some() && state(of) == Some(EndpointState::Healthy))
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !stands_in() {
        assert!(Instant::now() < deadline, "nobody stands in");
        world.get("/").await;
    }
    let before = world.population(1, Population::Unconfirmed);
    for _ in 0..500 {
        assert_eq!(world.get("/").await.1, b"old");
    }
    let after = world.population(1, Population::Unconfirmed);
    assert!(after.success - before.success == 500 && after.retries - before.retries < 50, "{after:?}");
}

#[tokio::test]
async fn a_held_request_goes_to_what_stands_in() {
    let mut tasks = JoinSet::new();
    let (waiting, behind) = later();
    drop(waiting);
    let world = World::start(quick()).await;
    let mut table = trial(1, None, behind);
    table.services[0].hold = Some(windlass_core::Span::from_secs(60));
    world.ingress.take(table).unwrap();
    let mut client = RawClient::connect(world.address).await;
    client.write("POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 0\r\n\r\n").await;
    let key = ("production/web".parse().unwrap(), None, Population::Weighted);
    until("it waits", || world.ingress.counters().get(&key).is_some_and(|of| of.held == 1)).await;
    let listener = TcpListener::bind(behind).await.unwrap();
    serve_on(&mut tasks, listener, "old");
    assert_eq!(client.response().await.1, b"old", "long before the hold is over");
}

/// A service that stops its only instance first, and holds requests meanwhile: the old instance has answered its probes until then.
#[tokio::test]
async fn a_stopped_instance_ends_no_wait_for_the_next_one() {
    let mut tasks = JoinSet::new();
    let (old_tasks, (old, new)) = (&mut JoinSet::new(), (listener().await, later()));
    serve_on(old_tasks, old.0, "old");
    let held = |seq, stands_by: Option<StandsBy>, more: Option<Endpoint>| {
        let old = Endpoint { draining: true, stands_by, ..endpoint(old.1, 1) };
        let mut table = routes(seq, &[(2, None), (1, None)], more.into_iter().chain([old]).collect());
        table.services[0].hold = Some(Span::from_secs(30));
        table
    };
    let world = World::start(quick()).await;
    world.ingress.take(pool(1, &[old.1])).unwrap();
    let probed = Instant::now();
    while probed.elapsed() < Duration::from_secs(1) {
        assert_eq!(world.get("/").await.1, b"old");
    }
    world.ingress.take(held(2, None, None)).unwrap();
    old_tasks.shutdown().await;
    world.ingress.take(held(3, Some(StandsBy { instead_of: None }), None)).unwrap();
    let asked = async { world.get("/").await };
    let comes = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        new.0.set_nonblocking(true).unwrap();
        serve_on(&mut tasks, TcpListener::from_std(new.0).unwrap(), "new");
        let more = Some(endpoint(new.1, 2));
        world.ingress.take(held(4, Some(StandsBy { instead_of: Some(new.1.port()) }), more)).unwrap();
    };
    let ((head, body), ()) = tokio::join!(asked, comes);
    assert_eq!(body, b"new", "{head}");
}
