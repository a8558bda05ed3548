//! A narrow link: heartbeats get through while a log, reports of an ingress and statistics are pushed beside them.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::traffic::{ingress, report};
use super::*;
use crate::traffic::wire::{self, MOST_UP, Up};

/// Bytes per second that the link carries to the coordinator, of all connections together.
const WIDTH: u32 = 64 << 10;
/// Bytes that one connection sends before another one has its turn.
const PIECE: usize = 2 << 10;
/// Services in a report of the ingress: some tens of KiB.
const SERVICES: usize = 1000;
const WATCHED: Duration = Duration::from_secs(12);
/// The longest time between two heartbeats; a coordinator suspects a host after 15 s.
const LONGEST: Duration = Duration::from_secs(5);

/// The link before a coordinator; dropped, it is cut.
struct Narrow {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Narrow {
    async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let turn = Arc::new(Mutex::new(()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let (near_from, mut near_to) = near.into_split();
                let (mut far_from, far_to) = TcpStream::connect(target).await.unwrap().into_split();
                open.spawn(carry(near_from, far_to, turn.clone()));
                open.spawn(async move { drop(tokio::io::copy(&mut far_from, &mut near_to).await) });
            }
        });
        Self { address, _tasks: tasks }
    }
}

/// Carries what comes, a piece of each connection in turn, as fast as the link is wide.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, turn: Arc<Mutex<()>>) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let mine = turn.lock().await;
        sleep(Duration::from_secs(1) * u32::try_from(count).unwrap() / WIDTH).await;
        drop(mine);
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}

/// The longest time without a heartbeat while one watches. It counts its own looks: a process that was held up has missed as many
/// looks as beats.
async fn longest_silence(coordinator: &Coordinator) -> Duration {
    const LOOK: Duration = Duration::from_millis(20);
    let begun = Instant::now();
    let (mut beats, mut silent, mut longest) = (coordinator.known().beats, 0, 0);
    while begun.elapsed() < WATCHED {
        sleep(LOOK).await;
        let now = coordinator.known().beats;
        silent = if now == beats { silent + 1 } else { 0 };
        longest = longest.max(silent);
        beats = now;
    }
    LOOK * longest
}

#[tokio::test]
async fn heartbeats_pass_a_narrow_link_beside_everything_else() {
    let (coordinator, machine) = (Coordinator::new(), Machine::new());
    let listening = coordinator.listen(ANY);
    let narrow = Narrow::before(listening.address).await;
    coordinator.known().takes_stats = true;
    join(&machine.join_at(narrow.address, coordinator.token())).await.unwrap();
    machine.engine.world().log = (0..20_000).map(|n| format!("{n} {}", "x".repeat(500))).collect();
    let _agent = machine.run();
    let r1 = coordinator.shelve(1);
    coordinator.offer(1, &[r1]);
    coordinator.until("settled", |known| settled(known, 1)).await;

    // Ten MB of a log, and reports of an ingress as fast as the agent takes them.
    let request = pb::LogRequest {
        request: 7,
        service: "production/web".to_owned(),
        tail: 20_000,
        apart: true,
        ..pb::LogRequest::default()
    };
    coordinator.say(down::Message::LogRequest(request));
    let mut flood = ingress(&machine).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let services =
            (0..SERVICES).map(|n| (format!("production/s{n}").parse().unwrap(), Default::default()));
        let services: std::collections::BTreeMap<_, _> = services.collect();
        for number in 0.. {
            let Up::Report(mut large) = report(7, number) else { unreachable!("it is a report") };
            large.services = services.clone();
            if wire::write(&mut flood, &Up::Report(large), MOST_UP).await.is_err() {
                return;
            }
        }
    });
    let pushed =
        |known: &Known| !known.sent.is_empty() && !known.ingress.is_empty() && !known.stats.is_empty();
    coordinator.until("log, reports and statistics", pushed).await;
    let (before, reports) = {
        let known = coordinator.known();
        (known.beats, known.ingress.len())
    };
    let longest = longest_silence(&coordinator).await;
    let known = coordinator.known();
    let bytes: usize = known.sent.iter().flat_map(|part| &part.lines).map(|line| line.text.len()).sum();
    assert!(longest < LONGEST, "{longest:?} without a heartbeat");
    assert!(known.beats - before > 10, "{} heartbeats", known.beats - before);
    assert!(known.ingress.len() > reports, "the ingress reports all along");
    assert!(
        bytes > 100_000 && known.sent.iter().all(|part| !part.end),
        "{bytes} bytes of a log that goes on"
    );
    assert_eq!(known.hellos.len(), 1, "the link was never cut");
}
