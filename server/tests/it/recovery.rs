//! A coordinator that was restored from a backup meets hosts that are ahead of it.

use serde_json::Value;
use tonic::Code;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_core::audit::{Checkpoint, Segment, examine, examine_accepting};
use windlass_core::plan::{HostPlan, Phase};
use windlass_core::release::Release;
use windlass_core::{Digest, Timestamp};
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as Say;
use windlass_proto::pb::connect_response::Message as Hear;
use windlass_proto::pb::stream_audit_response::Item;
use windlass_server::store::memory::MemoryStore;
use windlass_server::store::{Store, Transaction};
use windlass_server::{Config, import_backup};

use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, now, until};
use crate::release::{release, signed};
use crate::rollouts::{deploy, fleet_of, request, status};

async fn backup(fleet: &Fleet) -> Vec<u8> {
    let mut bytes = Vec::new();
    windlass_server::store::dump::export(fleet.store(), &mut bytes).await.unwrap();
    bytes
}

/// Stops the coordinator, and starts it on the backup. Answers with the agents as they were.
async fn restore(fleet: &mut Fleet, players: &mut Players, backup: &[u8], hosts: usize) -> Vec<Agent> {
    fleet.stop().await;
    let mut agents = Vec::new();
    for _ in 0..hosts {
        agents.push(players.ended().await.0);
    }
    agents.sort_by(|one, other| one.host.cmp(&other.host));
    let store = MemoryStore::new();
    import_backup(&store, &mut { backup }, now()).await.unwrap();
    fleet.replace_store(store);
    fleet.run().await;
    agents
}

async fn preview(fleet: &Fleet, keep_store: &[&str]) -> Value {
    let keep_store = keep_store.iter().map(ToString::to_string).collect();
    let mut control = fleet.control("viewer/*").await;
    let answer = control.preview_recovery(pb::PreviewRecoveryRequest { keep_store }).await.unwrap();
    serde_json::from_slice(&answer.into_inner().view).unwrap()
}

fn recovering<'a>(view: &'a Value, host: &str) -> &'a Value {
    view["hosts"].as_array().unwrap().iter().find(|shown| shown["host"] == host).unwrap_or(&Value::Null)
}

/// Waits until the host has said everything, and stands like this.
async fn stands(fleet: &Fleet, host: &str, state: &str) -> Value {
    until(&format!("{host} is {state}"), async || {
        recovering(&preview(fleet, &[]).await, host)["state"] == state
    })
    .await;
    preview(fleet, &[]).await
}

async fn recover(fleet: &Fleet, view: &Value, keep_store: &[&str]) -> Result<(), tonic::Status> {
    let keep_store = keep_store.iter().map(ToString::to_string).collect();
    let preview = view["digest"].as_str().unwrap().to_owned();
    let mut control = fleet.control("admin/*").await;
    control.recover(pb::RecoverRequest { keep_store, preview }).await.map(drop)
}

/// The number of the next release of `default/web`.
async fn next(fleet: &Fleet) -> u64 {
    let mut control = fleet.control("viewer/*").await;
    let request = pb::GetServiceRequest { service: "default/web".to_owned() };
    control.get_service(request).await.unwrap().into_inner().last_counter + 1
}

async fn audit(fleet: &Fleet) -> (Vec<Vec<u8>>, Vec<Checkpoint>) {
    let mut control = fleet.control("viewer/*").await;
    let mut stream = control.stream_audit(pb::StreamAuditRequest { from: 0 }).await.unwrap().into_inner();
    let (mut entries, mut checkpoints) = (Vec::new(), Vec::new());
    while let Some(item) = stream.message().await.unwrap() {
        match item.item.unwrap() {
            Item::Witness(_) => {}
            Item::Entry(bytes) => entries.push(bytes.to_vec()),
            Item::Checkpoint(bytes) => {
                let envelope = Envelope::parse(&bytes, PayloadType::Audit.max_len()).unwrap();
                let verified = envelope.verify(PayloadType::Audit, &fleet.document.audit_keys()).unwrap();
                checkpoints.push(verified.decode().unwrap());
            }
        }
    }
    (entries, checkpoints)
}

fn plans(agents: &[Agent]) -> Vec<(HostPlan, Vec<u8>)> {
    agents.iter().map(|agent| agent.plan.clone().unwrap()).collect()
}

/// `default/api` instead of `default/web`.
fn api(counter: u64) -> Release {
    let mut api = release(counter, 1, "api");
    api.service = "api".parse().unwrap();
    api
}

#[tokio::test]
async fn releases_of_hosts_are_adopted_by_an_admin_with_no_restart() {
    let (mut fleet, mut players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    let old = backup(&fleet).await;
    assert_eq!(deploy(&fleet, &release(2, 2, "two")).await, "succeeded");
    assert_eq!(deploy(&fleet, &release(3, 2, "three")).await, "succeeded");
    assert_eq!(deploy(&fleet, &api(1)).await, "succeeded");
    let (lost, _) = audit(&fleet).await;
    let agents = restore(&mut fleet, &mut players, &old, 2).await;
    let before = plans(&agents);
    for agent in agents {
        players.add(&fleet, agent).await;
    }

    // Until somebody says so: nothing is decided, nobody gets a plan, and everybody is told why.
    fleet.wait_for("web-1", "recovering").await;
    let mut control = fleet.control("admin/*").await;
    let refused = control.submit_release(request(&fleet, &release(2, 2, "other"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let stale = control.submit_release(request(&fleet, &release(1, 2, "one"))).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition, "not `unchanged`: only the old store says so");
    assert!(refused.metadata().get("windlass-hint").unwrap().to_str().unwrap().contains("host recover"));
    let back = pb::RollbackRequest { service: "default/web".to_owned(), to: String::new(), ask: false };
    assert_eq!(control.rollback(back.clone()).await.unwrap_err().code(), Code::FailedPrecondition);
    stands(&fleet, "web-1", "keep_host").await;
    let view = stands(&fleet, "web-2", "keep_host").await;
    assert_eq!(view["open"], true);
    let web =
        view["services"].as_array().unwrap().iter().find(|service| service["service"] == "web").unwrap();
    assert_eq!(
        (&web["before"], &web["after"], &web["next"]),
        (&"r1".into(), &"r3".into(), &"r4".into()),
        "{web}"
    );
    let new =
        view["services"].as_array().unwrap().iter().find(|service| service["service"] == "api").unwrap();
    assert_eq!((&new["before"], &new["after"]), (&Value::Null, &"r1".into()), "{new}");
    let first = &recovering(&view, "web-1")["differences"];
    assert!(
        first
            .as_array()
            .unwrap()
            .iter()
            .any(|d| d["host"]["release"] == "r3" && d["store"]["release"] == "r1")
    );
    let shown = fleet.hosts().await;
    let lines = shown[0]["recovery"].as_array().unwrap();
    assert!(lines.iter().any(|line| line.as_str().unwrap().contains("(the store: r1)")), "{shown}");

    // Only an admin, and only about what was shown.
    let preview_of_another = Value::from_iter([("digest", Digest::of(b"another").to_string())]);
    assert_eq!(recover(&fleet, &preview_of_another, &[]).await.unwrap_err().code(), Code::FailedPrecondition);
    let asked =
        pb::RecoverRequest { keep_store: Vec::new(), preview: view["digest"].as_str().unwrap().to_owned() };
    let refused = fleet.control("deployer/*").await.recover(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    recover(&fleet, &view, &[]).await.unwrap();
    fleet.wait_for("web-1", "connected").await;
    until("everything is healthy at r3", async || {
        let shown = status(&fleet).await;
        shown["release"] == "r3" && shown["healthy"] == 2 && shown["state"] == "steady"
    })
    .await;
    assert_eq!(preview(&fleet, &[]).await["hosts"].as_array().unwrap().len(), 0);

    // The hosts were offered the very plans that they had: `accept` insists on it.
    fleet.stop().await;
    let mut agents = vec![players.ended().await.0, players.ended().await.0];
    agents.sort_by(|one, other| one.host.cmp(&other.host));
    assert_eq!(plans(&agents), before);

    // Numbers go on where the hosts have seen them, plans' too; and the way back is open.
    fleet.run().await;
    for agent in agents {
        players.add(&fleet, agent).await;
    }
    fleet.wait_for("web-2", "connected").await;
    let mut control = fleet.control("deployer/default").await;
    let reused = control.submit_release(request(&fleet, &release(3, 2, "other"))).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists, "{reused:?}");
    assert_eq!(deploy(&fleet, &release(4, 2, "four")).await, "succeeded");
    let back = control.rollback(back).await.unwrap().into_inner();
    assert_eq!(back.release, "r3");
    assert_eq!(crate::rollouts::follow(&fleet, &back.rollout).await, "succeeded");

    // The log says openly what is lost, and holds beside what was seen of it before.
    fleet.stop().await;
    let agents = [players.ended().await.0, players.ended().await.0];
    let seqs = agents.iter().map(|agent| agent.plan.as_ref().unwrap().0.seq);
    assert!(seqs.max() > before.iter().map(|(plan, _)| plan.seq).max());
    fleet.run().await;
    let (entries, mut checkpoints) = audit(&fleet).await;
    let witness = Checkpoint {
        version: 1,
        fleet: crate::fleet::fleet_id(),
        size: u64::try_from(lost.len()).unwrap(),
        head: Digest::of(lost.last().unwrap()),
        segment: 0,
        at: Timestamp::ZERO,
    };
    checkpoints.push(witness);
    let found = examine(&entries, &checkpoints);
    assert!(!found.verdict.is_sound(), "nobody has accepted the loss: {found:?}");
    let found = examine_accepting(&entries, &checkpoints, &found.losses);
    assert!(found.verdict.is_sound(), "{found:?}");
    let [_, Segment { start, lost: gone, .. }] = found.segments[..] else { panic!("{found:?}") };
    assert_eq!(start + gone, u64::try_from(lost.len()).unwrap());
}

#[tokio::test]
async fn higher_number_with_equal_slots_asks_nobody() {
    let bad = release(2, 1, "bad");
    let (mut fleet, mut players) = fleet_of(&["web-1"], &[&bad]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    until("no standby is left", async || status(&fleet).await["instances"].as_array().unwrap().len() == 1)
        .await;
    let old = backup(&fleet).await;
    assert_eq!(deploy(&fleet, &bad).await, "rolled_back");
    let mut agents = restore(&mut fleet, &mut players, &old, 1).await;
    let before = plans(&agents);
    players.add(&fleet, agents.remove(0)).await;
    until("the recovery is over", async || {
        fleet.events().await.contains(&"store.recovered fleet".to_owned())
    })
    .await;
    fleet.wait_for("web-1", "connected").await;
    let mut control = fleet.control("deployer/default").await;
    let info =
        control.get_service(pb::GetServiceRequest { service: "default/web".to_owned() }).await.unwrap();
    assert_eq!(info.into_inner().last_counter, 2, "the host has seen r2, though it runs r1");
    let reused = control.submit_release(request(&fleet, &release(2, 1, "other"))).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists);
    fleet.stop().await;
    let (agent, _) = players.ended().await;
    assert_eq!(plans(&[agent]), before);
}

#[tokio::test]
async fn late_host_is_held_alone_and_its_numbers_are_skipped() {
    let (mut fleet, mut players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    let old = backup(&fleet).await;
    assert_eq!(deploy(&fleet, &release(2, 2, "two")).await, "succeeded");
    let mut agents = restore(&mut fleet, &mut players, &old, 2).await;
    let late = agents.remove(1);
    let before = late.plan.clone().unwrap();
    players.add(&fleet, agents.remove(0)).await;
    let view = stands(&fleet, "web-1", "keep_host").await;
    assert_eq!(recovering(&view, "web-2")["state"], "unheard");
    recover(&fleet, &view, &[]).await.unwrap();
    assert_eq!(next(&fleet).await, 103, "r3 to r102 may have been seen by web-2");

    players.add(&fleet, late).await;
    fleet.wait_for("web-2", "recovering").await;
    let view = stands(&fleet, "web-2", "keep_host").await;
    assert_eq!(view["open"], false, "the fleet does not wait for it");
    recover(&fleet, &view, &[]).await.unwrap();
    fleet.wait_for("web-2", "connected").await;
    until("both serve r2", async || status(&fleet).await["serving"]["r2"] == 2).await;
    assert_eq!(next(&fleet).await, 103);
    assert_eq!(deploy(&fleet, &release(103, 2, "three")).await, "succeeded");
    fleet.stop().await;
    let agents = [players.ended().await.0, players.ended().await.0];
    let late = agents.iter().find(|agent| agent.host.as_str() == "web-2").unwrap();
    assert!(late.plan.as_ref().unwrap().0.seq > before.0.seq);
}

#[tokio::test]
async fn decision_on_an_unheard_host_gets_its_own_plan_number() {
    let (mut fleet, mut players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    let newest = backup(&fleet).await;
    let mut agents = restore(&mut fleet, &mut players, &newest, 2).await;
    let late = agents.remove(1);
    let before = late.plan.clone().unwrap().0.seq;
    players.add(&fleet, agents.remove(0)).await;
    fleet.wait_for("web-1", "connected").await;
    let view = stands(&fleet, "web-2", "unheard").await;
    recover(&fleet, &view, &[]).await.unwrap();
    let stop = pb::SteerServiceRequest {
        service: "default/web".to_owned(),
        action: pb::ServiceAction::Stop.into(),
        replicas: 0,
        supersede: false,
        force: false,
    };
    fleet.control("deployer/default").await.steer_service(stop).await.unwrap();
    // It holds nothing that the store does not know. An agent takes no second plan with the number that it holds.
    players.add(&fleet, late).await;
    until("nothing runs", async || status(&fleet).await["state"] == "stopped").await;
    fleet.stop().await;
    let agents = [players.ended().await.0, players.ended().await.0];
    let late = agents.iter().find(|agent| agent.host.as_str() == "web-2").unwrap();
    let (plan, _) = late.plan.as_ref().unwrap();
    assert!(plan.seq > before && plan.slots.iter().all(|slot| slot.phase != Phase::Running), "{plan:?}");
}

#[tokio::test]
async fn restored_coordinator_holds_exclusive_until_hosts_report() {
    let (mut fleet, mut players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    let newest = backup(&fleet).await;
    let agents = restore(&mut fleet, &mut players, &newest, 2).await;
    let mut link = agents[0].connect(&fleet).await.unwrap();
    let mut acknowledged = async |number| {
        link.say(Say::Heartbeat(pb::Heartbeat { number, ..pb::Heartbeat::default() })).await;
        loop {
            if let Hear::HeartbeatAck(ack) = link.hear().await.unwrap() {
                break ack;
            }
        }
    };
    assert_eq!(acknowledged(1).await, pb::HeartbeatAck { number: 1, seq: u64::MAX }, "nobody knows");
    let view = stands(&fleet, "web-2", "unheard").await;
    recover(&fleet, &view, &[]).await.unwrap();
    // The plan that it held when the coordinator was restored was compared, and comes under a number of its own.
    let newest = agents[0].plan.as_ref().unwrap().0.seq + 1;
    assert_eq!(acknowledged(2).await, pb::HeartbeatAck { number: 2, seq: newest });
}

#[tokio::test]
async fn a_host_gets_what_the_store_knows_only_if_that_is_asked_for() {
    let (mut fleet, mut players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    let old = backup(&fleet).await;
    assert_eq!(deploy(&fleet, &release(2, 1, "two")).await, "succeeded");
    let mut agents = restore(&mut fleet, &mut players, &old, 1).await;
    let before = agents[0].plan.as_ref().unwrap().0.seq;
    players.add(&fleet, agents.remove(0)).await;
    stands(&fleet, "web-1", "keep_host").await;
    let view = preview(&fleet, &["web-1"]).await;
    assert_eq!(recovering(&view, "web-1")["state"], "keep_store");
    assert_eq!(
        recover(&fleet, &view, &[]).await.unwrap_err().code(),
        Code::FailedPrecondition,
        "another answer"
    );
    let strangers = recover(&fleet, &view, &["web-9"]).await.unwrap_err();
    assert!(strangers.message().contains("web-9"), "{strangers:?}");
    recover(&fleet, &view, &["web-1"]).await.unwrap();
    until("r1 serves again", async || status(&fleet).await["serving"]["r1"] == 1).await;
    fleet.stop().await;
    let (agent, _) = players.ended().await;
    assert!(agent.plan.unwrap().0.seq > before);
    // Its number is taken all the same.
    fleet.run().await;
    let mut control = fleet.control("deployer/default").await;
    let reused = control.submit_release(request(&fleet, &release(2, 1, "other"))).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn release_with_a_conflicting_number_is_not_adopted() {
    let (mut fleet, mut players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    let old = backup(&fleet).await;
    let mut agents = restore(&mut fleet, &mut players, &old, 1).await;
    // A forgery that only the holder of two keys can make: a plan of ours that names another r1.
    let dispatch = SigningKey::load(&fleet.folder.path().join("keys/dispatch.key")).unwrap();
    let other = release(1, 1, "other");
    let mut agent = agents.remove(0);
    let mut plan = agent.plan.clone().unwrap().0;
    let digest = Digest::of(&serde_json::to_vec(&other).unwrap());
    (plan.seq, plan.slots[0].release) = (plan.seq + 5, digest);
    let seq = plan.seq;
    let envelope =
        Envelope::sign(PayloadType::Plan, serde_json::to_vec(&plan).unwrap(), &[&dispatch]).to_bytes();
    agent.plan = Some((plan, envelope));
    agent.kept.insert(digest, signed(&other, &fleet.release_key));
    players.add(&fleet, agent).await;
    let view = stands(&fleet, "web-1", "stuck").await;
    let why = recovering(&view, "web-1")["obstacles"].to_string();
    assert!(why.contains("r1 of default/web is another release here"), "{why}");
    recover(&fleet, &view, &[]).await.unwrap();
    fleet.wait_for("web-1", "recovering").await;
    let view = preview(&fleet, &["web-1"]).await;
    recover(&fleet, &view, &["web-1"]).await.unwrap();
    fleet.wait_for("web-1", "connected").await;
    until("it has the store's plan", async || fleet.hosts().await[0]["issued_seq"] == seq + 1).await;
}

#[tokio::test]
async fn a_host_that_lies_moves_nothing() {
    let (mut fleet, mut players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    let old = backup(&fleet).await;
    let mut agents = restore(&mut fleet, &mut players, &old, 1).await;
    let mut agent = agents.remove(0);
    let honest = agent.plan.clone().unwrap();
    // A number with a plan that a stranger signed; and a release that nobody asked for.
    let mut plan = honest.0.clone();
    plan.seq += 50;
    let stranger = SigningKey::generate().unwrap();
    let envelope =
        Envelope::sign(PayloadType::Plan, serde_json::to_vec(&plan).unwrap(), &[&stranger]).to_bytes();
    agent.plan = Some((plan, envelope));
    let mut link = agent.connect(&fleet).await.unwrap();
    let loose = release(9, 1, "loose");
    let digest = Digest::of(&serde_json::to_vec(&loose).unwrap()).to_string();
    link.say(Say::Kept(pb::KeptReport { digests: vec![digest.clone()] })).await;
    let envelope = signed(&loose, &fleet.release_key).into();
    link.say(Say::Release(pb::ReleaseReport { digest, envelope })).await;
    until("it is reported", async || fleet.events().await.contains(&"host.ahead web-1".to_owned())).await;
    until("the fleet goes on", async || fleet.events().await.contains(&"store.recovered fleet".to_owned()))
        .await;
    let offered = loop {
        match link.hear().await.unwrap() {
            Hear::Plan(offer) => break offer,
            Hear::KeptRequest(_) | Hear::ReleaseRequest(_) => panic!("it was asked for releases"),
            _ => {}
        }
    };
    let parsed = Envelope::parse(&offered.envelope, PayloadType::Plan.max_len()).unwrap();
    let offered: HostPlan = serde_json::from_slice(parsed.payload_bytes()).unwrap();
    assert_eq!(offered.slots, honest.0.slots, "it is offered what it has");
    assert_eq!(offered.seq, honest.0.seq + 1, "under the next number of the store");
    assert_eq!(next(&fleet).await, 2);
    // More than a host may list ends its stream.
    let many = (0..5000_u32).map(|n| Digest::of(&n.to_be_bytes()).to_string()).collect();
    link.say(Say::Kept(pb::KeptReport { digests: many })).await;
    let ended = loop {
        if let Err(status) = link.hear().await {
            break status;
        }
    };
    assert_eq!(ended.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn silent_store_rollback_is_found_by_the_first_host_ahead() {
    let (mut fleet, mut players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    let old = fleet.store().list("").await.unwrap();
    assert_eq!(deploy(&fleet, &release(2, 2, "two")).await, "succeeded");
    fleet.stop().await;
    let agents = [players.ended().await.0, players.ended().await.0];
    let store = MemoryStore::new();
    let copy = old.into_iter().fold(Transaction::default(), |copy, entry| copy.put(entry.key, entry.value));
    store.commit(copy).await.unwrap();
    fleet.replace_store(store);
    fleet.run().await;
    for agent in agents {
        // The first one that is heard ends the streams of all others, which then show what they hold.
        let mut agent = Some(agent);
        until("it is connected", async || {
            let link = agent.as_ref().unwrap().connect(&fleet).await;
            link.is_ok()
        })
        .await;
        players.add(&fleet, agent.take().unwrap()).await;
    }
    until("both are held", async || {
        let view = preview(&fleet, &[]).await;
        let held =
            view["hosts"].as_array().unwrap().iter().filter(|host| host["state"] == "keep_host").count();
        held == 2 && view["open"] == true
    })
    .await;
    let (entries, _) = audit(&fleet).await;
    let segments = examine::<Vec<u8>>(&entries, &[]).segments;
    assert_eq!(segments.len(), 2, "the log says that it was set back: {segments:?}");
    let view = preview(&fleet, &[]).await;
    recover(&fleet, &view, &[]).await.unwrap();
    until("r2 is known again", async || status(&fleet).await["serving"]["r2"] == 2).await;
}

#[tokio::test]
async fn missing_store_is_made_again_only_on_request() {
    let mut fleet = Fleet::start_with(false, |_: &mut Config| {}).await;
    fleet.stop().await;
    let folder = fleet.folder.path().to_owned();
    let config = || {
        let unset = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        Config::load(&folder, windlass_server::config::Overrides { listen: unset, http: unset }).unwrap()
    };
    let gone = async || {
        let error = windlass_server::start(config()).await.err().expect("it does not start");
        (error.to_string(), error.hint().unwrap())
    };
    until("the store is closed", async || windlass_server::open_store(&folder).is_ok()).await;
    std::fs::remove_dir_all(folder.join("store")).unwrap();
    let (why, hint) = gone().await;
    assert!(why.contains("it was made here before"), "{why}");
    assert!(hint.contains("store import FILE") && hint.contains("store new"), "{hint}");
    // A restored folder has no marker, but perhaps backups.
    std::fs::remove_file(folder.join("store-was-made")).unwrap();
    std::fs::create_dir_all(folder.join("backups")).unwrap();
    std::fs::write(folder.join("backups/store-1764000000000.jsonl"), "").unwrap();
    let (why, hint) = gone().await;
    assert!(why.contains("is a backup of it"), "{why}");
    assert!(hint.contains("store import") && hint.contains("store-1764000000000.jsonl"), "{hint}");
    std::fs::remove_dir_all(folder.join("backups")).unwrap();
    assert!(
        windlass_server::start(config()).await.is_ok(),
        "nothing says that there was a store: a new fleet"
    );
}
