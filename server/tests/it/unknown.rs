//! Names that the fleet never had: every list that takes one refuses it, as an empty list would be taken for an answer.

use tonic::{Code, Status};
use windlass_proto::pb;

use crate::fleet::Fleet;
use crate::release::release;
use crate::rollouts::{deploy, fleet_of};

/// Calls everything that takes a service as a filter. Answers with the name and the outcome of each.
async fn of_service(fleet: &Fleet, service: &str) -> Vec<(&'static str, Result<(), Status>)> {
    let mut c = fleet.control("viewer/*").await;
    let name = || service.to_owned();
    let events = pb::StreamEventsRequest { service: name(), ..Default::default() };
    let logs = pb::StreamLogsRequest { service: name(), ..Default::default() };
    let release = pb::GetReleaseRequest { service: name(), ..Default::default() };
    vec![
        ("status", c.get_status(pb::GetStatusRequest { service: name() }).await.map(drop)),
        ("routes", c.list_routes(pb::ListRoutesRequest { service: name() }).await.map(drop)),
        ("quarantine", c.list_quarantine(pb::ListQuarantineRequest { service: name() }).await.map(drop)),
        ("rollouts", c.list_rollouts(pb::ListRolloutsRequest { service: name() }).await.map(drop)),
        ("releases", c.list_releases(pb::ListReleasesRequest { service: name() }).await.map(drop)),
        ("release", c.get_release(release).await.map(drop)),
        ("rollout", c.get_rollout(pb::GetRolloutRequest { rollout: name() }).await.map(drop)),
        ("explain", c.explain_rollout(pb::ExplainRolloutRequest { rollout: name() }).await.map(drop)),
        ("logs", c.stream_logs(logs).await.map(drop)),
        ("events", c.stream_events(events).await.map(drop)),
    ]
}

#[tokio::test]
async fn lists_of_a_service_that_never_was_are_refused() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    for (call, outcome) in of_service(&fleet, "default/wbe").await {
        let refused = outcome.err().unwrap_or_else(|| panic!("{call} answers"));
        assert_eq!(refused.code(), Code::NotFound, "{call}");
        assert_eq!(refused.message(), "there is no service `default/wbe`", "{call}");
    }
    for (call, outcome) in of_service(&fleet, "default/web").await {
        assert!(outcome.is_ok(), "{call}: {outcome:?}");
    }
    let mut control = fleet.control("viewer/*").await;
    let followed =
        pb::StreamEventsRequest { service: "default/later".to_owned(), follow: true, ..Default::default() };
    assert!(control.stream_events(followed).await.is_ok(), "one that is followed may still come");
}

#[tokio::test]
async fn events_of_a_host_that_never_was_are_refused() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    let mut control = fleet.control("viewer/*").await;
    let ask = |host: &str| pb::StreamEventsRequest { host: host.to_owned(), ..Default::default() };
    let refused = control.stream_events(ask("wbe-1")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "there is no host `wbe-1`"));
    assert!(control.stream_events(ask("web-1")).await.is_ok());
}
