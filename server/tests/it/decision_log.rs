//! The record of a rollout for a person, afterwards: decisions and events.

use windlass_proto::pb;

use crate::agent::Agent;
use crate::fleet::Fleet;
use crate::release::release;
use crate::rollouts::{deploy, fleet_of};

async fn explain(fleet: &Fleet, rollout: &str) -> serde_json::Value {
    let mut control = fleet.control("viewer/default").await;
    let request = pb::ExplainRolloutRequest { rollout: rollout.to_owned() };
    let answer = control.explain_rollout(request).await.unwrap().into_inner();
    serde_json::from_slice(&answer.view).unwrap()
}

fn kinds(explained: &serde_json::Value) -> Vec<&str> {
    explained["decisions"].as_array().unwrap().iter().map(|d| d["decision"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_failed_rollout_is_explained_over_a_restart() {
    let bad = release(2, 2, "bad");
    let (mut fleet, players) = fleet_of(&["web-1", "web-2"], &[&bad]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    assert_eq!(deploy(&fleet, &bad).await, "rolled_back");
    let explained = explain(&fleet, "default/web").await;
    let kinds = kinds(&explained);
    assert_eq!(kinds[..3], ["started", "placed", "moved"], "{explained:#}");
    let at = |kind: &str| {
        kinds.iter().position(|k| *k == kind).unwrap_or_else(|| panic!("no {kind}: {explained:#}"))
    };
    assert!(at("pulled") < at("begun") && at("begun") < at("failed"), "{kinds:?}");
    let last = explained["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["to"], &last["serves"]), (&"rolled_back".into(), &"r1".into()));
    for (n, decision) in (0_u64..).zip(explained["decisions"].as_array().unwrap()) {
        assert_eq!(decision["n"], n);
        assert!(!decision["text"].as_str().unwrap().is_empty());
    }
    drop(players);
    fleet.stop().await;
    fleet.run().await;
    let again = explain(&fleet, "default/web").await;
    assert_eq!(again["decisions"], explained["decisions"]);
}

#[tokio::test]
async fn steering_is_recorded_and_old_rollouts_take_decisions_along() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    for counter in 1..=24 {
        let content = if counter % 2 == 0 { "even" } else { "odd" };
        let started = {
            let mut control = fleet.control("deployer/default").await;
            let request = crate::rollouts::request(&fleet, &release(counter, 1, content));
            control.submit_release(request).await.unwrap().into_inner().rollout
        };
        if counter == 24 {
            let mut control = fleet.control("deployer/default").await;
            let action = pb::RolloutAction::Abort.into();
            // It may have ended already: then there is nothing to steer, and nothing to tell.
            let abort = pb::SteerRolloutRequest { rollout: started.clone(), action, ..Default::default() };
            let steered = control.steer_rollout(abort).await;
            let told = kinds(&explain(&fleet, &started).await).contains(&"steered");
            assert_eq!(told, steered.is_ok());
        }
        crate::rollouts::follow(&fleet, &started).await;
    }
    let decided = fleet.store().list("decision/").await.unwrap();
    let of: std::collections::BTreeSet<&str> =
        decided.iter().filter_map(|entry| entry.key.split('/').nth(1)).collect();
    let kept = fleet.store().list("rollout/").await.unwrap().len();
    assert!(kept < 24 && of.len() == kept, "{} rollouts have decisions, {kept} are kept", of.len());
}

async fn follow(
    fleet: &Fleet,
    request: pb::StreamEventsRequest,
) -> tonic::Streaming<pb::StreamEventsResponse> {
    let mut control = fleet.control("viewer/*").await;
    control.stream_events(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn followed_events_are_taken_up_where_they_ended_each_once() {
    let mut fleet = Fleet::start_with(false, |_| {}).await;
    let mut heard: Vec<(u64, String)> = Vec::new();
    let mut next = None;
    for round in 0..3 {
        let request =
            pb::StreamEventsRequest { from: next, follow: true, positions: true, ..Default::default() };
        let mut stream = follow(&fleet, request).await;
        let opening = stream.message().await.unwrap().unwrap();
        assert!(opening.view.is_empty() && opening.missed == 0);
        assert!(next.is_none_or(|next| next == opening.next), "it goes on where it ended");
        next = Some(opening.next);
        crate::agent::token(&fleet, &format!("web-{round}")).await; // no event
        let agent = Agent::joined(&fleet, &format!("host-{round}")).await;
        while heard.iter().all(|(_, subject)| !subject.ends_with(agent.host.as_str())) {
            let item = stream.message().await.unwrap().unwrap();
            let event: serde_json::Value = serde_json::from_slice(&item.view).unwrap();
            heard.push((event["n"].as_u64().unwrap(), event["subject"].as_str().unwrap().to_owned()));
            next = Some(item.next);
        }
        drop(stream);
        // Events without a follower come with the next stream.
        Agent::joined(&fleet, &format!("quiet-{round}")).await;
        fleet.kill().await;
        fleet.run().await;
    }
    let request = pb::StreamEventsRequest { from: next, ..Default::default() };
    let mut rest = follow(&fleet, request).await;
    while let Some(item) = rest.message().await.unwrap() {
        if let Ok(event) = serde_json::from_slice::<serde_json::Value>(&item.view) {
            heard.push((event["n"].as_u64().unwrap(), event["subject"].as_str().unwrap().to_owned()));
        }
    }
    let numbers: Vec<u64> = heard.iter().map(|(n, _)| *n).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "none lost, none twice: {heard:?}");
    for round in 0..3 {
        for name in ["host", "quiet"] {
            let subject = format!("{name}-{round}");
            assert_eq!(heard.iter().filter(|(_, s)| *s == subject).count(), 1, "{subject}: {heard:?}");
        }
    }
}

#[tokio::test]
async fn events_are_filtered_and_what_is_kept_no_more_is_counted() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    let listed = async |request: pb::StreamEventsRequest| {
        let mut stream = follow(&fleet, request).await;
        let mut kinds = Vec::new();
        while let Some(item) = stream.message().await.unwrap() {
            if let Ok(event) = serde_json::from_slice::<serde_json::Value>(&item.view) {
                kinds.push(event["kind"].as_str().unwrap().to_owned());
            }
        }
        kinds
    };
    let ask = || pb::StreamEventsRequest { tail: 1000, ..Default::default() };
    let rollout = listed(pb::StreamEventsRequest { kind: "rollout".to_owned(), ..ask() }).await;
    assert!(rollout.len() >= 4 && rollout.iter().all(|kind| kind.starts_with("rollout.")), "{rollout:?}");
    let of_service = listed(pb::StreamEventsRequest { service: "default/web".to_owned(), ..ask() }).await;
    assert_eq!(of_service, rollout);
    crate::fleet::until("that it has connected is told", async || {
        fleet.events().await.contains(&"host.connected web-1".to_owned())
    })
    .await;
    let of_host = listed(pb::StreamEventsRequest { host: "web-1".to_owned(), ..ask() }).await;
    assert_eq!(of_host, ["host.joined", "host.connected"]);
    let future = crate::fleet::now().as_millis() + 60_000;
    assert!(listed(pb::StreamEventsRequest { since: Some(future), ..ask() }).await.is_empty());
    assert!(!listed(pb::StreamEventsRequest { since: Some(0), ..ask() }).await.is_empty());

    let mut stranger = fleet.control("viewer/other").await;
    let foreign = pb::StreamEventsRequest { service: "default/web".to_owned(), ..ask() };
    assert_eq!(stranger.stream_events(foreign).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    let mut unseen = stranger.stream_events(ask()).await.unwrap().into_inner();
    while let Some(item) = unseen.message().await.unwrap() {
        let event: serde_json::Value = serde_json::from_slice(&item.view).unwrap();
        assert!(!event["kind"].as_str().unwrap().starts_with("rollout."), "{event}");
    }
    let ahead = pb::StreamEventsRequest { from: Some(1_000_000), ..Default::default() };
    let opening = follow(&fleet, ahead).await.message().await.unwrap().unwrap();
    assert!(opening.next < 1_000_000, "a client sees that the history is another one");
}

#[tokio::test]
async fn a_reader_hears_how_many_events_are_kept_no_more() {
    let mut fleet = Fleet::start().await;
    fleet.stop().await;
    let event = |n: u64| {
        format!(
            r#"{{"v":1,"record":{{"n":{n},"at":"2026-01-01T00:00:00.000Z","kind":"test","subject":"web-1","message":"old"}}}}"#
        )
    };
    for first in [500_u64, 600, 700] {
        let writes = (first..first + 100).map(|n| (format!("event/{n:020}"), Some(event(n).into_bytes())));
        let transaction =
            windlass_server::store::Transaction { guards: Vec::new(), writes: writes.collect() };
        fleet.store().commit(transaction).await.unwrap();
    }
    fleet.run().await;
    let request = pb::StreamEventsRequest { from: Some(400), ..Default::default() };
    let mut stream = follow(&fleet, request).await;
    let opening = stream.message().await.unwrap().unwrap();
    assert_eq!((opening.next, opening.missed), (500, 100));
    let first: serde_json::Value =
        serde_json::from_slice(&stream.message().await.unwrap().unwrap().view).unwrap();
    assert_eq!(first["n"], 500);
}
