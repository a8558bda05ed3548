//! A captured host: a real certificate, and anything it likes to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tonic::Code;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_core::Digest;
use windlass_core::condition::{Condition, ConditionCode};
use windlass_core::host::HostFacts;
use windlass_core::observation::{InstanceState, Observation, SlotObservation, SlotStatus};
use windlass_core::receipt::{RECEIPT_VERSION, Receipt};
use windlass_proto::json::encode;
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as Say;
use windlass_proto::pb::connect_response::Message as Hear;
use windlass_server::store::memory::MemoryStore;
use windlass_server::store::{Entry, Revision, Store, StoreError, Transaction, Watch};

use super::{memory, serves};
use crate::agent::{Agent, Link, Players, evidence, instance};
use crate::fleet::{Fleet, fleet_id, now, until};
use crate::release::release;
use crate::rollouts::{deploy, status};

/// Two honest hosts that serve, and a captured one that runs nothing.
async fn captured() -> (Fleet, Players, Agent) {
    captured_on(Fleet::start().await).await
}

async fn captured_on(fleet: Fleet) -> (Fleet, Players, Agent) {
    let mut players = Players::default();
    for host in ["web-1", "web-2"] {
        players.add(&fleet, Agent::joined(&fleet, host).await).await;
        fleet.wait_for(host, "connected").await;
    }
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    let rogue = Agent::joined(&fleet, "rogue").await;
    (fleet, players, rogue)
}

fn observe(seen: &Observation) -> Say {
    Say::Observation(pb::ObservationReport { observation: encode(seen) })
}

/// Says it, and waits until the coordinator has taken it in.
async fn told(link: &mut Link, seen: &Observation) {
    link.say(observe(seen)).await;
    loop {
        if let Hear::Ack(ack) = link.hear().await.unwrap()
            && ack.revision == seen.revision
        {
            return;
        }
    }
}

/// Every slot of the service, as the rogue would like it to be seen.
fn claims(revision: u64, status: &SlotStatus, state: InstanceState) -> Observation {
    let digest = Digest::of(&serde_json::to_vec(&release(1, 2, "one")).unwrap());
    let slots = (0..2).map(|n| {
        let slot = format!("default/web/{n}").parse().unwrap();
        SlotObservation {
            instances: vec![instance(&slot, digest, state)],
            slot,
            release: Some(digest),
            status: status.clone(),
            pulled: true,
            checking: false,
            pull: None,
            trouble: None,
        }
    });
    Observation { revision, seq: u64::MAX, slots: slots.collect(), ..Observation::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_says_of_slots_that_are_not_its_own_moves_nothing() {
    let (fleet, _players, rogue) = captured().await;
    let mut link = rogue.connect(&fleet).await.unwrap();
    let digest = Digest::of(&serde_json::to_vec(&release(1, 2, "one")).unwrap());
    let failed = SlotStatus::Failed { restored: None, evidence: Box::new(evidence(digest)) };
    let before = fleet.events().await.len();
    told(&mut link, &claims(1, &failed, InstanceState::Failed)).await;
    told(&mut link, &claims(2, &SlotStatus::Converging, InstanceState::Unready)).await;
    // A rollout looks at all of them, and takes its own hosts' word only.
    assert_eq!(deploy(&fleet, &release(2, 2, "two")).await, "succeeded");
    told(&mut link, &claims(3, &failed, InstanceState::Failed)).await;
    let shown = status(&fleet).await;
    assert_eq!((&shown["healthy"], &shown["good"]), (&2.into(), &"r2".into()), "{shown}");
    tokio::time::sleep(Duration::from_millis(2500)).await; // conditions are told once a second
    let events = fleet.events().await;
    let odd: Vec<&String> = events[before..]
        .iter()
        .filter(|event| event.contains("fail") || event.contains("rolled_back"))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[tokio::test]
async fn a_host_has_the_labels_it_was_granted_and_adds_none() {
    let fleet = Fleet::start().await;
    let rogue = Agent::joined(&fleet, "rogue").await;
    let labels = async |facts: &[(&str, &str)]| {
        let labels = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let facts = HostFacts { labels, address: "10.9.9.9".to_owned(), ..rogue.facts() };
        let hello = pb::Hello { facts: encode(&facts), ..rogue.hello() };
        let mut link = rogue.connect_with(&fleet, hello).await.unwrap();
        link.hear().await.unwrap();
        // Said again on the stream, in case the first time was too soon after the last.
        let want = encode(&facts);
        until("its facts are stored", async || {
            link.say(Say::Facts(pb::FactsReport { facts: want.clone() })).await;
            link.say(Say::Heartbeat(pb::Heartbeat::default())).await;
            fleet.hosts().await[0]["labels"].as_object().unwrap().len()
                == usize::from(facts.labels.get("role") == Some(&"app".to_owned()))
        })
        .await;
        let shown = fleet.hosts().await[0].clone();
        assert_eq!(shown["address"], "127.0.0.1", "its address is the one it joined with");
        shown["labels"].clone()
    };
    // The token grants role=app.
    let app = serde_json::json!({ "role": "app" });
    assert_eq!(labels(&[("role", "app")]).await, app);
    assert_eq!(labels(&[("role", "app"), ("gpu", "yes"), ("zone", "vault")]).await, app);
    let none = serde_json::json!({});
    assert_eq!(labels(&[("role", "db")]).await, none, "its own policy may drop one, and not change it");
    assert_eq!(labels(&[]).await, none);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_receipts_and_future_plans_fill_no_log() {
    let (fleet, _players, rogue) = captured().await;
    let stranger = SigningKey::generate().unwrap();
    let receipt = Receipt {
        version: RECEIPT_VERSION,
        fleet: fleet_id(),
        host: rogue.host.clone(),
        seq: 1 << 60,
        plan: Digest::of(b"plan"),
        slots: Vec::new(),
        checkpoint: None,
        at: now(),
    };
    let other = Receipt { host: "web-1".parse().unwrap(), ..receipt.clone() };
    let sign = |receipt: &Receipt, key: &SigningKey| {
        let payload = serde_json::to_vec(receipt).unwrap();
        Envelope::sign(PayloadType::Receipt, payload, &[key]).to_bytes()
    };
    let forged = [sign(&receipt, &stranger), sign(&other, &rogue.receipts), b"{}".to_vec()];
    let made_up = Envelope::sign(PayloadType::Plan, b"{}".to_vec(), &[&stranger]).to_bytes();
    // Twenty streams, each with as many lies as one stream may have had once.
    for _ in 0..20 {
        let hello = pb::Hello { seq: 1 << 40, plan: made_up.clone().into(), ..rogue.hello() };
        let mut link = rogue.connect_with(&fleet, hello).await.unwrap();
        for envelope in forged.iter().cycle().take(12) {
            link.say(Say::Receipt(pb::ReceiptReport {
                envelope: envelope.clone().into(),
                ..Default::default()
            }))
            .await;
        }
        told(&mut link, &Observation { revision: 9, ..Observation::default() }).await;
    }
    let events = fleet.events().await;
    let told = |event: &&String| event.starts_with("host.ahead") || event.starts_with("host.receipt_refused");
    let told: Vec<&String> = events.iter().filter(told).collect();
    assert!((1..=12).contains(&told.len()), "{}: {told:?}", told.len());
    assert!(told.iter().any(|event| event.starts_with("host.ahead")), "{told:?}");
    assert!(told.iter().any(|event| event.starts_with("host.receipt_refused")), "{told:?}");
    serves(&fleet, 2, "two").await;
}

#[tokio::test]
async fn reports_out_of_bounds_end_the_stream_and_are_not_kept() {
    let (fleet, _players, rogue) = captured().await;
    let before = memory();
    let slot = |n: usize, instances: usize| {
        let slot = format!("default/evil/{n}").parse().unwrap();
        let one = instance(&slot, Digest::of(b"x"), InstanceState::Healthy);
        SlotObservation {
            slot,
            release: None,
            status: SlotStatus::Settled,
            pulled: false,
            checking: false,
            pull: None,
            instances: vec![one; instances],
            trouble: None,
        }
    };
    let seen = |slots: Vec<SlotObservation>| Observation { revision: 1, slots, ..Observation::default() };
    let conditions = |count: usize, length: usize| {
        let code = ConditionCode::Other;
        let one = |n: usize| Condition { code, slot: None, device: None, message: format!("{n:>length$}") };
        Observation { conditions: (0..count).map(one).collect(), ..seen(Vec::new()) }
    };
    let facts = HostFacts { hostname: "x".repeat(100 << 10), ..rogue.facts() };
    let deep = format!("{{\"revision\":1,\"x\":{}", "[".repeat(200_000));
    #[rustfmt::skip]
    let table = [
        ("one instance too many", observe(&seen(vec![slot(0, 8193)])), "at most"),
        ("sixty-five conditions", observe(&conditions(65, 1)), "conditions"),
        ("a condition of a page", observe(&conditions(1, 4096)), "conditions"),
        ("three thousand slots", observe(&seen((0..3000).map(|n| slot(n, 0)).collect())), "at most"),
        ("5 MiB", Say::Observation(pb::ObservationReport { observation: vec![b' '; 5 << 20].into() }), "more than"),
        ("facts of 100 KiB", Say::Facts(pb::FactsReport { facts: encode(&facts) }), "more than"),
        ("a report of statistics of 2 MiB", Say::Stats(pb::StatsReport { stats: vec![b'['; 2 << 20].into() }), "more than"),
        ("statistics of 1 MiB", Say::Heartbeat(pb::Heartbeat { stats: vec![b'['; 1 << 20].into(), number: 0 }), "more than"),
        ("nested two hundred thousand deep", Say::Observation(pb::ObservationReport { observation: deep.into_bytes().into() }), "observation"),
        ("no JSON", Say::Observation(pb::ObservationReport { observation: vec![0xff; 10].into() }), "observation"),
        ("hello again", Say::Hello(rogue.hello()), "once"),
        ("9 MiB", Say::Receipt(pb::ReceiptReport { envelope: vec![0; 9 << 20].into(), ..Default::default() }), "message"),
    ];
    for (case, message, why) in table {
        let mut link = rogue.connect(&fleet).await.unwrap();
        link.say(message).await;
        let status = loop {
            if let Err(status) = link.hear().await {
                break status;
            }
        };
        let codes = [Code::ResourceExhausted, Code::InvalidArgument, Code::OutOfRange];
        assert!(codes.contains(&status.code()) && status.message().contains(why), "{case}: {status:?}");
    }
    let grown = memory().saturating_sub(before) >> 20;
    assert!(grown < 96, "{grown} MiB, the attacker's own included");
    serves(&fleet, 2, "two").await;
}

/// Counts what reaches the disk.
struct Counted {
    inner: MemoryStore,
    commits: Arc<AtomicU64>,
}

impl Store for Counted {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.inner.get(key)
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.inner.list(prefix)
    }
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.inner.commit(transaction)
    }
    fn watch(&self, prefix: &str) -> Watch {
        self.inner.watch(prefix)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_talker_takes_no_memory_disk_or_turn() {
    let mut fleet = Fleet::start().await;
    fleet.stop().await;
    let commits = Arc::new(AtomicU64::new(0));
    fleet.replace_store(Counted { inner: MemoryStore::new(), commits: commits.clone() });
    fleet.run().await;
    let (fleet, _players, rogue) = captured_on(fleet).await;
    let (before, written) = (memory(), commits.load(Ordering::Relaxed));
    let begun = std::time::Instant::now();
    let mut link = rogue.connect(&fleet).await.unwrap();
    // Each message says something else than the one before.
    for n in 0..6000_u64 {
        let facts = HostFacts { hostname: format!("rogue-{n}"), ..rogue.facts() };
        link.say(Say::Facts(pb::FactsReport { facts: encode(&facts) })).await;
        let mut seen = claims(n + 1, &SlotStatus::Settled, InstanceState::Healthy);
        seen.slots[0].instances[0].restarts = u32::try_from(n).unwrap();
        link.say(observe(&seen)).await;
        link.say(Say::Heartbeat(pb::Heartbeat::default())).await;
        if n % 100 == 0 {
            link.drain();
        }
    }
    let flooding = serves(&fleet, 2, "two");
    flooding.await;
    let seconds = begun.elapsed().as_secs() + 1;
    let grown = memory().saturating_sub(before) >> 20;
    assert!(grown < 48, "{grown} MiB");
    // One write a second for its facts, two for its observation, and what the rollout itself needs.
    let writes = commits.load(Ordering::Relaxed) - written;
    assert!(writes < 4 * seconds + 100, "{writes} writes in {seconds} s");
    let heard = fleet.hosts().await;
    assert!(heard.as_array().unwrap().iter().any(|host| host["name"] == "rogue"), "{heard}");
}
