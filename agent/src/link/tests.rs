//! A whole agent against a coordinator on a real TLS listener, with an engine in memory.

mod narrow;
mod traffic;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_certs::dsse::{Envelope, KeySet, PayloadType};
use windlass_certs::join::{JoinToken, Terms};
use windlass_certs::revocation::{RevocationList, RevokedSet};
use windlass_core::Digest;
use windlass_core::observation::{Observation, RefusalCode, SlotStatus};
use windlass_core::receipt::{Receipt, SlotOutcome};
use windlass_proto::pb::{self, connect_response as down};

use crate::clock;
use crate::config::Config;
use crate::fixture::coordinator::{Coordinator, Known, Listening};
use crate::join::{Join, JoinError, join};
use crate::run;
use crate::runtime::fake::FakeEngine;
use crate::status::Status;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A machine with an agent on it.
struct Machine {
    folder: tempfile::TempDir,
    engine: FakeEngine,
}

/// A running agent; dropped, it is killed.
struct Agent {
    tasks: JoinSet<Result<(), run::RunError>>,
    stop: CancellationToken,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), engine: FakeEngine::new(clock::now) }
    }

    fn join_at(&self, server: SocketAddr, token: String) -> Join {
        Join {
            server: server.to_string(),
            token,
            data: self.folder.path().join("agent"),
            address: "127.0.0.1".to_owned(),
            registries: vec!["registry.example.com".to_owned()],
            insecure_registries: Vec::new(),
            policy: self.folder.path().join("policy.toml"),
        }
    }

    fn run(&self) -> Agent {
        let config = Config {
            data: self.folder.path().join("agent"),
            engine: "unix:///nowhere.sock".to_owned(),
            policy: self.folder.path().join("policy.toml"),
            server: None,
            ingress_socket: None,
            metrics: None,
        };
        let (engine, stop, mut tasks) = (self.engine.clone(), CancellationToken::new(), JoinSet::new());
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move { run::run(&config, stopped, |_, _| Ok(engine)).await });
        Agent { tasks, stop }
    }
}

impl Agent {
    async fn stop(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}

/// A coordinator, and a machine whose agent has joined it.
async fn joined() -> (Coordinator, Listening, Machine) {
    let (coordinator, machine) = (Coordinator::new(), Machine::new());
    let listening = coordinator.listen(ANY);
    let done = join(&machine.join_at(listening.address, coordinator.token())).await.unwrap();
    assert!(done.wrote_policy && done.member.labels["role"] == "app");
    (coordinator, listening, machine)
}

#[tokio::test]
async fn a_host_is_what_its_token_says_not_what_an_answer_says() {
    let (coordinator, machine) = (Coordinator::new(), Machine::new());
    let listening = coordinator.listen(ANY);
    let bare = JoinToken::parse(&coordinator.token()).unwrap();
    let with = |role: &str, expires_at| {
        let (fleet, host) = (bare.fleet().clone(), bare.host().clone());
        let labels = Some([("role".to_owned(), role.to_owned())].into());
        let terms = Terms { labels, expires_at: Some(expires_at), ..Terms::default() };
        bare.clone().under(fleet, host, bare.ca_pin(), bare.trust_pin(), terms).to_string()
    };
    let soon = clock::now() + Duration::from_secs(60);
    let over = machine.join_at(listening.address, with("app", clock::now() - Duration::from_secs(3600)));
    assert!(matches!(join(&over).await, Err(JoinError::Over(_))));
    // The coordinator would have it run what is placed on `role=app`.
    let refused = join(&machine.join_at(listening.address, with("test", soon))).await.unwrap_err();
    assert!(matches!(refused, JoinError::Labels { .. }), "{refused}");
    assert!(!machine.folder.path().join("agent/member.json").exists());
    let done = join(&machine.join_at(listening.address, with("app", soon))).await.unwrap();
    assert_eq!(done.member.labels["role"], "app");
}

fn settled(known: &Known, seq: u64) -> bool {
    let is_settled = |seen: &Observation| {
        seen.seq == seq && seen.slots.iter().all(|slot| slot.status == SlotStatus::Settled)
    };
    known.observations.last().is_some_and(is_settled)
}

#[tokio::test]
async fn a_plan_is_carried_out_reported_and_receipted() {
    let (coordinator, _listening, machine) = joined().await;
    let agent = machine.run();
    let r1 = coordinator.shelve(1);
    coordinator.offer(1, &[r1, r1]);
    coordinator.until("settled", |known| settled(known, 1)).await;
    coordinator.until("beats", |known| known.beats > 2).await;
    coordinator.until("a receipt", |known| !known.receipts.is_empty()).await;
    assert_eq!(machine.engine.world().containers.len(), 2);
    let (receipt, key) = {
        let known = coordinator.known();
        (known.receipts[0].clone(), known.receipt_key.clone().unwrap())
    };
    let envelope = Envelope::parse(&receipt, PayloadType::Receipt.max_len()).unwrap();
    let keys = KeySet::new([key], 1);
    let receipt: Receipt = envelope.verify(PayloadType::Receipt, &keys).unwrap().decode().unwrap();
    assert_eq!((receipt.seq, receipt.host.as_str(), receipt.slots.len()), (1, "web-1", 2));
    assert!(receipt.slots.iter().all(|slot| slot.outcome == SlotOutcome::Settled));
    agent.stop().await;
    assert_eq!(machine.engine.world().containers.len(), 2, "the agent has gone, what runs has not");
}

#[tokio::test]
async fn statistics_travel_beside_heartbeats_where_they_may() {
    let (coordinator, _listening, machine) = joined().await;
    let agent = machine.run();
    coordinator.until("statistics in a heartbeat", |known| !known.beat_stats.is_empty()).await;
    agent.stop().await;
    assert!(coordinator.known().stats.is_empty(), "a coordinator of before takes no report");
    {
        let mut known = coordinator.known();
        known.takes_stats = true;
        known.beat_stats.clear();
    }
    let agent = machine.run();
    coordinator.until("a report of statistics", |known| !known.stats.is_empty()).await;
    let beats = coordinator.known().beats;
    coordinator.until("more heartbeats", |known| known.beats > beats + 2).await;
    agent.stop().await;
    let known = coordinator.known();
    assert!(known.beat_stats.is_empty(), "heartbeats stay small");
    let seen = &known.stats[0];
    assert!(seen.at.is_some() && seen.memory_total > 0 && !seen.disks.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn a_coordinator_that_comes_back_has_its_hosts_at_once() {
    let (coordinator, listening, machine) = joined().await;
    let _agent = machine.run();
    let r1 = coordinator.shelve(1);
    coordinator.offer(1, &[r1]);
    coordinator.until("settled", |known| settled(known, 1)).await;
    let address = listening.address;
    listening.die().await;
    coordinator.known().observations.clear();
    let _again = coordinator.listen(address);
    coordinator.until("the same observation", |known| settled(known, 1)).await;
    let hello = coordinator.known().hellos.last().cloned().unwrap();
    assert_eq!((hello.seq, hello.trust_version), (1, 1));
    assert_eq!(Some(hello.plan.to_vec()), coordinator.known().plan);
}

#[tokio::test]
async fn a_refused_plan_is_reported_and_the_agent_goes_on_serving() {
    let (coordinator, _listening, machine) = joined().await;
    let _agent = machine.run();
    let (r1, r2) = (coordinator.shelve(1), coordinator.shelve(2));
    coordinator.offer(5, &[r1]);
    coordinator.until("settled", |known| settled(known, 5)).await;
    let mut forged = coordinator.fleet.plan(6, &[r2]);
    forged.host = "web-2".parse().unwrap();
    let envelope = coordinator.fleet.sign_plan(&forged).into();
    coordinator.say(down::Message::Plan(pb::PlanOffer { envelope }));
    let refused = |known: &Known| {
        let last = known.observations.last().and_then(|seen| seen.plan_refusal.clone());
        last.is_some_and(|refusal| refusal.code == RefusalCode::WrongAudience)
    };
    coordinator.until("the refusal", refused).await;
    assert_eq!(coordinator.known().observations.last().unwrap().seq, 5);
    coordinator.offer(6, &[r2]);
    coordinator.until("settled", |known| settled(known, 6)).await;
    assert!(coordinator.known().observations.last().unwrap().plan_refusal.is_none());
}

#[tokio::test]
async fn foreign_coordinator_is_refused_and_counted() {
    let (_coordinator, listening, machine) = joined().await;
    let address = listening.address;
    listening.die().await;
    let _impostor = Coordinator::new().listen(address);
    let _agent = machine.run();
    counted(&machine, RefusalCode::WrongPeer).await;
}

/// Waits until the agent has counted a refusal.
async fn counted(machine: &Machine, code: RefusalCode) {
    let status = machine.folder.path().join("agent/status.json");
    let counted = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let refusals = Status::load(&status).map(|status| status.refusals).unwrap_or_default();
            if refusals.get(&code).is_some_and(|count| *count > 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    counted.await.unwrap_or_else(|_| panic!("never counted: {code:?}"));
}

#[tokio::test]
async fn revoked_coordinator_is_left_at_once_and_after_a_restart() {
    let (coordinator, listening, machine) = joined().await;
    let agent = machine.run();
    coordinator.until("linked", |known| known.hellos.len() == 1).await;
    let fleet = coordinator.fleet.clone();
    let list = |name: &str, version| RevocationList {
        fleet: name.parse().unwrap(),
        version,
        issued_at: clock::now(),
        revoked: RevokedSet { serials: [listening.serial.clone()].into(), identities: Default::default() },
    };
    let say = |envelope: Vec<u8>| {
        coordinator.say(down::Message::Revocations(pb::RevocationNotice { envelope: envelope.into() }));
    };
    // The holder of the coordinator's keys cannot write one, and one of another fleet is none.
    say(fleet.sign(PayloadType::Revocation, &list("demo", 9), &[&fleet.keys.dispatch, &fleet.keys.audit]));
    counted(&machine, RefusalCode::UnknownKey).await;
    say(fleet.sign(PayloadType::Revocation, &list("other", 9), &[&fleet.keys.root]));
    counted(&machine, RefusalCode::WrongAudience).await;
    let r1 = coordinator.shelve(1);
    coordinator.offer(1, &[r1]);
    coordinator.until("settled", |known| settled(known, 1)).await;
    assert_eq!(coordinator.known().hellos.len(), 1, "no refusal costs the connection");

    say(fleet.sign(PayloadType::Revocation, &list("demo", 3), &[&fleet.keys.root]));
    counted(&machine, RefusalCode::WrongPeer).await;
    agent.stop().await;
    let _agent = machine.run();
    assert_eq!(coordinator.known().hellos.len(), 1, "it does not say hello to that certificate again");
    assert_eq!(machine.engine.world().containers.len(), 1, "and what runs, runs");
    // The true one comes back with a new certificate, and hears which list is in force.
    let address = listening.address;
    listening.die().await;
    let _again = coordinator.listen(address);
    coordinator.until("linked again", |known| known.hellos.len() == 2).await;
    assert_eq!(coordinator.known().hellos[1].revocations, 3);
    // An older list brings nothing back.
    let none = RevocationList { revoked: RevokedSet::default(), ..list_of(&fleet, 2) };
    say(fleet.sign(PayloadType::Revocation, &none, &[&fleet.keys.root]));
    counted(&machine, RefusalCode::Stale).await;
}

fn list_of(fleet: &crate::fixture::Fleet, version: u64) -> RevocationList {
    let fleet = fleet.document().fleet;
    RevocationList { fleet, version, issued_at: clock::now(), revoked: RevokedSet::default() }
}

#[tokio::test]
async fn logs_are_read_on_request() {
    let (coordinator, _listening, machine) = joined().await;
    machine.engine.world().log = vec!["one".to_owned(), "x".repeat(20_000)];
    let _agent = machine.run();
    let r1 = coordinator.shelve(1);
    coordinator.offer(1, &[r1]);
    coordinator.until("settled", |known| settled(known, 1)).await;
    let ask = |request, service: &str| {
        let request = pb::LogRequest {
            request,
            instances: vec![],
            service: service.to_owned(),
            tail: 10,
            ..pb::LogRequest::default()
        };
        coordinator.say(down::Message::LogRequest(request));
    };
    ask(7, "production/web");
    coordinator.until("lines", |known| known.lines.iter().any(|lines| lines.request == 7 && lines.end)).await;
    ask(8, "production/other");
    coordinator
        .until("an end", |known| known.lines.iter().any(|lines| lines.request == 8 && lines.end))
        .await;
    let known = coordinator.known();
    let text: Vec<_> =
        known.lines.iter().flat_map(|lines| &lines.lines).map(|line| line.text.len()).collect();
    assert_eq!(text, [3, 16 * 1024]);
    assert!(known.lines.iter().any(|lines| lines.request == 8 && lines.error.contains("no such instance")));
}

#[tokio::test]
async fn a_log_never_travels_on_the_control_stream() {
    let (coordinator, _listening, machine) = joined().await;
    machine.engine.world().log = (0..10_000).map(|n| n.to_string()).collect();
    let _agent = machine.run();
    let r1 = coordinator.shelve(1);
    coordinator.offer(1, &[r1]);
    coordinator.until("settled", |known| settled(known, 1)).await;
    let ask = |request, tail| {
        let service = "production/web".to_owned();
        let request = pb::LogRequest { request, service, tail, apart: true, ..pb::LogRequest::default() };
        coordinator.say(down::Message::LogRequest(request));
    };
    ask(7, 20_000);
    ask(8, 100);
    let ended = |known: &Known, request| known.sent.iter().any(|part| part.request == request && part.end);
    coordinator.until("both ends", |known| ended(known, 7) && ended(known, 8)).await;
    let known = coordinator.known();
    let of = |request| known.sent.iter().filter(move |part| part.request == request);
    let texts = |request| of(request).flat_map(|part| &part.lines).map(|line| line.text.clone());
    assert!(texts(7).eq((0..10_000).map(|n| n.to_string())), "every line, in order");
    assert!(texts(8).eq((9_900..10_000).map(|n| n.to_string())), "exactly the last ones");
    assert!(of(7).count() < 200, "{} messages", of(7).count());
    assert!(known.lines.is_empty(), "nothing on the stream of heartbeats");
}

#[tokio::test]
async fn trust_documents_are_fetched_and_taken() {
    let (coordinator, _listening, machine) = joined().await;
    let _agent = machine.run();
    let r1 = coordinator.shelve(1);
    coordinator.offer(1, &[r1]);
    coordinator.until("settled", |known| settled(known, 1)).await;
    let mut second = coordinator.fleet.document();
    (second.version, second.epoch) = (2, 2);
    let envelope = coordinator.fleet.sign_trust(&second);
    coordinator.known().trust.push(envelope);
    coordinator.say(down::Message::Trust(pb::TrustNotice { version: 2 }));
    let frozen = |known: &Known| known.observations.last().is_some_and(|seen| seen.seq == 0);
    coordinator.until("a frozen host", frozen).await;
    let mut first = coordinator.fleet.plan(1, &[r1]);
    first.epoch = 2;
    let envelope = coordinator.fleet.sign_plan(&first).into();
    coordinator.say(down::Message::Plan(pb::PlanOffer { envelope }));
    coordinator.until("settled again", |known| settled(known, 1)).await;
    assert_eq!(machine.engine.world().containers.len(), 1, "nothing was stopped or started meanwhile");
}

#[tokio::test]
async fn a_certificate_is_renewed_and_an_expired_one_too() {
    let coordinator = Coordinator::new();
    // Renewed at half of it: a machine may hold that up for a while.
    coordinator.known().lifetime = Duration::from_secs(8);
    let (machine, listening) = (Machine::new(), coordinator.listen(ANY));
    join(&machine.join_at(listening.address, coordinator.token())).await.unwrap();
    let agent = machine.run();
    coordinator.until("renewed twice", |known| known.generation >= 3).await;
    assert_eq!(coordinator.known().proofs, 0, "while it was valid");
    agent.stop().await;
    tokio::time::sleep(Duration::from_secs(9)).await; // a certificate's time cannot be paused
    let before = coordinator.known().hellos.len();
    let _agent = machine.run();
    coordinator.until("a proof", |known| known.proofs > 0).await;
    coordinator.until("linked again", |known| known.hellos.len() > before).await;
}

#[tokio::test]
async fn a_join_that_was_cut_off_is_tried_again_with_the_same_key() {
    let (coordinator, machine) = (Coordinator::new(), Machine::new());
    let (listening, token) = (coordinator.listen(ANY), coordinator.token());
    coordinator.known().lose_answers = true;
    let first = join(&machine.join_at(listening.address, token.clone())).await;
    assert!(matches!(first, Err(JoinError::Refused(_))), "{first:?}");
    join(&machine.join_at(listening.address, token.clone())).await.unwrap();
    let again = join(&machine.join_at(listening.address, token.clone())).await.unwrap_err();
    assert!(matches!(again, JoinError::Already { .. }));
    assert!(again.hint().unwrap().contains("windlass-agent run"));
    let thief = join(&Machine::new().join_at(listening.address, token)).await;
    assert!(matches!(thief, Err(JoinError::Refused(_))), "another key is refused");
}

#[tokio::test]
async fn a_join_believes_only_what_its_token_pins() {
    let (coordinator, other) = (Coordinator::new(), Coordinator::new());
    let (listening, machine) = (coordinator.listen(ANY), Machine::new());
    let foreign = join(&machine.join_at(listening.address, other.token())).await.unwrap_err();
    assert!(matches!(foreign, JoinError::Connect(_)), "another CA: {foreign}");
    let token = coordinator.token();
    let mut forged = coordinator.fleet.document();
    forged.epoch = 9;
    let envelope = coordinator.fleet.sign_trust(&forged);
    coordinator.known().trust[0] = envelope;
    let foreign = join(&machine.join_at(listening.address, token)).await.unwrap_err();
    assert!(matches!(foreign, JoinError::Trust(_)), "another trust document: {foreign}");
    let mut without = coordinator.fleet.document();
    without.ca = vec![Digest::of(b"another CA")];
    let envelope = coordinator.fleet.sign_trust(&without);
    coordinator.known().trust[0] = envelope;
    let token = coordinator.token();
    let foreign = join(&machine.join_at(listening.address, token)).await.unwrap_err();
    assert!(matches!(foreign, JoinError::WrongCa), "{foreign}");
    assert!(!machine.folder.path().join("agent/member.json").exists());
}

#[tokio::test]
async fn a_coordinator_that_was_restored_is_shown_what_the_host_keeps() {
    let (coordinator, _listening, machine) = joined().await;
    let _agent = machine.run();
    let r1 = coordinator.shelve(1);
    coordinator.offer(1, &[r1]);
    coordinator.until("settled", |known| settled(known, 1)).await;
    coordinator.say(down::Message::KeptRequest(pb::KeptRequest {}));
    coordinator.until("a list", |known| known.kept == [r1.to_string()]).await;
    let unknown = Digest::of(b"unknown").to_string();
    for digest in [r1.to_string(), "nonsense".to_owned(), unknown] {
        coordinator.say(down::Message::ReleaseRequest(pb::ReleaseRequest { digest }));
    }
    coordinator.until("both are answered", |known| known.shown.len() == 2).await;
    let known = coordinator.known();
    assert_eq!(known.shown[0].envelope, known.releases[&r1], "as an operator signed it");
    assert!(known.shown[1].envelope.is_empty(), "what it does not keep");
}
