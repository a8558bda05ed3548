//! Scale, stop and remove, through the coordinator's doors.

use tonic::Code;
use windlass_core::release::{Release, Scale};
use windlass_proto::pb;

use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, until};
use crate::release::release;
use crate::rollouts::{deploy, fleet_of, follow, request, status};

pub(crate) fn ranged(counter: u64, content: &str) -> Release {
    let mut release = release(counter, 2, content);
    release.spec.scale = Scale::Replicas { min: 1, max: 4 };
    release
}

pub(crate) fn asks(action: pb::ServiceAction, replicas: u32) -> pb::SteerServiceRequest {
    pb::SteerServiceRequest {
        service: "default/web".to_owned(),
        action: action.into(),
        replicas,
        supersede: false,
        force: false,
    }
}

pub(crate) async fn steer(
    fleet: &Fleet,
    request: pb::SteerServiceRequest,
) -> Result<pb::SteerServiceResponse, tonic::Status> {
    let mut control = fleet.control("deployer/default").await;
    control.steer_service(request).await.map(tonic::Response::into_inner)
}

async fn shows(fleet: &Fleet, state: &str, healthy: u32) {
    until(&format!("{state} with {healthy} healthy"), async || {
        let shown = status(fleet).await;
        shown["state"] == state && shown["healthy"] == healthy
    })
    .await;
}

#[tokio::test]
async fn scale_stop_and_start_survive_coordinator_restarts() {
    use pb::ServiceAction::{Scale, Stop};
    let (mut fleet, mut players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &ranged(1, "one")).await, "succeeded");
    assert!(!steer(&fleet, asks(Scale, 3)).await.unwrap().unchanged);
    shows(&fleet, "steady", 3).await;
    let mut control = fleet.control("viewer/*").await;
    let scaled = pb::StreamEventsRequest { tail: 10, kind: "service.scale".to_owned(), ..Default::default() };
    let event = control.stream_events(scaled).await.unwrap().into_inner().message().await.unwrap().unwrap();
    let event: serde_json::Value = serde_json::from_slice(&event.view).unwrap();
    assert!(event["message"].as_str().unwrap().starts_with("from 1 to 3 instances, by operator/"), "{event}");
    assert!(event["actor"].as_str().unwrap().starts_with("operator/"), "{event}");
    assert!(steer(&fleet, asks(Scale, 3)).await.unwrap().unchanged);
    let refused = steer(&fleet, asks(Scale, 5)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("from 1 to 4 replicas, not 5"), "{}", refused.message());
    assert!(refused.metadata().get("windlass-hint").unwrap().to_str().unwrap().contains("a new release"));

    steer(&fleet, asks(Stop, 0)).await.unwrap();
    shows(&fleet, "stopped", 0).await;
    fleet.kill().await;
    let agents = [players.ended().await.0, players.ended().await.0];
    fleet.run().await;
    for agent in agents {
        players.add(&fleet, agent).await;
    }
    shows(&fleet, "stopped", 0).await;
    assert_eq!(status(&fleet).await["wanted"], 3, "the slots stay");
    assert_eq!(deploy(&fleet, &ranged(2, "one")).await, "succeeded", "the same content is a change now");
    shows(&fleet, "steady", 3).await;
    let events = fleet.events().await;
    assert!(events.contains(&"service.stop default/web".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_removed_service_is_gone_but_for_its_numbers() {
    use pb::ServiceAction::{Remove, Scale};
    let (fleet, mut players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &ranged(1, "one")).await, "succeeded");
    steer(&fleet, asks(Remove, 0)).await.unwrap();
    let mut control = fleet.control("deployer/default").await;
    let wanted = || pb::GetStatusRequest { service: "default/web".to_owned() };
    until("it is gone", async || {
        let mut control = fleet.control("viewer/*").await;
        control.get_status(wanted()).await.is_err_and(|status| status.code() == Code::NotFound)
    })
    .await;
    assert!(steer(&fleet, asks(Remove, 0)).await.unwrap().unchanged);
    assert_eq!(steer(&fleet, asks(Scale, 2)).await.unwrap_err().code(), Code::NotFound);
    let back = pb::RollbackRequest { service: "default/web".to_owned(), to: "r1".to_owned(), ask: false };
    assert_eq!(control.rollback(back).await.unwrap_err().code(), Code::NotFound);
    let reused = control.submit_release(request(&fleet, &ranged(1, "other"))).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists, "its numbers stand for what they stood for");
    assert_eq!(deploy(&fleet, &ranged(2, "two")).await, "succeeded");
    assert_eq!(status(&fleet).await["release"], "r2");
    players.add(&fleet, Agent::joined(&fleet, "web-2").await).await;
}

#[tokio::test]
async fn only_a_deployer_of_the_environment_changes_a_service() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &ranged(1, "one")).await, "succeeded");
    for grant in ["viewer/default", "deployer/other", "admin/other"] {
        let mut control = fleet.control(grant).await;
        let refused = control.steer_service(asks(pb::ServiceAction::Stop, 0)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{grant}");
    }
    assert_eq!(status(&fleet).await["state"], "steady");
}

#[tokio::test]
async fn restart_makes_new_instances_of_the_release_in_a_rollout() {
    let (fleet, _players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &ranged(1, "one")).await, "succeeded");
    for _ in 0..2 {
        let started = steer(&fleet, asks(pb::ServiceAction::Restart, 0)).await.unwrap();
        assert_eq!(started.release, "r1");
        assert_eq!(follow(&fleet, &started.rollout).await, "succeeded");
    }
    steer(&fleet, asks(pb::ServiceAction::Stop, 0)).await.unwrap();
    shows(&fleet, "stopped", 0).await;
    let started = steer(&fleet, asks(pb::ServiceAction::Restart, 0)).await.unwrap();
    assert_eq!(follow(&fleet, &started.rollout).await, "succeeded");
    shows(&fleet, "steady", 1).await;
}

#[tokio::test]
async fn an_agent_that_does_not_read_restarts_is_not_sent_one() {
    let fleet = Fleet::start().await;
    let mut agent = Agent::joined(&fleet, "web-1").await;
    agent.plan_versions = vec![1];
    let mut players = Players::default();
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "connected").await;
    assert_eq!(deploy(&fleet, &ranged(1, "one")).await, "succeeded");
    let refused = steer(&fleet, asks(pb::ServiceAction::Restart, 0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("the agents of web-1 do not support this"), "{}", refused.message());
    assert_eq!(status(&fleet).await["state"], "steady", "and nothing has changed");
}
