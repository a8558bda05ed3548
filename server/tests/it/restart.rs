//! The state that survives the end of a coordinator.

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_core::audit::{Checkpoint, verify};
use windlass_proto::pb;
use windlass_proto::pb::stream_audit_response::Item;

use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, seal_trust};
use crate::release::release;
use crate::rollouts::{deploy, fleet_of, follow, status};

#[tokio::test]
async fn a_rollout_goes_on_after_the_coordinator_was_killed() {
    let mut fleet = Fleet::start_with(false, |_| {}).await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let link = agent.connect(&fleet).await.unwrap();
    fleet.wait_for("web-1", "connected").await;
    let envelope = crate::release::signed(&release(1, 1, "one"), &fleet.release_key).into();
    let request = pb::SubmitReleaseRequest { envelope, ..Default::default() };
    let started = fleet.control("deployer/default").await.submit_release(request).await.unwrap().into_inner();
    fleet.kill().await;
    drop(link);
    fleet.run().await;
    let mut players = Players::default();
    players.add(&fleet, agent).await;
    assert_eq!(follow(&fleet, &started.rollout).await, "succeeded");
    assert_eq!(status(&fleet).await["healthy"], 1);
}

#[tokio::test]
async fn the_same_plan_is_offered_after_a_restart() {
    let (mut fleet, mut players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    fleet.stop().await;
    let (agent, _) = players.ended().await;
    let before = agent.plan.clone().unwrap();
    fleet.run().await;
    // `accept` asserts that an offer with the number it has is the very same plan.
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "connected").await;
    fleet.stop().await;
    let (agent, _) = players.ended().await;
    assert_eq!(agent.plan.unwrap(), before);
}

#[tokio::test]
async fn a_host_that_is_ahead_of_a_restored_store_keeps_what_it_runs() {
    let (mut fleet, mut players) = fleet_of(&["web-1"], &[]).await;
    let backup = {
        let mut bytes = Vec::new();
        windlass_server::store::dump::export(fleet.store(), &mut bytes).await.unwrap();
        bytes
    };
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    fleet.stop().await;
    let (agent, _) = players.ended().await;
    let before = agent.plan.clone().unwrap();

    let restored = windlass_server::store::memory::MemoryStore::new();
    windlass_server::store::dump::import(&restored, &mut backup.as_slice()).await.unwrap();
    fleet.replace_store(restored);
    fleet.run().await;
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "recovering").await;
    assert!(fleet.events().await.contains(&"host.recovering web-1".to_owned()));
    fleet.stop().await;
    let (agent, _) = players.ended().await;
    assert_eq!(agent.plan.unwrap(), before, "no plan was offered");
}

#[tokio::test]
async fn audit_log_holds_over_a_restart_and_is_signed_at_the_stop() {
    let (mut fleet, players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    drop(players);
    fleet.stop().await;
    fleet.run().await;
    let mut control = fleet.control("viewer/*").await;
    let request = pb::StreamAuditRequest { from: 0 };
    let mut stream = control.stream_audit(request).await.unwrap().into_inner();
    let (mut entries, mut checkpoints) = (Vec::new(), Vec::new());
    while let Some(item) = stream.message().await.unwrap() {
        match item.item.unwrap() {
            Item::Entry(bytes) => entries.push(bytes),
            Item::Checkpoint(bytes) => {
                let envelope = Envelope::parse(&bytes, PayloadType::Audit.max_len()).unwrap();
                let verified = envelope.verify(PayloadType::Audit, &fleet.document.audit_keys()).unwrap();
                checkpoints.push(verified.decode::<Checkpoint>().unwrap());
            }
            Item::Witness(_) => {}
        }
    }
    assert!(entries.len() >= 4, "token, join, submit, end: {}", entries.len());
    assert!(!checkpoints.is_empty());
    assert_eq!(verify(&entries, &checkpoints).to_string(), "OK");
}

#[tokio::test]
async fn a_newer_trust_document_is_taken_only_from_its_roots() {
    let mut fleet = Fleet::start().await;
    let mut next = fleet.document.clone();
    next.version = 2;
    let mut control = fleet.control("admin/*").await;
    let forged = seal_trust(&next, &[&SigningKey::generate().unwrap()]);
    let request = pb::PublishTrustRequest { envelope: forged.into() };
    assert_eq!(control.publish_trust(request).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    let request = pb::PublishTrustRequest { envelope: seal_trust(&next, &[&fleet.root]).into() };
    assert_eq!(control.publish_trust(request).await.unwrap().into_inner().version, 2);
    fleet.stop().await;
    fleet.run().await;
    let mut control = fleet.control("viewer/*").await;
    let trust = control.get_trust(pb::GetTrustRequest { after: 0 }).await.unwrap().into_inner();
    assert_eq!(trust.envelopes.len(), 2);
}
