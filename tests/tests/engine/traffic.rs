//! Requests through an ingress, all along: deploys, a bad release, a rollback, aborts by hand, an upgrade of the ingress, an
//! agent and a coordinator that are killed. None is lost.

use std::time::{Duration, Instant};

use serde_json::json;
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Download, Fleet, Load, Service, Tunnel, Upload, http, wait};

#[test]
fn no_request_is_lost_while_releases_come_and_go() {
    let mut fleet = Fleet::start("traffic", 2);
    let web = |tag: &str, order: &str| {
        Service::web(&fleet.lab.image(tag), 3)
            .with("route", json!({ "host": NAME, "port": "http" }))
            .with("strategy.rolling.order", order)
    };
    let (v1, v2, bad) = (web("v1", "auto"), web("v2", "auto"), web("crash", "auto"));
    let (first, second) =
        (web("v1", "stop_first").with("env.TRY", "2"), web("v2", "stop_first").with("env.TRY", "2"));
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let old = ingress::start(&fleet, &edge, "ingress-1.log");
    fleet.deploy_ok(&v1, "r1");
    ingress::wait_until_routed(&at, "v1");

    // Rolling updates, start-first and stop-first, a bad release, a rollback: at 600 requests a second.
    let load = Load::begin(&at, NAME, "/version", 600);
    fleet.deploy_ok(&v2, "r2");
    let failed = fleet.deploy(&bad).expect_code(3).last();
    assert_eq!(failed["outcome"], "rolled_back", "{failed}");
    fleet.cli.run(&["rollback", "web", "--timeout", "1m", "-o", "json"]).expect_code(0);
    fleet.deploy_ok(&first, "r4");
    fleet.deploy_ok(&second, "r5");
    let answers = load.end();
    answers.expect_none_lost();
    let rate = answers.answered() as f64 / answers.took.as_secs_f64();
    println!(
        "{} requests in {:?}, {rate:.0} a second: {:?}",
        answers.answered(),
        answers.took,
        answers.whole
    );
    assert_eq!(answers.whole.len(), 2, "v1 and v2 answered, and nothing else: {:?}", answers.whole);

    // A rolling update that a person aborts on its way, and begins again, and aborts once more.
    let load = Load::begin(&at, NAME, "/version", 600);
    for attempt in ["1", "2"] {
        let held = web("v1", "auto").with("env.ABORTED", attempt).with("strategy.rolling.min_ready", "5s");
        fleet.deploy_detached(&held);
        ingress::wait_until_routed(&at, "v1");
        fleet.cli.run(&["rollout", "abort", "web", "--yes"]).expect_code(0);
        fleet.wait_for_outcome("aborted");
        wait::until("the release before is whole again", Duration::from_secs(60), || {
            let running = (fleet.count_running("v1"), fleet.count_running("v2"));
            if running == (0, 3) { Ok(()) } else { Err(format!("{running:?}")) }
        });
    }
    let answers = load.end();
    println!("aborted twice: {} requests in {:?}: {:?}", answers.answered(), answers.took, answers.whole);
    answers.expect_none_lost();
    assert_eq!(answers.whole.len(), 2, "both answered: {:?}", answers.whole);

    // Another ingress takes over; then the agent beside it and the coordinator are killed, and it goes on.
    let load = Load::begin(&at, NAME, "/version", 600);
    let mut successor = ingress::start(&fleet, &edge, "ingress-2.log");
    let mut old = old;
    wait::until("the first ingress has ended", Duration::from_secs(40), || {
        old.ended().map(drop).ok_or_else(|| old.tail(5))
    });
    fleet.agents[0].kill_9();
    fleet.server.kill_9();
    let before = load.answered();
    wait::until("requests go on while nobody else is there", Duration::from_secs(20), || {
        let more = load.answered() - before;
        if more >= 600 { Ok(()) } else { Err(format!("{more} more")) }
    });
    fleet.server.start_again();
    fleet.wait_for_server();
    fleet.agents[0].start_again();
    fleet.wait_for_host(&edge.name, "connected");
    fleet.deploy_ok(&v1.with("env.TRY", "3"), "r8");
    load.end().expect_none_lost();
    successor.stop(Duration::from_secs(40));
}

/// Bodies of 100 MiB, up and down, and an upgraded connection stand while the release under them is replaced.
#[test]
fn bodies_and_tunnels_outlast_a_switch() {
    const BODY: usize = 100 << 20;
    const DRAIN: Duration = Duration::from_secs(20);
    const STOP: Duration = Duration::from_secs(2);
    let fleet = Fleet::start("bodies", 1);
    let web = |tag: &str| {
        let web = Service::web(&fleet.lab.image(tag), 1).with("drain_timeout", "20s");
        web.with("route", json!({ "host": NAME, "port": "http" })).with("soak", "0s")
    };
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web("v1"), "r1");
    ingress::wait_until_routed(&at, "v1");
    let (upload, download) = (Upload::begin(&at, NAME, BODY), Download::begin(&at, NAME, BODY));
    let mut tunnel = Tunnel::open(&at, NAME).expect("the upgrade is answered");
    tunnel.echo().expect("the tunnel stands");
    fleet.deploy_detached(&web("v2"));
    ingress::wait_until_routed(&at, "v2");
    let switched_at = Instant::now();
    let (status, body) = upload.end().expect("the upload is answered");
    assert_eq!((status, body), (200, BODY.to_string()), "every byte came");
    // The thing that it waits for is said wherever somebody looks.
    wait::until("the requests under way are said", Duration::from_secs(10), || {
        let shown = fleet.cli.json(&["routes", "web"]);
        let endpoints = shown[0]["services"][0]["endpoints"].as_array().cloned().unwrap_or_default();
        let drains = |of: &serde_json::Value| of["release"] == "r1" && of["in_flight"].as_u64() > Some(0);
        let said = [fleet.status().to_string(), fleet.rollout().to_string()];
        let words = said.iter().all(|text| text.contains("under way on"));
        if words && endpoints.iter().any(drains) { Ok(()) } else { Err(format!("{said:#?} {shown}")) }
    });
    // The instance is not stopped under the download: it lasts longer than a stop takes, and the deploy waits for it.
    wait::until_true("a stop would have ended", Duration::from_secs(10), || switched_at.elapsed() > 3 * STOP);
    assert!(fleet.rollout()["outcome"].is_null(), "the deploy waits: {}", fleet.rollout());
    download.end().expect("a download within the drain timeout ends whole");
    // The tunnel is not cut with the switch, and does not outlast the drain timeout by more than a stop takes.
    tunnel.echo().expect("the tunnel stands after the switch");
    let ended =
        wait::until("the tunnel has ended", DRAIN + Duration::from_secs(30), || match tunnel.echo() {
            Ok(()) => Err("it stands".to_owned()),
            Err(error) => Ok(format!("{error:#}")),
        });
    let stood = switched_at.elapsed();
    assert!(stood >= DRAIN / 2, "the tunnel was cut {stood:?} after the switch: {ended}");
    fleet.wait_for_outcome("succeeded");
    proxy.stop(Duration::from_secs(40));
}

/// A new release fails in its soak while no coordinator is there: its host restores the old one, and the ingress beside the
/// agent finds it without a new table.
#[test]
fn a_restored_release_answers_without_a_coordinator() {
    let mut fleet = Fleet::start("restored", 1);
    let web = |tag: &str| {
        let web = Service::web(&fleet.lab.image(tag), 1);
        web.with("route", json!({ "host": NAME, "port": "http" })).with("soak", "5m")
    };
    let (v1, later) = (web("v1").with("soak", "0s"), web("v2"));
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&v1, "r1");
    ingress::wait_until_routed(&at, "v1");
    fleet.deploy_detached(&later);
    ingress::wait_until_routed(&at, "v2");
    wait::until("the old instance rests", Duration::from_secs(30), || {
        let running = edge.running_ids("web");
        if running.len() == 1 { Ok(()) } else { Err(format!("{running:?}")) }
    });
    let port = fleet.wait_for_release(&edge, "r2");
    fleet.server.kill_9();
    drop(http::get(&format!("{}:{port}", edge.address), "/exit?code=1", Duration::from_secs(5))); // it hangs up
    ingress::wait_until_routed(&at, "v1");
    let load = Load::begin(&at, NAME, "/version", 100);
    wait::until("requests are answered", Duration::from_secs(20), || {
        if load.answered() >= 200 { Ok(()) } else { Err(format!("{}", load.answered())) }
    });
    let answers = load.end();
    answers.expect_none_lost();
    assert_eq!(answers.whole.keys().collect::<Vec<_>>(), ["v1"]);
    // The coordinator comes back and goes on by what it is told.
    fleet.server.start_again();
    fleet.wait_for_server();
    let load = Load::begin(&at, NAME, "/version", 100);
    fleet.wait_for_outcome("rolled_back");
    load.end().expect_none_lost();
    proxy.stop(Duration::from_secs(40));
}

/// Requests twice as long as `stop_timeout` and a tunnel stand while their instance is restarted, and end with it.
#[test]
fn a_restart_costs_no_long_request() {
    const DRAIN: Duration = Duration::from_secs(20);
    let fleet = Fleet::start("restarted", 1);
    let web = Service::web(&fleet.lab.image("v1"), 2)
        .with("drain_timeout", "20s")
        .with("route", json!({ "host": NAME, "port": "http" }))
        .with("soak", "0s");
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web, "r1");
    ingress::wait_until_routed(&at, "v1");
    let before = edge.running_ids("web");

    // Requests of four seconds, and short ones; `stop_timeout` is two.
    let (long, short) = (Load::begin(&at, NAME, "/slow?ms=4000", 4), Load::begin(&at, NAME, "/version", 200));
    fleet.cli.ok(&["restart", "web", "--timeout", "2m"]);
    let after = edge.running_ids("web");
    assert_eq!((before.len(), after.len()), (2, 2), "{before:?} {after:?}");
    assert!(after.iter().all(|id| !before.contains(id)), "every instance is a new one: {before:?} {after:?}");
    let (long, short) = (long.end(), short.end());
    println!("{} long requests and {} short ones in {:?}", long.answered(), short.answered(), long.took);
    long.expect_none_lost();
    short.expect_none_lost();

    // A tunnel is not cut with the switch, and does not outlast the drain timeout by more than a stop takes.
    let mut tunnel = Tunnel::open(&at, NAME).expect("the upgrade is answered");
    tunnel.echo().expect("the tunnel stands");
    fleet.cli.ok(&["restart", "web", "--detach"]);
    wait::until("the restart waits for the tunnel", Duration::from_secs(60), || {
        let said = fleet.rollout().to_string();
        if said.contains("under way on") { Ok(()) } else { Err(said) }
    });
    let switched_at = Instant::now();
    tunnel.echo().expect("the tunnel stands after the switch");
    let ended =
        wait::until("the tunnel has ended", DRAIN + Duration::from_secs(30), || match tunnel.echo() {
            Ok(()) => Err("it stands".to_owned()),
            Err(error) => Ok(format!("{error:#}")),
        });
    let stood = switched_at.elapsed();
    assert!(stood >= DRAIN / 2, "the tunnel was cut {stood:?} after the switch: {ended}");
    fleet.wait_for_outcome("succeeded");
    proxy.stop(Duration::from_secs(40));
}
