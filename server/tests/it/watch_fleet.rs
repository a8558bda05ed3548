//! `WatchFleet`: screens that are sorted and cut here, of what their reader may see, for as long as a lease lasts.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::timeout;
use tonic::{Code, Streaming};
use windlass_core::view::{Board, ROWS};
use windlass_proto::pb;

use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, LIMIT, until};
use crate::rollouts::{deploy, fleet_of};
use crate::routes::{Ingress, routed};

fn of(board: Board) -> pb::WatchFleetRequest {
    pb::WatchFleetRequest { board: board.name().to_owned(), limit: 10, ..Default::default() }
}

/// The next screen, and whether it is another one than before.
async fn next(stream: &mut Streaming<pb::WatchFleetResponse>, last: &mut Value) -> bool {
    let message = timeout(LIMIT, stream.message()).await.expect("a screen in time").unwrap();
    let message = message.expect("the lease has not ended");
    assert!(message.at > 0);
    if message.view.is_empty() {
        return false;
    }
    *last = serde_json::from_slice(&message.view).unwrap();
    true
}

/// The first screen that an operator with `grant` gets.
async fn first(fleet: &Fleet, grant: &str, request: pb::WatchFleetRequest) -> Value {
    let mut control = fleet.control(grant).await;
    let mut stream = control.watch_fleet(request).await.unwrap().into_inner();
    let mut screen = Value::Null;
    assert!(next(&mut stream, &mut screen).await, "the first one is whole");
    screen
}

fn names(screen: &Value) -> Vec<&str> {
    let rows = screen["rows"].as_array().unwrap();
    rows.iter().map(|row| row["host"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_screen_is_a_sorted_part_of_the_fleet_again_and_again() {
    let (fleet, mut players) = fleet_of(&["web-1", "web-2", "web-3", "db-1"], &[]).await;
    let part = pb::WatchFleetRequest {
        filter: "WEB".to_owned(),
        descending: true,
        from: 1,
        limit: 1,
        ..of(Board::Hosts)
    };
    let mut control = fleet.control("viewer/*").await;
    let asked_at = Instant::now(); // a screen may be read later than it was sent
    let mut stream = control.watch_fleet(part).await.unwrap().into_inner();
    let mut screen = Value::Null;
    assert!(next(&mut stream, &mut screen).await);
    assert_eq!((names(&screen), &screen["found"], &screen["from"]), (vec!["web-2"], &3.into(), &1.into()));
    assert_eq!((&screen["hosts"], &screen["hosts_up"], &screen["moving"]), (&4.into(), &4.into(), &0.into()));
    // A host more: the next screen counts it, and none comes sooner than after a second.
    players.add(&fleet, Agent::joined(&fleet, "web-4").await).await;
    let mut seen = 1_u32;
    while screen["found"] != 4 {
        assert!(asked_at.elapsed() < LIMIT, "{screen}");
        next(&mut stream, &mut screen).await;
        seen += 1;
    }
    assert_eq!(names(&screen), ["web-3"]);
    assert!(asked_at.elapsed() >= Duration::from_millis(950) * (seen - 1), "at most one a second");
    // However much is asked for, a screen has an end; and what there is not is no board.
    let all = pb::WatchFleetRequest { limit: u32::MAX, ..of(Board::Hosts) };
    assert!(first(&fleet, "viewer/*", all).await["rows"].as_array().unwrap().len() <= ROWS);
    let unknown = pb::WatchFleetRequest { board: "clouds".to_owned(), ..Default::default() };
    assert_eq!(control.watch_fleet(unknown).await.unwrap_err().code(), Code::InvalidArgument);
    let long = pb::WatchFleetRequest { filter: "x".repeat(1000), ..of(Board::Hosts) };
    assert_eq!(control.watch_fleet(long).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_ends_by_itself_and_few_stand_at_once() {
    let (fleet, _players) = fleet_of(&["web-1"], &[]).await;
    let mut control = fleet.control("viewer/*").await;
    let short = || pb::WatchFleetRequest { lease_ms: 1, ..of(Board::Hosts) };
    let mut stream = control.watch_fleet(short()).await.unwrap().into_inner();
    let mut screens = 0;
    while timeout(LIMIT, stream.message()).await.expect("it ends").unwrap().is_some() {
        screens += 1;
    }
    assert_eq!(screens, 2, "two screens, then an end that is no error");
    let mut standing = Vec::new();
    let refused = loop {
        match control.watch_fleet(of(Board::Hosts)).await {
            Ok(stream) => standing.push(stream.into_inner()),
            Err(status) => break status,
        }
        assert!(standing.len() < 100, "there is a bound");
    };
    assert_eq!((refused.code(), standing.len()), (Code::ResourceExhausted, 8), "{refused}");
    // Another operator has places of its own, and one that was given up is free again.
    let other = fleet.named_operator("bob", "viewer/*");
    let mut bob = pb::control_client::ControlClient::new(fleet.channel(&other).await.unwrap());
    assert!(bob.watch_fleet(of(Board::Hosts)).await.is_ok());
    standing.pop();
    until("a place is free", async || control.clone().watch_fleet(short()).await.is_ok()).await;
}

#[tokio::test]
async fn no_screen_and_no_filter_tells_of_another_environment() {
    let fleet = Fleet::start().await;
    let mut players = Players::default();
    let mut agent = Agent::joined(&fleet, "web-1").await;
    (agent.is_measured, agent.has_gpu, agent.publishes) = (true, true, true);
    agent.ingress = Some(Ingress::default());
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "connected").await;
    assert_eq!(deploy(&fleet, &routed(1, "one", "web.example.com")).await, "succeeded");
    until("the ingress has reported", async || {
        first(&fleet, "viewer/*", of(Board::Ingresses)).await["rows"][0]["ingress"]["ingress"]["acknowledged"]
            .is_u64()
    })
    .await;
    for board in Board::ALL {
        for request in [of(board), pb::WatchFleetRequest { filter: "default".to_owned(), ..of(board) }] {
            let is_filtered = !request.filter.is_empty();
            let screen = first(&fleet, "viewer/other", request.clone()).await;
            let text = screen.to_string();
            for hidden in ["default/web", "default.web", "\"default\""] {
                assert!(!text.contains(hidden), "{}: {hidden} in {text}", board.name());
            }
            assert_eq!(screen["moving"], 0);
            assert!(
                !is_filtered || screen["found"] == 0,
                "{}: a filter finds what is hidden: {text}",
                board.name()
            );
            // The same screen has something for those who may see it.
            let own = first(&fleet, "viewer/default", request).await;
            assert_eq!(own["steers"], Value::Array(Vec::new()), "a viewer steers nothing");
            let is_of_hosts = matches!(board, Board::Hosts | Board::Gpus);
            assert!(own["found"] != 0 || (is_filtered && is_of_hosts), "{}: {own}", board.name());
        }
    }
    let other = pb::WatchFleetRequest { environment: "other".to_owned(), ..of(Board::Services) };
    assert_eq!(first(&fleet, "viewer/*", other).await["found"], 0);
    let services = first(&fleet, "deployer/default", of(Board::Services)).await;
    assert_eq!(services["steers"][0], "default", "{services}");
    let gpus = first(&fleet, "viewer/*", of(Board::Gpus)).await;
    assert_eq!(gpus["rows"][0]["gpu"]["stats"]["throttled"][0], "thermal", "{gpus}");
    assert_eq!(gpus["rows"][0]["gpu"]["conditions"][0]["code"], "gpu_throttled", "{gpus}");
    let mut control = fleet.control("viewer/*").await;
    let instances = pb::WatchFleetRequest { sort: 7, ..of(Board::Instances) };
    let mut stream = control.watch_fleet(instances).await.unwrap().into_inner();
    let (mut screen, began) = (Value::Null, Instant::now());
    while screen["rows"][0]["instance"]["instance"]["probe"]["seconds"] != 0.25 {
        assert!(began.elapsed() < LIMIT, "the time of a probe is in its row: {screen}");
        next(&mut stream, &mut screen).await;
    }
}

/// Requests, errors and latency of each release, as ingresses counted them in the last half minute; and the table of each ingress.
#[tokio::test]
async fn traffic_is_told_by_release_and_by_ingress() {
    let fleet = Fleet::start().await;
    let mut players = Players::default();
    let mut agent = Agent::joined(&fleet, "web-1").await;
    (agent.is_measured, agent.publishes) = (true, true);
    agent.ingress = Some(Ingress::default());
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "connected").await;
    assert_eq!(deploy(&fleet, &routed(1, "one", "web.example.com")).await, "succeeded");
    let mut control = fleet.control("viewer/*").await;
    let mut stream = control.watch_fleet(of(Board::Routes)).await.unwrap().into_inner();
    let (mut screen, began) = (Value::Null, Instant::now());
    let told = |screen: &Value| {
        let recent = &screen["rows"][0]["route"]["recent"];
        // Ten a second, as exactly as two reports come in time.
        recent["per_second"].as_f64().is_some_and(|rate| (5.0..20.0).contains(&rate))
            && recent["error_ratio"].as_f64().is_some_and(|ratio| (0.02..0.08).contains(&ratio))
            && recent["p95_seconds"].as_f64().is_some_and(|p95| (0.016..0.018).contains(&p95))
    };
    while !told(&screen) {
        assert!(began.elapsed() < LIMIT, "no rate came: {screen}");
        next(&mut stream, &mut screen).await;
    }
    let row = &screen["rows"][0]["route"];
    assert_eq!((&row["release"], &row["serving"]), (&"r1".into(), &2.into()), "{row}");
    assert_eq!(row["names"][0], "web.example.com/", "{row}");
    assert_eq!(screen["found"], 1);
    let by_ingress = first(&fleet, "viewer/*", of(Board::Ingresses)).await;
    let ingress = &by_ingress["rows"][0]["ingress"];
    assert_eq!((&ingress["environment"], &ingress["ingress"]["host"]), (&"default".into(), &"web-1".into()));
    assert_eq!(ingress["ingress"]["wanted"], ingress["ingress"]["acknowledged"], "{ingress}");
    // The same figures for `windlass routes`, and for `top --once`.
    let request = pb::ListRoutesRequest::default();
    let listed = control.list_routes(request).await.unwrap().into_inner().view;
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    assert!(listed[0]["services"][0]["releases"][0]["recent"]["per_second"].is_f64(), "{listed}");
    // An ingress that is forgotten tells nothing more.
    let forget = pb::ForgetIngressRequest { host: "web-1".to_owned() };
    drop(players);
    until("nobody reports any more", async || fleet.hosts().await[0]["state"] != "connected").await;
    fleet.control("admin/*").await.forget_ingress(forget).await.unwrap();
    // A report that was under way when it was forgotten still counts, for half a minute at most.
    until("the figures of the forgotten ingress are gone", async || {
        first(&fleet, "viewer/*", of(Board::Routes)).await["rows"][0]["route"]["recent"].is_null()
    })
    .await;
}
