//! The end of an ingress process: with a successor, and without.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use windlass_core::traffic::{EndpointState, IngressReport};

use crate::http::{Client, Endpoint, get};
use crate::world::{LONG, World, signed, table, until};

const WEB: &str = "web.example.com";
/// The path of the probe of an endpoint.
const PROBE: &str = "/ready";
/// Clients that keep their connection, and as many that do not.
const CLIENTS: u64 = 8;
/// Each of them begins a request so often: 640 a second in all.
const EVERY: Duration = Duration::from_millis(25);

/// Requests that flow until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: JoinSet<io::Result<()>>,
}

impl Load {
    fn begin(address: SocketAddr) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut clients = JoinSet::new();
        for keep in [true, false] {
            for _ in 0..CLIENTS {
                clients.spawn(client(address, keep, stop.clone(), done.clone()));
            }
        }
        Self { stop, done, clients }
    }

    fn done(&self) -> usize {
        self.done.load(Relaxed)
    }

    /// Ends it; every request must have been answered.
    async fn end(mut self) -> usize {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap().unwrap();
        }
        self.done()
    }
}

async fn client(
    address: SocketAddr,
    keep: bool,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> io::Result<()> {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept: Option<Client> = None;
    while !stop.load(Relaxed) {
        tick.tick().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Client::connect(address).await?,
        };
        let answer = connection.get(WEB, "/wait/20").await?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("{answer:?}")));
        }
        done.fetch_add(1, Relaxed);
        // A client that is told that the connection closes opens another one.
        kept = (keep && !answer.close).then_some(connection);
    }
    Ok(())
}

fn serving(report: &IngressReport) -> bool {
    !report.listens.is_empty() && !report.tables.is_empty()
}

/// Complaint 1 about other proxies (basecamp/kamal#1055): their upgrade is an outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successors_take_over_and_no_request_fails() {
    let world = World::new();
    let endpoint = Endpoint::listen("one").await;
    let mut agent = world.agent(vec![world.keys.table(5, &[endpoint.address])]);
    let mut ingress = world.start(&["--http", "127.0.0.1:0", "--drain", "10s"]);
    let first = agent.report("the first serves", serving).await;
    let http = agent.http().await;
    let load = Load::begin(http);
    until("requests flow", || load.done() > 500).await;
    let mut known = vec![first.process];
    for _ in 0..2 {
        let successor = world.start(&["--http", "127.0.0.1:0", "--drain", "10s"]);
        let newer = |report: &IngressReport| serving(report) && !known.contains(&report.process);
        let report = agent.report("the successor serves", newer).await;
        assert_eq!(report.listens[0].address, http, "the same socket");
        known.push(report.process);
        let before = load.done();
        until("requests flow to the successor", || load.done() > before + 500).await;
        // While requests flow, the one before says that it ends, and does.
        let old = known[known.len() - 2];
        agent
            .report("the one before says so", |r| r.process == old && r.ending && r.listens.is_empty())
            .await;
        assert!(ingress.end().await, "it ended well");
        ingress = successor;
    }
    let done = load.end().await;
    println!("{done} requests, none failed");
    assert!(done > 1500);
}

/// An endpoint that answers every request and every probe with an error. Counts the requests.
async fn listen_broken() -> (SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, requests, mut tasks) =
        (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default(), JoinSet::new());
    let counted = requests.clone();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            if stream.read_line(&mut line).await.is_ok() && !line.contains(PROBE) {
                counted.fetch_add(1, Relaxed);
            }
            let answer =
                b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            drop(stream.write_all(answer).await); // the ingress sees what it got
        }
    });
    (address, requests, tasks)
}

#[tokio::test]
async fn a_successor_leaves_out_what_failed_before() {
    let world = World::new();
    let good = Endpoint::listen("good").await;
    let (broken, requests, _tasks) = listen_broken().await;
    let mut routes = table(5, &[good.address, broken]);
    let service = &mut routes.services[0];
    service.ports.values_mut().for_each(|port| port.probe = Some(PROBE.to_owned()));
    let mut agent = world.agent(vec![signed(&routes, &world.keys.0.dispatch)]);
    let mut ingress = world.start(&["--http", "127.0.0.1:0", "--drain", "1s"]);
    let is_out = |report: &IngressReport| {
        let mut endpoints = report.services.values().flat_map(|service| &service.endpoints);
        endpoints.any(|endpoint| endpoint.address == broken && endpoint.state == EndpointState::Unready)
    };
    let first = agent.report("the broken endpoint is left out", |r| serving(r) && is_out(r)).await;
    let http = agent.http().await;
    let before = requests.load(Relaxed);
    let _successor = world.start(&["--http", "127.0.0.1:0"]);
    agent.report("the successor serves", |r| serving(r) && r.process != first.process).await;
    assert!(ingress.end().await);
    for _ in 0..40 {
        assert_eq!(get(http, WEB, "/").await.unwrap().body, "good");
    }
    assert_eq!(requests.load(Relaxed), before);
}

#[tokio::test]
async fn a_successor_that_cannot_serve_changes_nothing() {
    let world = World::new();
    let endpoint = Endpoint::listen("one").await;
    let mut agent = world.agent(vec![world.keys.table(5, &[endpoint.address])]);
    let mut ingress = world.start(&["--http", "127.0.0.1:0"]);
    agent.report("it serves", serving).await;
    let http = agent.http().await;
    let taken = endpoint.address.to_string();
    // The address of its metrics is taken, so it ends before it is ready.
    let mut successor = world.start(&["--http", "127.0.0.1:0", "--metrics", &taken]);
    assert!(!successor.end().await);
    for _ in 0..20 {
        assert_eq!(get(http, WEB, "/").await.unwrap().body, "one");
    }
    assert!(!ingress.has_ended());
    // The next one is as good as the first would have been.
    let mut successor = world.start(&["--http", "127.0.0.1:0", "--drain", "1s"]);
    assert!(ingress.end().await);
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "one");
    assert!(!successor.has_ended());
}

#[tokio::test]
async fn sigterm_waits_for_requests_under_way() {
    let world = World::new();
    let endpoint = Endpoint::listen("one").await;
    let mut agent = world.agent(vec![world.keys.table(5, &[endpoint.address])]);
    let mut ingress = world.start(&["--http", "127.0.0.1:0", "--drain", "30s"]);
    agent.report("it serves", serving).await;
    let http = agent.http().await;
    let mut under_way = JoinSet::new();
    under_way.spawn(async move { get(http, WEB, "/wait/3000").await });
    let in_flight = |report: &IngressReport| {
        let endpoints = report.services.values().flat_map(|service| &service.endpoints);
        endpoints.map(|endpoint| endpoint.in_flight).sum::<u64>() == 1
    };
    agent.report("the request is under way", in_flight).await;
    ingress.terminate();
    let report = agent.report("it says that it ends", |report| report.ending).await;
    assert!(report.listens.is_empty());
    assert!(get(http, WEB, "/").await.is_err(), "nobody accepts any more");
    let answer = under_way.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "one"));
    assert!(ingress.end().await);
    // The result of the last request is not lost.
    agent
        .report("the last report", |report| {
            report.ending
                && report
                    .services
                    .values()
                    .any(|s| s.releases.values().any(|release| release.weighted.success == 1))
        })
        .await;
}

#[tokio::test]
async fn an_end_with_notice_fails_health_checks_and_serves_on() {
    const READY: &str = "/.well-known/windlass/ready";
    let world = World::new();
    let endpoint = Endpoint::listen("one").await;
    let mut agent = world.agent(vec![world.keys.table(5, &[endpoint.address])]);
    let mut ingress = world.start(&["--http", "127.0.0.1:0", "--notice", "6s", "--response-timeout", "1s"]);
    agent.report("it serves", serving).await;
    let http = agent.http().await;
    assert_eq!(get(http, WEB, "/wait/5000").await.unwrap().status, 504, "it waits as long as it was told");
    let status = async || get(http, "10.0.0.1", READY).await.unwrap().status;
    assert_eq!(status().await, 200);
    let ended_at = tokio::time::Instant::now();
    ingress.terminate();
    while status().await == 200 {
        assert!(ended_at.elapsed() < LONG, "it stays healthy");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "one", "requests are taken meanwhile");
    assert!(ingress.end().await);
    assert!(ended_at.elapsed() >= Duration::from_secs(6), "{:?}", ended_at.elapsed());
}
