//! Blue/green behind an ingress, at 500 requests a second: forward in steps, back by weight, back by failure, back by hand,
//! with a coordinator that is killed in between. No request is lost.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, FleetOptions, Lab, Load, Service, wait};

/// The limit for a set that nobody is sent to any more: its rollout ends with the order to stop it, not with its end.
const STOPPED: Duration = Duration::from_secs(15);

/// More than a change of weights takes on a busy machine, from the command to the last response.
const BACK: Duration = Duration::from_secs(15);

/// Blue/green with a short watch, behind the name of the lab.
fn web(fleet: &Fleet, tag: &str, steps: &Value) -> Service {
    let strategy = json!({ "steps": steps, "watch": "2s", "keep_old": "10m", "min_ready": "1s" });
    Service::web(&fleet.lab.image(tag), 2)
        .with("route", json!({ "host": NAME, "port": "http" }))
        .with("strategy", json!({ "blue_green": strategy }))
}

/// The share of the new release in the rollout under way, in thousandths.
fn share(fleet: &Fleet) -> u64 {
    fleet.rollout()["traffic"]["weight"].as_u64().unwrap_or_default()
}

fn wait_for_share(fleet: &Fleet, share_of: u64) {
    wait::until("the traffic has moved", Duration::from_secs(60), || {
        let rollout = fleet.rollout();
        let weight = rollout["traffic"]["weight"].as_u64();
        // Every ingress divides the requests so.
        let is_taken = rollout["traffic"]["since"].is_string();
        if weight == Some(share_of) && is_taken { Ok(()) } else { Err(rollout["waiting"].to_string()) }
    });
}

#[test]
fn traffic_moves_to_green_and_back_without_a_loss() {
    let mut fleet = Fleet::start("colours", 2);
    let (blue, green) = (web(&fleet, "v1", &json!(["100%"])), web(&fleet, "v2", &json!(["10%", "100%"])));
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut process = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&blue, "r1");
    ingress::wait_until_routed(&at, "v1");

    let load = Load::begin(&at, NAME, "/version", 500);
    fleet.deploy_ok(&green, "r2");
    assert_eq!((fleet.count_running("v1"), fleet.count_running("v2")), (2, 2), "blue stays warm");
    let told = fleet.cli.run(&["explain", "web"]).expect_code(0).stdout;
    assert!(told.contains("gave r2 10% of the traffic: step 1 of 2"), "{told}");
    assert!(told.contains("every ingress has taken the weights"), "{told}");

    // Back: a change of weights, since blue is warm.
    let asked = load.now();
    fleet.cli.run(&["rollback", "web", "--timeout", "1m", "-o", "json"]).expect_code(0);
    let answers = load.end();
    answers.expect_none_lost();
    let last = answers.last_of("v2").expect("green answered").saturating_sub(asked);
    println!(
        "rollback: {} requests, the last response of green {last:?} after the command",
        answers.answered()
    );
    assert!(last < BACK, "{last:?}");
    fleet.wait_until_serving("v1", 2, STOPPED);

    // Green fails on its way: nobody was sent there.
    let load = Load::begin(&at, NAME, "/version", 500);
    let bad = web(&fleet, "crash", &json!(["100%"]));
    let failed = fleet.deploy(&bad).expect_code(3).last();
    assert_eq!(failed["outcome"], "rolled_back", "{failed}");

    // A person stops it at a step; the coordinator dies first, and what stands, stands.
    let slow = json!({ "steps": ["20%", "100%"], "watch": "10m", "keep_old": "1m", "min_ready": "1s" });
    let held = green.with("strategy", json!({ "blue_green": slow }));
    fleet.deploy_detached(&held);
    wait_for_share(&fleet, 200);
    fleet.kill_coordinator();
    assert_eq!(share(&fleet), 200);
    fleet.cli.run(&["rollout", "abort", "web", "--yes"]).expect_code(0);
    fleet.wait_for_outcome("aborted");
    let answers = load.end();
    answers.expect_none_lost();
    let shares = (answers.whole["v1"], answers.whole["v2"]);
    assert!(shares.1 * 2 < shares.0, "a fifth at most went to green: {shares:?}");
    fleet.wait_until_serving("v1", 2, STOPPED);
    process.stop(Duration::from_secs(40));
}

/// Hosts that hold one instance of 32 MiB each.
const ONE_EACH: &str = "max_memory = \"48MiB\"\n";

#[test]
fn green_stands_on_other_hosts_where_blue_is_all_that_fits() {
    let policy = ONE_EACH.to_owned();
    let lab = Lab::enter();
    let mut fleet = Fleet::start_with(lab, "apart", 4, FleetOptions { policy, ..FleetOptions::default() });
    let strategy = |steps: Value, watch: &str, keep_old: &str| json!({ "blue_green": { "steps": steps, "watch": watch, "keep_old": keep_old, "min_ready": "1s" } });
    let at_once = || strategy(json!(["100%"]), "2s", "10m");
    let (blue, green) = (
        web(&fleet, "v1", &json!(["100%"])).with("strategy", at_once()),
        web(&fleet, "v2", &json!(["100%"])).with("strategy", strategy(json!(["10%", "100%"]), "2s", "10m")),
    );
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut process = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&blue, "r1");
    ingress::wait_until_routed(&at, "v1");
    let on = |fleet: &Fleet, version: &str| -> Vec<String> {
        let release = json!(version);
        let status = fleet.status();
        let of = status["instances"].as_array().expect("instances").iter();
        let hosts = of.filter(|of| of["release"] == release && of["state"] == "healthy");
        let mut hosts: Vec<String> =
            hosts.map(|of| of["host"].as_str().unwrap_or_default().to_owned()).collect();
        hosts.sort();
        hosts
    };
    let blue_on = on(&fleet, "r1");

    // If no other host takes one, it says so of each.
    let file = green.write(&fleet.folder, "green.yaml").display().to_string();
    let free: Vec<String> = fleet.hosts.iter().map(|host| host.name.clone()).collect();
    let free: Vec<&String> = free.iter().filter(|host| !blue_on.contains(host)).collect();
    free.iter().for_each(|host| drop(fleet.cli.ok(&["host", "cordon", host])));
    let refused = fleet.cli.run(&["plan", "-f", &file]).stdout;
    assert!(refused.contains("cannot be done:") && refused.contains("and on no other host:"), "{refused}");
    assert!(refused.contains(&format!("{}: the host is cordoned", free[0])), "{refused}");
    free.iter().for_each(|host| drop(fleet.cli.ok(&["host", "uncordon", host])));

    // A plan says where it goes, and it goes there.
    let plan = fleet.cli.run(&["plan", "-f", &file]).expect_code(10).stdout;
    assert!(plan.contains("cannot hold both releases of default/web/"), "{plan}");
    assert!(plan.contains("runs on until the rollout is over"), "{plan}");
    let load = Load::begin(&at, NAME, "/version", 500);
    fleet.deploy_ok(&green, "r2");
    assert_eq!((on(&fleet, "r1"), on(&fleet, "r2").len()), (blue_on.clone(), 2), "blue stays warm");
    let status = fleet.status();
    assert_eq!((&status["wanted"], &status["available"]), (&json!(2), &json!(2)), "{status}");
    let told = fleet.cli.run(&["explain", "web"]).expect_code(0).stdout;
    assert!(told.contains("cannot hold both releases"), "{told}");

    // Back by weight: nothing starts.
    let asked = load.now();
    fleet.cli.run(&["rollback", "web", "--timeout", "1m", "-o", "json"]).expect_code(0);
    let answers = load.end();
    answers.expect_none_lost();
    let last = answers.last_of("v2").expect("green answered").saturating_sub(asked);
    println!(
        "rollback: {} requests, the last response of green {last:?} after the command",
        answers.answered()
    );
    assert!(last < BACK, "{last:?}");
    fleet.wait_until_serving("v1", 2, STOPPED);
    assert_eq!(on(&fleet, "r1"), blue_on);

    // Green fails on its way, and then a person stops it at a step while the coordinator dies.
    let load = Load::begin(&at, NAME, "/version", 500);
    let bad = web(&fleet, "crash", &json!(["100%"])).with("strategy", at_once());
    let failed = fleet.deploy(&bad).expect_code(3).last();
    assert_eq!(failed["outcome"], "rolled_back", "{failed}");
    fleet.deploy_detached(&green.clone().with("strategy", strategy(json!(["20%", "100%"]), "10m", "1m")));
    wait_for_share(&fleet, 200);
    fleet.kill_coordinator();
    fleet.cli.run(&["rollout", "abort", "web", "--yes"]).expect_code(0);
    fleet.wait_for_outcome("aborted");
    fleet.wait_until_serving("v1", 2, STOPPED);
    assert_eq!(on(&fleet, "r1"), blue_on);

    // The old set ends with keep_old, and a rollback after that starts one on other hosts again.
    let short = green.with("strategy", strategy(json!(["100%"]), "1s", "3s"));
    let file = short.write(&fleet.folder, "short.yaml").display().to_string();
    fleet.cli.run(&["deploy", "-f", &file, "--timeout", "2m"]).expect_code(0);
    wait::until("the old set has gone", Duration::from_secs(60), || {
        let running = fleet.count_running("v1");
        if running == 0 { Ok(()) } else { Err(running.to_string()) }
    });
    fleet.cli.run(&["rollback", "web", "--timeout", "2m"]).expect_code(0);
    load.end().expect_none_lost();
    fleet.wait_until_serving("v1", 2, Duration::from_secs(60));
    assert_eq!(on(&fleet, "r1"), blue_on, "where there is room");
    process.stop(Duration::from_secs(40));
}
