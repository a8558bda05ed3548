//! Events say who caused them.

use std::collections::{BTreeMap, BTreeSet};

use windlass_proto::pb;

use crate::fleet::Fleet;
use crate::rollouts::{deploy, fleet_of, follow};
use crate::services::{asks, ranged, steer};

/// The actors of each kind of event so far; an empty one where an event has none.
async fn actors(fleet: &Fleet) -> BTreeMap<String, BTreeSet<String>> {
    let mut control = fleet.control("admin/*").await;
    let request = pb::StreamEventsRequest { tail: 1000, ..Default::default() };
    let mut stream = control.stream_events(request).await.unwrap().into_inner();
    let mut actors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while let Some(event) = stream.message().await.unwrap() {
        let event: serde_json::Value = serde_json::from_slice(&event.view).unwrap();
        let actor = event["actor"].as_str().unwrap_or_default().to_owned();
        actors.entry(event["kind"].as_str().unwrap().to_owned()).or_default().insert(actor);
    }
    actors
}

#[tokio::test]
async fn events_name_the_operator_or_the_host_that_caused_them() {
    use pb::ServiceAction::{Remove, Restart, Scale, Stop};
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &ranged(1, "one")).await, "succeeded");
    steer(&fleet, asks(Scale, 3)).await.unwrap();
    steer(&fleet, asks(Stop, 0)).await.unwrap();
    let started = steer(&fleet, asks(Restart, 0)).await.unwrap();
    assert_eq!(follow(&fleet, &started.rollout).await, "succeeded");
    let mut admin = fleet.control("admin/*").await;
    for action in [pb::HostAction::Cordon, pb::HostAction::Uncordon, pb::HostAction::Drain] {
        let request = pb::SteerHostRequest { host: "web-1".to_owned(), action: action.into() };
        admin.steer_host(request).await.unwrap();
    }
    steer(&fleet, asks(Remove, 0)).await.unwrap();
    let add = pb::AddOperatorRequest { name: "bob".to_owned(), grant: "viewer/*".to_owned() };
    admin.add_operator(add).await.unwrap();
    admin.revoke_operator(pb::RevokeOperatorRequest { name: "bob".to_owned(), unknown: true }).await.unwrap();

    let all = actors(&fleet).await;
    let of = |kind: &str| all.get(kind).unwrap_or_else(|| panic!("no event {kind}: {all:?}"));
    for kind in [
        "rollout.started",
        "service.scale",
        "service.stop",
        "service.remove",
        "host.cordon",
        "host.uncordon",
        "host.drain",
        "operator.added",
        "operator.revoked",
    ] {
        assert!(of(kind).iter().all(|actor| actor.starts_with("operator/")), "{kind}: {all:?}");
    }
    assert_eq!(*of("host.joined"), ["agent/web-1".to_owned()].into(), "a host joins by itself");
    assert_eq!(*of("rollout.succeeded"), [String::new()].into(), "the coordinator decided that");
}
