//! Endpoints that take connections and answer nobody, as a process does that was stopped or has locked itself up.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::watch;
use tokio::task::JoinSet;
use windlass_core::traffic::{EndpointState, Protocol};
use windlass_ingress::Limits;

use super::grpc::{call, connect};
use super::world::*;

/// An endpoint that can be frozen: then its kernel goes on accepting connections, and it says nothing.
struct Freezer {
    address: SocketAddr,
    frozen: Arc<watch::Sender<bool>>,
}

impl Freezer {
    /// Each answer takes so long, and is its name.
    async fn start(tasks: &mut JoinSet<()>, name: &'static str, takes: Duration, http2: bool) -> Self {
        let (listener, address) = listener().await;
        let frozen = Arc::new(watch::Sender::new(false));
        let seen = Arc::clone(&frozen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                connections.spawn(async move {
                    let mut first = seen.subscribe();
                    let _ = first.wait_for(|frozen| !*frozen).await;
                    let service = service_fn(move |_: Request<Incoming>| {
                        let mut frozen = seen.subscribe();
                        async move {
                            tokio::time::sleep(takes).await;
                            let _ = frozen.wait_for(|frozen| !*frozen).await;
                            Ok::<_, Infallible>(Response::new(text(name)))
                        }
                    });
                    let io = TokioIo::new(stream);
                    if http2 {
                        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
                    } else {
                        let _ = http1::Builder::new().serve_connection(io, service).await;
                    }
                });
            }
        });
        Self { address, frozen }
    }

    fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }
}

fn state(world: &World, address: SocketAddr) -> EndpointState {
    let services = world.ingress.traffic();
    let mut endpoints = services.values().flat_map(|service| &service.endpoints);
    endpoints.find(|endpoint| endpoint.address == address).expect("it is in the table").state
}

/// A world whose patience is short.
async fn world(silence: u64) -> World {
    World::start(Limits { silence: Duration::from_millis(silence), ..Limits::default() }).await
}

/// Clients that ask one thing after another until they are dropped, and fail the test at any other answer than 200.
struct Clients {
    answered: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Clients {
    fn start(world: &World, count: usize) -> Self {
        let (answered, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        for _ in 0..count {
            let (address, answered) = (world.address, Arc::clone(&answered));
            tasks.spawn(async move {
                let mut client = RawClient::connect(address).await;
                loop {
                    client.write("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n").await;
                    let (head, _) = client.response().await;
                    assert!(head.starts_with("http/1.1 200"), "{head}");
                    answered.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Self { answered, tasks }
    }

    /// Waits until so many more are answered.
    async fn get(&mut self, more: u64) {
        let wanted = self.answered.load(Relaxed) + more;
        until("requests are answered", || {
            assert!(self.tasks.try_join_next().is_none(), "a client has failed");
            self.answered.load(Relaxed) >= wanted
        })
        .await;
    }
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_left_out_and_costs_no_get() {
    let mut tasks = JoinSet::new();
    let ill = Freezer::start(&mut tasks, "ill", Duration::ZERO, false).await;
    let web = server(&mut tasks, "well").await;
    let world = world(300).await;
    world.ingress.take(pool(1, &[ill.address, web])).unwrap();
    let mut clients = Clients::start(&world, 16);
    clients.get(200).await;
    ill.freeze(true);
    until("it is left out", || state(&world, ill.address) == EndpointState::Ejected).await;
    // More than the clients that may be waiting for it.
    clients.get(200).await;
    let seen = world.counters(1);
    assert!(seen.retries >= 5 && seen.own_answers == 0, "{seen:?}");
    ill.freeze(false);
    // Nobody waits for it any more: it is tried when its time is over.
    until("it is back", || state(&world, ill.address) == EndpointState::Healthy).await;
    clients.get(200).await;
}

#[tokio::test]
async fn an_endpoint_that_answers_no_probe_is_left_out_in_seconds() {
    let mut tasks = JoinSet::new();
    let ill = Freezer::start(&mut tasks, "ill", Duration::ZERO, false).await;
    let web = server(&mut tasks, "well").await;
    let limits = Limits {
        silence: Duration::from_millis(300),
        probe: Duration::from_secs(3600),
        probe_busy: Duration::from_millis(400),
        probe_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::start(limits).await;
    let mut table = pool(1, &[ill.address, web]);
    table.services[0].ports.get_mut("http").unwrap().probe = Some("/".to_owned());
    world.ingress.take(table).unwrap();
    let mut clients = Clients::start(&world, 8);
    clients.get(100).await;
    ill.freeze(true);
    // No probe is due for an hour: a request that waits has it probed.
    until("it is left out", || state(&world, ill.address) == EndpointState::Unready).await;
    clients.get(100).await;
    assert_eq!(world.counters(1).own_answers, 0);
}

#[tokio::test]
async fn an_http2_endpoint_that_hangs_is_left_out() {
    let mut tasks = JoinSet::new();
    let ill = Freezer::start(&mut tasks, "ill", Duration::ZERO, true).await;
    let well = Freezer::start(&mut tasks, "well", Duration::ZERO, true).await;
    let limits = Limits {
        probe: Duration::from_millis(200),
        probe_busy: Duration::from_millis(200),
        probe_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::start(limits).await;
    world.ingress.take(speaking(pool(1, &[ill.address, well.address]), Protocol::Grpc)).unwrap();
    let mut sender = connect(&world, &mut tasks).await;
    ill.freeze(true);
    until("it is left out", || state(&world, ill.address) == EndpointState::Unready).await;
    for _ in 0..20 {
        let response = sender.send_request(call(Empty::new())).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "well");
    }
    ill.freeze(false);
    until("it is back", || state(&world, ill.address) == EndpointState::Healthy).await;
}

#[tokio::test]
async fn slow_endpoints_are_not_taken_for_ones_that_hang() {
    let mut tasks = JoinSet::new();
    let slow = Duration::from_millis(600);
    let one = Freezer::start(&mut tasks, "one", slow, false).await;
    let two = Freezer::start(&mut tasks, "two", slow, false).await;
    let world = world(100).await;
    world.ingress.take(pool(1, &[one.address, two.address])).unwrap();
    let mut clients = Clients::start(&world, 20);
    for _ in 0..4 {
        clients.get(20).await;
        for endpoint in [&one, &two] {
            assert_eq!(state(&world, endpoint.address), EndpointState::Healthy);
        }
    }
    assert_eq!(world.counters(1).retries, 0);
}

#[tokio::test]
async fn the_last_endpoint_is_asked_though_it_hangs() {
    let mut tasks = JoinSet::new();
    let ill = Freezer::start(&mut tasks, "ill", Duration::ZERO, false).await;
    let world = world(100).await;
    world.ingress.take(pool(1, &[ill.address])).unwrap();
    let mut clients = Clients::start(&world, 8);
    clients.get(8).await;
    ill.freeze(true);
    until("it hangs", || state(&world, ill.address) == EndpointState::Ejected).await;
    ill.freeze(false);
    clients.get(8).await;
    until("it is back", || state(&world, ill.address) == EndpointState::Healthy).await;
}

/// One that has answered nobody since the ingress began: how long it takes is not known, so that the limit counts.
#[tokio::test]
async fn requests_that_time_out_leave_an_endpoint_out() {
    let mut tasks = JoinSet::new();
    let ill = Freezer::start(&mut tasks, "ill", Duration::ZERO, false).await;
    ill.freeze(true);
    let web = server(&mut tasks, "well").await;
    let world = World::start(Limits { response: Duration::from_secs(1), ..Limits::default() }).await;
    world.ingress.take(pool(1, &[ill.address, web])).unwrap();
    let mut late = 0;
    for _ in 0..60 {
        let request = "POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 2\r\n\r\nhi";
        late += usize::from(world.ask(request).await.0.starts_with("http/1.1 504"));
    }
    assert!((5..=6).contains(&late), "{late}: five, and one more if 10 s have passed");
    assert_eq!(state(&world, ill.address), EndpointState::Ejected);
}
