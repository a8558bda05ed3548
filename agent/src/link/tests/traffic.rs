//! Traffic tables on their way to the ingress, and its reports on their way back.

use std::collections::BTreeMap;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use windlass_core::traffic::IngressReport;

use super::*;
use crate::traffic::wire::{self, Down, MOST_DOWN, MOST_UP, PROTOCOL, Up};

fn offer(coordinator: &Coordinator, seq: u64) {
    let envelope = coordinator.fleet.sign_routes(&coordinator.fleet.routes(seq)).into();
    coordinator.say(down::Message::Routes(pb::RoutesOffer { envelope }));
}

pub(super) fn report(process: u64, unrouted: u64) -> Up {
    let at = clock::now();
    Up::Report(Box::new(IngressReport {
        process,
        started_at: at,
        at,
        program: "1".to_owned(),
        routes_versions: Vec::new(),
        listens: Vec::new(),
        ending: false,
        tables: BTreeMap::new(),
        refused: BTreeMap::new(),
        services: BTreeMap::new(),
        unrouted,
        bad_requests: 0,
        cut_services: 0,
    }))
}

/// Connects as an ingress that has nothing yet.
pub(super) async fn ingress(machine: &Machine) -> UnixStream {
    let path = machine.folder.path().join("agent/ingress.sock");
    let connected = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Ok(stream) = UnixStream::connect(&path).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut stream = connected.await.unwrap();
    let hello = Up::Hello { protocol: PROTOCOL, trust: 0, tables: BTreeMap::new() };
    wire::write(&mut stream, &hello, MOST_UP).await.unwrap();
    stream
}

/// Reads until the table with this number comes; answers with how many trust documents came before it.
async fn table(stream: &mut UnixStream, seq: u64) -> usize {
    let mut trust = 0;
    let found = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match wire::read::<Down>(stream, MOST_DOWN).await.unwrap().unwrap() {
                Down::Trust { envelopes } => trust += envelopes.len(),
                Down::Table { envelope } => {
                    let envelope =
                        Envelope::parse(envelope.as_bytes(), PayloadType::Routes.max_len()).unwrap();
                    let routes: windlass_core::traffic::Routes =
                        serde_json::from_slice(envelope.payload_bytes()).unwrap();
                    if routes.seq == seq {
                        return;
                    }
                }
                Down::Hello { protocol, .. } => assert_eq!(protocol, PROTOCOL),
                Down::Holds { .. } | Down::Networks { .. } | Down::Told | Down::Unknown => {}
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("table {seq} never came"));
    trust
}

#[tokio::test]
async fn tables_go_to_the_ingress_and_its_reports_come_back() {
    let (coordinator, _listening, machine) = joined().await;
    let agent = machine.run();
    coordinator.until("linked", |known| known.hellos.len() == 1).await;
    assert!(coordinator.known().hellos[0].knows_routes && coordinator.known().hellos[0].routes.is_empty());
    offer(&coordinator, 3);
    let mut stream = ingress(&machine).await;
    assert_eq!(table(&mut stream, 3).await, 1);
    offer(&coordinator, 4);
    assert_eq!(table(&mut stream, 4).await, 0, "it has the trust document already");
    assert!(coordinator.known().ingress.is_empty(), "an agent without a report sends none");
    wire::write(&mut stream, &report(7, 5), MOST_UP).await.unwrap();
    let shown = |process: u64, unrouted: u64| {
        move |known: &Known| {
            let reports = known.ingress.iter().map(|bytes| serde_json::from_slice(bytes).unwrap());
            reports.into_iter().any(|r: IngressReport| (r.process, r.unrouted) == (process, unrouted))
        }
    };
    coordinator.until("the report", shown(7, 5)).await;
    // A successor stands beside the process before it.
    let mut second = ingress(&machine).await;
    wire::write(&mut second, &report(8, 1), MOST_UP).await.unwrap();
    wire::write(&mut stream, &report(7, 6), MOST_UP).await.unwrap();
    coordinator.until("the successor's report", shown(8, 1)).await;
    coordinator.until("the report of the one before", shown(7, 6)).await;
    agent.stop().await;

    // An accepted table is known after a restart: to the coordinator, and to the ingress without one.
    let _agent = machine.run();
    coordinator.until("linked again", |known| known.hellos.len() == 2).await;
    let position = coordinator.known().hellos[1].routes[0].clone();
    assert_eq!((position.environment.as_str(), position.seq, position.epoch), ("production", 4, 1));
    assert_eq!(table(&mut ingress(&machine).await, 4).await, 1);
    // Somebody tidies the folder of the socket: it is made again.
    std::fs::remove_file(machine.folder.path().join("agent/ingress.sock")).unwrap();
    assert_eq!(table(&mut ingress(&machine).await, 4).await, 1);
    offer(&coordinator, 3);
    counted(&machine, RefusalCode::Stale).await;
}

#[tokio::test]
async fn an_ingress_that_floods_or_stalls_delays_no_heartbeat() {
    let (coordinator, _listening, machine) = joined().await;
    let _agent = machine.run();
    coordinator.until("linked", |known| known.hellos.len() == 1).await;
    let (mut flood, mut stalled) = (ingress(&machine).await, ingress(&machine).await);
    stalled.write_all(&1000_u32.to_be_bytes()).await.unwrap(); // and nothing of the message
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut number = 0;
        while wire::write(&mut flood, &report(7, number), MOST_UP).await.is_ok() {
            number += 1;
        }
    });
    let began = std::time::Instant::now();
    let before = coordinator.known().beats;
    coordinator.until("heartbeats", |known| known.beats >= before + 5).await;
    coordinator.until("reports", |known| known.ingress.len() > 2).await;
    let reports = coordinator.known().ingress.len() as u64;
    assert!(reports <= 2 * began.elapsed().as_secs() + 3, "no faster than two a second: {reports}");
    // An ingress that is as it should be is served beside them.
    offer(&coordinator, 3);
    table(&mut ingress(&machine).await, 3).await;
}
