//! Blue/green behind an ingress, at 500 requests a second: forward in steps, back by weight, back by failure, back by hand,
//! with a coordinator that is killed in between. No request is lost.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Load, Service, wait};

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
    assert!(last < Duration::from_secs(5), "{last:?}");
    assert_eq!((fleet.count_running("v1"), fleet.count_running("v2")), (2, 0));

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
    assert_eq!((fleet.count_running("v1"), fleet.count_running("v2")), (2, 0));
    process.stop(Duration::from_secs(40));
}
