//! Blue/green at each of its steps: aborted, failing, with a coordinator that dies, with a lost host in each colour, with an
//! ingress that cannot be reached at the switch; and 100,000 requests over a switch and its return.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Load, Process, Service, wait};

const STEPS: [u64; 3] = [1, 2, 3];
const STEP: Duration = Duration::from_secs(90);

fn web(fleet: &Fleet, tag: &str, watch: &str) -> Service {
    let strategy =
        json!({ "steps": ["10%", "50%", "100%"], "watch": watch, "keep_old": "10m", "min_ready": "1s" });
    Service::web(&fleet.lab.image(tag), 2)
        .with("route", json!({ "host": NAME, "port": "http" }))
        .with("drain_timeout", "5s")
        .with("rollback_on", json!({ "unhealthy_for": "10s" }))
        .with("strategy", json!({ "blue_green": strategy }))
}

fn fleet(name: &str, hosts: usize) -> (Fleet, Process, String) {
    let fleet = Fleet::start(name, hosts);
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let process = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web(&fleet, "v1", "1s"), "r1");
    ingress::wait_until_routed(&at, "v1");
    (fleet, process, at)
}

#[track_caller]
fn expect_blue(fleet: &Fleet) {
    wait::until("blue alone runs", Duration::from_secs(60), || {
        let running = (fleet.count_running("v1"), fleet.count_running("v2"));
        if running == (2, 0) { Ok(()) } else { Err(format!("{running:?}")) }
    });
}

#[test]
fn whatever_ends_a_switch_at_a_step_loses_nothing() {
    let (mut fleet, mut process, at) = fleet("ends", 2);
    let load = Load::begin(&at, NAME, "/version", 500);
    for step in STEPS {
        // A person stops it, twice, and the coordinator dies in between.
        fleet.deploy_detached(&web(&fleet, "v2", "10m").with("env.ABORTED", step.to_string()));
        fleet.wait_for_step(step_or_promote(&fleet, step), STEP);
        fleet.cli.run(&["rollout", "abort", "web", "--yes"]).expect_code(0);
        fleet.cli.run(&["rollout", "abort", "web", "--yes"]);
        fleet.kill_coordinator();
        fleet.wait_for_outcome("aborted");
        expect_blue(&fleet);
    }
    for step in STEPS {
        // Green turns unready on every host.
        let ill = web(&fleet, "v2", "10m").with("env.UNREADY_AFTER_MS", (20_000 + step).to_string());
        fleet.deploy_detached(&ill);
        fleet.wait_for_step(step_or_promote(&fleet, step), STEP);
        fleet.wait_for_outcome("rolled_back");
        expect_blue(&fleet);
    }
    let answers = load.end();
    println!("aborted and failing at each step: {} requests", answers.answered());
    answers.expect_none_lost();

    let load = Load::begin(&at, NAME, "/version", 500);
    fleet.deploy_detached(&web(&fleet, "v2", "5s"));
    for step in STEPS {
        fleet.wait_for_step(step, STEP);
        fleet.kill_coordinator();
    }
    fleet.wait_for_outcome("succeeded");
    fleet.cli.run(&["rollback", "web", "--timeout", "1m"]).expect_code(0);
    fleet.cli.run(&["rollback", "web", "--to", "r1", "--timeout", "1m"]);
    let answers = load.end();
    println!("forward with a coordinator that dies, and back: {} requests", answers.answered());
    answers.expect_none_lost();
    process.stop(Duration::from_secs(40));
}

/// Takes the rollout to `step` by promotion, since its watch is long.
#[track_caller]
fn step_or_promote(fleet: &Fleet, step: u64) -> u64 {
    for before in 1..step {
        fleet.wait_for_step(before, STEP);
        fleet.cli.run(&["rollout", "promote", "web"]).expect_code(0);
    }
    step
}

#[test]
fn a_lost_host_in_either_colour_leaves_a_whole_release() {
    let (mut fleet, mut process, at) = fleet("lost", 3);
    fleet.deploy_detached(&web(&fleet, "v2", "10m"));
    fleet.wait_for_step(1, STEP);
    // Both colours have an instance on each host that runs one; the ingress is not among what is lost.
    let lost =
        fleet.hosts.iter().rposition(|host| !host.running_ids("web").is_empty()).expect("a host runs some");
    assert_ne!(lost, 0, "the ingress stands on the first one");
    fleet.agents[lost].kill_9();
    let name = fleet.hosts[lost].name.clone();
    for id in fleet.hosts[lost].running_ids("web") {
        fleet.hosts[lost].engine.remove(&id).expect("it is removed");
    }
    fleet.wait_for_host(&name, "lost");
    let rollout = fleet.rollout();
    println!("{}: {}", rollout["state"], rollout["waiting"]);
    fleet.cli.run(&["rollout", "abort", "web", "--yes"]).expect_code(0);
    fleet.wait_for_outcome("aborted");
    let load = Load::begin(&at, NAME, "/version", 100);
    wait::until("requests are answered", Duration::from_secs(10), || {
        if load.answered() > 300 { Ok(()) } else { Err("not yet".to_owned()) }
    });
    let answers = load.end();
    answers.expect_none_lost();
    assert_eq!(answers.whole.keys().collect::<Vec<_>>(), ["v1"]);
    process.stop(Duration::from_secs(40));
}

#[test]
fn an_ingress_away_at_the_switch_holds_it() {
    let (fleet, mut process, at) = fleet("away", 2);
    let second = fleet.hosts[1].clone();
    let other = format!("{}:80", second.address);
    let mut away = ingress::start(&fleet, &second, "second.log");
    ingress::wait_until_routed(&other, "v1");
    let load = Load::begin(&at, NAME, "/version", 200);
    fleet.deploy_detached(&web(&fleet, "v2", "2s"));
    fleet.wait_for_step(1, STEP);
    away.signal("STOP");
    let waits = wait::until("the switch waits for it", Duration::from_secs(90), || {
        let rollout = fleet.rollout();
        let waiting: Value = rollout["waiting"].clone();
        if waiting.to_string().contains(&second.name) { Ok(waiting) } else { Err(format!("{rollout}")) }
    });
    println!("{waits}");
    assert_eq!(fleet.count_running("v1"), 2, "blue stays");
    away.signal("CONT");
    fleet.wait_for_outcome("succeeded");
    load.end().expect_none_lost();
    ingress::wait_until_routed(&other, "v2");
    away.stop(Duration::from_secs(40));
    process.stop(Duration::from_secs(40));
}

#[test]
fn a_hundred_thousand_requests_see_a_switch_and_its_return() {
    let (fleet, mut process, at) = fleet("many", 2);
    let load = Load::begin(&at, NAME, "/version", 1500);
    let mut green = false;
    while load.answered() < 100_000 && load.now() < Duration::from_secs(150) {
        if green {
            fleet.cli.run(&["rollback", "web", "--timeout", "1m"]).expect_code(0);
        } else {
            let at = load.answered().to_string();
            let end = fleet.deploy(&web(&fleet, "v2", "1s").with("env.AT", at)).expect_code(0).last();
            assert_eq!(end["outcome"], "succeeded", "{end}");
        }
        green = !green;
    }
    let answers = load.end();
    println!("{} requests in {:?}, {} lost", answers.answered(), answers.took, answers.failed);
    answers.expect_none_lost();
    assert!(answers.answered() >= 100_000, "{answers:?}");
    process.stop(Duration::from_secs(40));
}

#[test]
fn a_rollback_beside_a_rollout_counts_once() {
    let (mut fleet, mut process, at) = fleet("said", 2);
    fleet.deploy(&web(&fleet, "v2", "1s")).expect_code(0);
    ingress::wait_until_routed(&at, "v2");
    let preview =
        json!([{ "host": NAME, "port": "http" }, { "host": "next.lab", "port": "http", "preview": true }]);
    let load = Load::begin(&at, NAME, "/version", 500);
    fleet.deploy_detached(&web(&fleet, "v4", "10m").with("route", preview));
    fleet.wait_for_step(1, STEP);
    ingress::wait_until_answered(&at, "next.lab", "/version", "v4");
    fleet.cli.run(&["rollback", "web", "--detach"]).expect_code(0);
    fleet.kill_coordinator();
    fleet.cli.run(&["rollback", "web", "--timeout", "2m"]).expect_code(0);
    assert_eq!(fleet.status()["release"], "r2", "the one before, and not the one before that");
    wait::until("the new set is away", Duration::from_secs(60), || {
        let running = (fleet.count_running("v2"), fleet.count_running("v4"));
        if running == (2, 0) { Ok(()) } else { Err(format!("{running:?}")) }
    });
    let answers = load.end();
    answers.expect_none_lost();
    assert!(answers.last_of("v1").is_none(), "{answers:?}");
    process.stop(Duration::from_secs(40));
}
