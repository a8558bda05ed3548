//! Scopes: data of one environment is for those whose scope holds it: every call of `Control`, by operators of
//! another one.

use tonic::{Code, Status};
use windlass_proto::pb;

use crate::fleet::Fleet;
use crate::release::release;
use crate::rollouts::{deploy, fleet_of, request};

/// Calls everything that names a service or rollout of environment `default`, as `grant`. Answers with the name
/// and the code of each.
async fn everything(fleet: &Fleet, grant: &str) -> Vec<(&'static str, Code)> {
    let mut c = fleet.control(grant).await;
    let web = || "default/web".to_owned();
    let code = |outcome: Result<(), Status>| outcome.err().map_or(Code::Ok, |status| status.code());
    let payload = serde_json::to_vec(&release(2, 1, "two")).unwrap();
    let mut seen = Vec::new();
    let mut note = |name, outcome: Result<(), Status>| seen.push((name, code(outcome)));
    note("GetService", c.get_service(pb::GetServiceRequest { service: web() }).await.map(drop));
    let preview = pb::PreviewRequest { release: payload.into(), retry_quarantined: false };
    note("Preview", c.preview(preview).await.map(drop));
    note("ListReleases", c.list_releases(pb::ListReleasesRequest { service: web() }).await.map(drop));
    let get = pb::GetReleaseRequest { service: web(), release: String::new() };
    note("GetRelease", c.get_release(get).await.map(drop));
    note("ListRollouts", c.list_rollouts(pb::ListRolloutsRequest { service: web() }).await.map(drop));
    note("GetRollout", c.get_rollout(pb::GetRolloutRequest { rollout: web() }).await.map(drop));
    note("ExplainRollout", c.explain_rollout(pb::ExplainRolloutRequest { rollout: web() }).await.map(drop));
    note("WatchRollout", c.watch_rollout(pb::WatchRolloutRequest { rollout: web() }).await.map(drop));
    note("GetStatus", c.get_status(pb::GetStatusRequest { service: web() }).await.map(drop));
    let history = pb::GetHistoryRequest { service: web(), ..Default::default() };
    let quarantine = pb::ListQuarantineRequest { service: web() };
    note("ListQuarantine", c.list_quarantine(quarantine).await.map(drop));
    note("GetHistory", c.get_history(history).await.map(drop));
    let logs = pb::StreamLogsRequest { service: web(), ..Default::default() };
    note("StreamLogs", c.stream_logs(logs).await.map(drop));
    let events = pb::StreamEventsRequest { service: web(), ..Default::default() };
    note("StreamEvents", c.stream_events(events).await.map(drop));
    let watch = pb::WatchFleetRequest {
        board: "services".to_owned(),
        environment: "default".to_owned(),
        ..Default::default()
    };
    note("WatchFleet", c.watch_fleet(watch).await.map(drop));
    seen
}

/// The calls that change something, with their answers to those who may not.
async fn changes(fleet: &Fleet, grant: &str) -> Vec<(&'static str, Code)> {
    let mut c = fleet.control(grant).await;
    let web = || "default/web".to_owned();
    let code = |outcome: Result<(), Status>| outcome.err().map_or(Code::Ok, |status| status.code());
    let mut seen = Vec::new();
    let mut note = |name, outcome: Result<(), Status>| seen.push((name, code(outcome)));
    note("SubmitRelease", c.submit_release(request(fleet, &release(2, 1, "two"))).await.map(drop));
    let back = pb::RollbackRequest { service: web(), to: String::new(), ask: false };
    note("Rollback", c.rollback(back).await.map(drop));
    let steer = pb::SteerRolloutRequest {
        rollout: web(),
        action: pb::RolloutAction::Abort.into(),
        ..Default::default()
    };
    let clear = pb::ClearQuarantineRequest { service: web(), ..Default::default() };
    note("ClearQuarantine", c.clear_quarantine(clear).await.map(drop));
    note("SteerRollout", c.steer_rollout(steer).await.map(drop));
    seen
}

#[tokio::test]
async fn operator_of_another_environment_sees_and_changes_nothing() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    for grant in ["viewer/other", "deployer/other", "approver/other", "admin/other"] {
        for (call, code) in everything(&fleet, grant).await {
            assert_eq!(code, Code::PermissionDenied, "{call} by {grant}");
        }
        for (call, code) in changes(&fleet, grant).await {
            assert_eq!(code, Code::PermissionDenied, "{call} by {grant}");
        }
        let mut control = fleet.control(grant).await;
        for view in [
            control.get_status(pb::GetStatusRequest::default()).await.unwrap().into_inner().view,
            control.list_rollouts(pb::ListRolloutsRequest::default()).await.unwrap().into_inner().view,
        ] {
            assert_eq!(view.as_ref(), b"[]", "lists leave it out for {grant}");
        }
    }
    // The same calls work for those who may, so that the refusals above are about scope and nothing else.
    for (call, code) in everything(&fleet, "viewer/default").await {
        assert_eq!(code, Code::Ok, "{call}");
    }
    for (call, code) in changes(&fleet, "viewer/default").await {
        assert_eq!(code, Code::PermissionDenied, "{call} by a viewer");
    }
    assert_eq!(deploy(&fleet, &release(2, 1, "two")).await, "succeeded");
}

#[tokio::test]
async fn a_host_is_shown_without_policy_and_other_environments() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    for (grant, sees_policy) in [("viewer/other", false), ("viewer/default", false), ("viewer/*", true)] {
        let mut control = fleet.control(grant).await;
        let get = pb::GetHostRequest { host: "web-1".to_owned() };
        let view = control.get_host(get).await.unwrap().into_inner().view;
        let view: serde_json::Value = serde_json::from_slice(&view).unwrap();
        assert_eq!(view["policy"].is_object(), sees_policy, "{grant}: {view}");
        assert_eq!(view["name"], "web-1", "{grant} sees that there is such a host");
        if grant == "viewer/other" {
            let list = control.list_hosts(pb::ListHostsRequest {}).await.unwrap().into_inner().view;
            for text in [view.to_string(), String::from_utf8(list.to_vec()).unwrap()] {
                assert!(!text.contains("default/web") && !text.contains("default.web"), "{text}");
            }
        }
    }
}
