//! A fleet as version 0.1 left it, recorded in `before/`: its store, in the middle of two rollouts, and the plans and words of its
//! hosts. Today's coordinator goes on with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use windlass_certs::ca::Leaf;
use windlass_certs::csr::{CertifiedIdentity, TlsKey};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::identity::Identity;
use windlass_certs::keys::SigningKey;
use windlass_core::audit::verify;
use windlass_core::plan::HostPlan;
use windlass_core::release::Release;
use windlass_core::slot::Slot;
use windlass_core::{Digest, HostId};
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as Say;
use windlass_proto::pb::connect_response::Message as Hear;
use windlass_proto::pb::stream_audit_response::Item;
use windlass_server::store::memory::MemoryStore;
use windlass_server::store::record::{self, PlanRecord};
use windlass_server::store::{Store, dump};

use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, fleet_id, now, until};
use crate::rollouts::{follow, request};

const HOSTS: [&str; 3] = ["web-1", "web-2", "web-3"];

/// The folder of the recorded files.
pub(crate) fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/before")
}

fn read(name: &str) -> Vec<u8> {
    let path = recorded().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn key(name: &str) -> SigningKey {
    SigningKey::from_pem(std::str::from_utf8(&read(name)).unwrap()).unwrap()
}

async fn store() -> MemoryStore {
    let store = MemoryStore::new();
    dump::import(&store, &mut read("store.jsonl").as_slice()).await.unwrap();
    store
}

/// A plan as agents of version 0.1 decode it. They refuse every other field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that they are there, and no others, is all that is asked")]
struct PlanBefore {
    version: u32,
    fleet: String,
    host: String,
    epoch: u64,
    seq: u64,
    issued_at: String,
    expires_at: String,
    slots: Vec<SlotBefore>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that they are there, and no others, is all that is asked")]
struct SlotBefore {
    slot: String,
    release: String,
    phase: PhaseBefore,
    good: bool,
    #[serde(default)]
    fallback: Option<String>,
    order: OrderBefore,
    #[serde(default)]
    gpus: Vec<String>,
    #[serde(default)]
    previous: Option<PreviousBefore>,
    #[serde(default)]
    retry_quarantined: bool,
    #[serde(default)]
    generation: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that they are there, and no others, is all that is asked")]
struct PreviousBefore {
    release: String,
    phase: PhaseBefore,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PhaseBefore {
    Pulled,
    Running,
    Draining,
    Standby,
    Absent,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OrderBefore {
    StartFirst,
    StopFirst,
}

/// Reads a plan as an agent of version 0.1 does.
pub(crate) fn check_plan(payload: &[u8]) {
    let plan: PlanBefore = serde_json::from_slice(payload)
        .unwrap_or_else(|error| panic!("0.1 cannot read {}: {error}", String::from_utf8_lossy(payload)));
    assert!([1, 2].contains(&plan.version), "0.1 reads no plan of version {}", plan.version);
}

/// An observation as an agent of version 0.1 writes it: it knows nothing of what came later.
pub(crate) fn observation(today: &[u8]) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(today).unwrap();
    let remove = |json: &mut Value, names: &[&str]| {
        names.iter().for_each(|name| drop(json.as_object_mut().unwrap().remove(*name)));
    };
    remove(&mut json, &["tasks"]);
    for slot in json["slots"].as_array_mut().unwrap() {
        remove(slot, &["checking"]);
        slot["instances"].as_array_mut().unwrap().iter_mut().for_each(|instance| remove(instance, &["side"]));
    }
    serde_json::to_vec(&json).unwrap()
}

/// A host of the recorded fleet, with the plan that it holds.
fn agent(fleet: &Fleet, host: &str) -> Agent {
    let name: HostId = host.parse().unwrap();
    let leaf = Leaf::agent(Identity::agent(fleet_id(), name.clone()), 1);
    let tls = TlsKey::from_pem(std::str::from_utf8(&read(&format!("{host}/tls.key"))).unwrap()).unwrap();
    let issued = fleet.ca.issue(&tls.csr().unwrap(), &leaf, now()).unwrap();
    let identity = CertifiedIdentity::new(tls, &issued.chain_pem).unwrap();
    let receipts = key(&format!("{host}/receipts.key"));
    let mut agent = Agent::new(name, identity, receipts);
    (agent.plan_versions, agent.release_versions) = (vec![1, 2], Vec::new());
    agent.facts_before = Some(read(&format!("{host}/facts.json")));
    agent.accept(&read(&format!("{host}/plan.json")));
    for entry in std::fs::read_dir(recorded().join(host)).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("release-") {
            let bytes = std::fs::read(&path).unwrap();
            let envelope = Envelope::parse(&bytes, PayloadType::Release.max_len()).unwrap();
            agent.kept.insert(Digest::of(envelope.payload_bytes()), bytes);
        }
    }
    agent
}

async fn statuses(fleet: &Fleet) -> Value {
    let mut control = fleet.control("viewer/*").await;
    let answer = control.get_status(pb::GetStatusRequest { service: String::new() }).await.unwrap();
    serde_json::from_slice(&answer.into_inner().view).unwrap()
}

/// The view of a service: state, release, healthy instances.
async fn shown(fleet: &Fleet, service: &str) -> (String, String, u64) {
    let all = statuses(fleet).await;
    let of_it = all.as_array().unwrap().iter().find(|shown| shown["service"] == service);
    let of_it = of_it.unwrap_or_else(|| panic!("no {service} in {all}"));
    let text = |name: &str| of_it[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("release"), of_it["healthy"].as_u64().unwrap())
}

async fn becomes(fleet: &Fleet, service: &str, state: &str, release: &str, healthy: u64) {
    let want = (state.to_owned(), release.to_owned(), healthy);
    until(&format!("{service} is {want:?}"), async || shown(fleet, service).await == want).await;
}

#[tokio::test]
async fn plans_of_a_store_of_0_1_are_signed_again_alike() {
    let store = store().await;
    let mut slots: Vec<Slot> = Vec::new();
    for entry in store.list("slot/").await.unwrap() {
        let text: Value = serde_json::from_slice(&entry.value).unwrap();
        assert!(text["v"] == 1 && text["record"]["want"].is_object(), "it is as 0.1 wrote it: {text}");
        slots.push(record::decode(&entry.value).unwrap());
    }
    assert!(slots.len() > 12, "{}", slots.len());
    slots.sort_by(|a, b| a.id().cmp(b.id()));
    let dispatch = key("keys/dispatch.key");
    for host in HOSTS {
        let bytes = read(&format!("{host}/plan.json"));
        let held = Envelope::parse(&bytes, PayloadType::Plan.max_len()).unwrap();
        let entry = store.get(&format!("plan/{host}")).await.unwrap().unwrap();
        let record: PlanRecord = record::decode(&entry.value).unwrap();
        let parts: Vec<_> =
            slots.iter().filter(|slot| slot.host().as_str() == host).map(Slot::plan).collect();
        let plan = HostPlan {
            version: HostPlan::version_for(&parts),
            fleet: fleet_id(),
            host: host.parse().unwrap(),
            epoch: record.epoch,
            seq: record.seq,
            issued_at: record.issued_at,
            expires_at: record.expires_at,
            slots: parts,
        };
        let payload = serde_json::to_vec(&plan).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(text(&payload), text(held.payload_bytes()), "{host}");
        check_plan(&payload);
        assert_eq!(Envelope::sign(PayloadType::Plan, payload, &[&dispatch]).to_bytes(), bytes, "{host}");
    }
}

#[tokio::test]
async fn a_store_of_0_1_is_served_with_agents_of_0_1() {
    let mut fleet = Fleet::of(&recorded(), Arc::new(store().await)).await;
    let rollouts = |all: &Value| -> Vec<String> {
        let ids = all.as_array().unwrap().iter().filter_map(|shown| shown["rollout"].as_str());
        ids.map(str::to_owned).collect()
    };
    let under_way = rollouts(&statuses(&fleet).await);
    assert_eq!(under_way.len(), 2, "{:#}", statuses(&fleet).await);

    // The host that both rollouts wait for shows its plan, and is offered that again: under a new number if it has expired since.
    let mut waiting = agent(&fleet, "web-2");
    let mut link = waiting.connect(&fleet).await.unwrap();
    let observation = read("web-2/observation.json").into();
    link.say(Say::Observation(pb::ObservationReport { observation })).await;
    let (before, _) = waiting.plan.clone().unwrap();
    let envelope = loop {
        if let Hear::Plan(offer) = link.hear().await.unwrap() {
            break offer.envelope;
        }
    };
    waiting.accept(&envelope);
    let (after, _) = waiting.plan.clone().unwrap();
    assert!(after.seq >= before.seq, "{} after {}", after.seq, before.seq);
    assert_eq!(after.slots, before.slots, "nothing is decided by the upgrade alone");
    drop(link);

    let mut players = Players::default();
    for host in HOSTS {
        players.add(&fleet, agent(&fleet, host)).await;
    }
    for rollout in &under_way {
        assert_eq!(follow(&fleet, rollout).await, "succeeded", "{rollout}");
    }
    becomes(&fleet, "web", "steady", "r3", 3).await;
    becomes(&fleet, "worker", "steady", "r2", 3).await;
    becomes(&fleet, "api", "steady", "r1", 2).await;
    becomes(&fleet, "fixed", "steady", "r2", 2).await;
    becomes(&fleet, "single", "steady", "r1", 1).await;
    becomes(&fleet, "idle", "stopped", "r1", 0).await;

    // People go on with it: a deploy, the failed content once more, and a restart, which plans of version 2 carry.
    let mut web: Release = crate::release::release(4, 3, "web-four");
    web.service = "web".parse().unwrap();
    let mut control = fleet.control("deployer/default").await;
    let started = control.submit_release(request(&fleet, &web)).await.unwrap().into_inner();
    assert_eq!(follow(&fleet, &started.rollout).await, "succeeded");
    let restart = pb::SteerServiceRequest {
        service: "default/api".to_owned(),
        action: pb::ServiceAction::Restart.into(),
        ..Default::default()
    };
    let started = control.steer_service(restart).await.unwrap().into_inner();
    assert_eq!(follow(&fleet, &started.rollout).await, "succeeded");

    // And so does the next life of the coordinator, on records of both versions.
    fleet.stop().await;
    let mut agents = Vec::new();
    for _ in HOSTS {
        agents.push(players.ended().await.0);
    }
    fleet.run().await;
    for agent in agents {
        players.add(&fleet, agent).await;
    }
    becomes(&fleet, "web", "steady", "r4", 3).await;
    becomes(&fleet, "api", "steady", "r1", 2).await;
    assert_eq!(audit(&fleet).await, "OK");
}

/// The verdict on the whole audit log, which version 0.1 began.
async fn audit(fleet: &Fleet) -> String {
    let mut control = fleet.control("viewer/*").await;
    let mut stream = control.stream_audit(pb::StreamAuditRequest { from: 0 }).await.unwrap().into_inner();
    let (mut entries, mut checkpoints) = (Vec::new(), Vec::new());
    while let Some(item) = stream.message().await.unwrap() {
        match item.item.unwrap() {
            Item::Entry(bytes) => entries.push(bytes),
            Item::Checkpoint(bytes) => {
                let envelope = Envelope::parse(&bytes, PayloadType::Audit.max_len()).unwrap();
                let verified = envelope.verify(PayloadType::Audit, &fleet.document.audit_keys()).unwrap();
                checkpoints.push(verified.decode().unwrap());
            }
            Item::Witness(_) => {}
        }
    }
    assert!(!checkpoints.is_empty());
    verify(&entries, &checkpoints).to_string()
}
