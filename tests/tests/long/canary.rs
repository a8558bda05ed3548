//! Canaries that are worse than the release before in one way each, canaries that nobody can judge, and a coordinator that dies
//! at each step.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::fleet::FleetOptions;
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Lab, Load, Process, Service, wait};

const STEP: Duration = Duration::from_secs(120);

/// Three instances behind the name of the lab; a canary of 20 % and 50 %, judged by one gate.
fn web(fleet: &Fleet, tag: &str, gate: &Value) -> Service {
    let canary = json!({ "steps": ["20%", "50%"], "keep_old": "1m", "min_ready": "1s" });
    Service::web(&fleet.lab.image(tag), 3)
        .with("resources.memory", "64MiB")
        .with("route", json!({ "host": NAME, "port": "http" }))
        .with("gates", json!({ "gate": gate }))
        .with("strategy", json!({ "canary": canary }))
}

/// A fleet whose coordinator may ask addresses of the lab, an ingress on its first host, and its address.
fn fleet(name: &str) -> (Fleet, Process, String) {
    let settings = "[gates]\nallow = [\"10.0.0.0/8\"]\n".to_owned();
    let fleet =
        Fleet::start_with(Lab::enter(), name, 2, FleetOptions { settings, ..FleetOptions::default() });
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let process = ingress::start(&fleet, &edge, "ingress.log");
    (fleet, process, at)
}

/// Deploys what has to be stopped by its gate, under load. No request of the release before is lost.
#[track_caller]
fn expect_stopped(fleet: &Fleet, at: &str, bad: &Service, rate: u32) -> Value {
    let load = Load::begin(at, NAME, "/version", rate);
    let failed = fleet.deploy(bad).expect_code(3).last();
    let answers = load.end();
    assert_eq!(failed["outcome"], "rolled_back", "{failed}");
    fleet.wait_until_serving("v1", 3, Duration::from_secs(60));
    fleet.cli.run(&["explain", "web", "--recompute"]).expect_code(0);
    let verdicts = fleet.verdicts();
    let last = verdicts.last().cloned().unwrap_or_default();
    println!("{} requests, {} failed: {last}", answers.answered(), answers.failed);
    answers.expect_none_lost();
    last
}

#[test]
fn canaries_that_are_worse_are_stopped_by_evidence() {
    let (fleet, mut process, at) = fleet("worse");
    let window = |ask: Value| {
        let mut gate = json!({ "window": "10s", "passes": 3 });
        gate.as_object_mut().expect("an object").extend(ask.as_object().cloned().unwrap_or_default());
        gate
    };
    let latency = window(json!({ "p95": { "max": "1s", "min_requests": 50 } }));
    let good = web(&fleet, "v1", &latency).with("env.LATENCY_MS", "40");
    fleet.deploy_ok(&good, "r1");
    ingress::wait_until_routed(&at, "v1");

    // Twice the latency of the release before, far below the limit.
    let slow = web(&fleet, "v2", &latency).with("env.LATENCY_MS", "80");
    let verdict = expect_stopped(&fleet, &at, &slow, 200);
    assert_eq!((&verdict["gate"], &verdict["verdict"]), (&json!("gate"), &json!("fail")), "{verdict:#}");

    // It exits after 30 s, and is started again.
    let crashes = window(json!({ "crashes": { "max": 0 } }));
    let crash = web(&fleet, "v4", &crashes).with("env.EXIT_AFTER_MS", "30000").with("env.LATENCY_MS", "40");
    let load = Load::begin(&at, NAME, "/version", 100);
    let failed = fleet.deploy(&crash).expect_code(3).last();
    let answers = load.end();
    println!("crash after 30 s: {} requests, {} failed", answers.answered(), answers.failed);
    assert_eq!(failed["outcome"], "rolled_back", "{failed}");
    // Requests under way on the process that ended, and nothing else.
    assert!(answers.failed * 100 < answers.answered(), "{answers:?}");
    fleet.wait_until_serving("v1", 3, Duration::from_secs(60));

    // Its memory grows while it is judged.
    let memory = window(json!({ "memory": { "max": "60%" } }));
    let grows = web(&fleet, "v2", &memory)
        .with("env.HOG_MEMORY_MB", "48")
        .with("env.HOG_AFTER_MS", "15000")
        .with("env.LATENCY_MS", "41");
    let verdict = expect_stopped(&fleet, &at, &grows, 100);
    assert_eq!(verdict["verdict"], "fail", "{verdict:#}");
    process.stop(Duration::from_secs(40));
}

#[test]
fn canaries_that_nobody_can_judge_are_paused() {
    let (fleet, mut process, at) = fleet("unjudged");
    let errors = json!({ "error_rate": { "max": "1%", "min_requests": 100 }, "window": "10s", "passes": 2 });
    fleet.deploy_ok(&web(&fleet, "v1", &errors), "r1");
    ingress::wait_until_routed(&at, "v1");

    // Nobody sends a request.
    let paused = fleet.deploy(&web(&fleet, "v2", &errors)).expect_code(4).last();
    println!("{paused}");
    let rollout = fleet.rollout();
    assert_eq!(
        (&rollout["state"], &rollout["traffic"]["weight"]),
        (&json!("paused"), &json!(200)),
        "{rollout:#}"
    );
    let verdicts = fleet.verdicts();
    assert!(verdicts.iter().all(|verdict| verdict["verdict"] == "inconclusive"), "{verdicts:#?}");
    fleet.cli.run(&["rollout", "abort", "web", "--yes"]).expect_code(0);
    fleet.wait_for_outcome("aborted");
    fleet.wait_until_serving("v1", 3, Duration::from_secs(60));

    // The metrics are out all the time: it has neither passed nor failed, and somebody is told.
    let url = format!("http://{}:9", fleet.lab.gateway());
    let out = json!({
        "prometheus": { "url": url, "query": "up", "max": 1, "timeout": "2s" }, "window": "10s", "passes": 2,
    });
    let load = Load::begin(&at, NAME, "/version", 100);
    let paused = fleet.deploy(&web(&fleet, "v2", &out).with("env.N", "1")).expect_code(4).last();
    println!("{paused}");
    let verdicts = fleet.verdicts();
    assert!(verdicts.iter().all(|verdict| verdict["verdict"] == "provider_error"), "{verdicts:#?}");
    let events = fleet.cli.run(&["events", "-o", "json"]).expect_code(0).stdout;
    assert!(events.contains("rollout.paused"), "{events}");
    // It goes on where it was told to, without the gate; the audit log says who.
    fleet.cli.run(&["rollout", "resume", "web"]).expect_code(0);
    fleet.cli.run(&["rollout", "promote", "web", "--full"]).expect_code(0);
    fleet.wait_for_outcome("succeeded");
    load.end().expect_none_lost();
    process.stop(Duration::from_secs(40));
}

#[test]
fn a_coordinator_that_dies_at_each_step_loses_nothing() {
    let (mut fleet, mut process, at) = fleet("dies");
    let errors = json!({ "error_rate": { "max": "1%", "min_requests": 50 }, "window": "10s", "passes": 1 });
    fleet.deploy_ok(&web(&fleet, "v1", &errors), "r1");
    ingress::wait_until_routed(&at, "v1");
    let load = Load::begin(&at, NAME, "/version", 500);
    fleet.deploy_detached(&web(&fleet, "v2", &errors));
    for step in 1..=3 {
        fleet.wait_for_step(step, STEP);
        fleet.kill_coordinator();
    }
    fleet.wait_for_outcome("succeeded");
    // And on the way back, which a person asked for at the first step.
    fleet.deploy_detached(&web(&fleet, "v4", &errors));
    fleet.wait_for_step(1, STEP);
    fleet.cli.run(&["rollout", "abort", "web", "--yes"]).expect_code(0);
    fleet.kill_coordinator();
    fleet.wait_for_outcome("aborted");
    let answers = load.end();
    println!("{} requests", answers.answered());
    answers.expect_none_lost();
    assert_eq!(fleet.count_running("v4"), 0);
    process.stop(Duration::from_secs(40));
}

#[test]
fn a_canary_that_fails_everything_is_away_in_seconds() {
    let (fleet, mut process, at) = fleet("all");
    let errors = json!({ "error_rate": { "max": "1%", "min_requests": 100 }, "window": "1m", "passes": 3 });
    fleet.deploy_ok(&web(&fleet, "v1", &errors), "r1");
    ingress::wait_until_routed(&at, "v1");
    let mut took = Vec::new();
    for n in 1..=5 {
        let load = Load::begin(&at, NAME, "/version", 300);
        let bad = web(&fleet, "v2", &errors).with("env.FAIL_PERCENT", "100").with("env.N", n.to_string());
        fleet.deploy(&bad).expect_code(3);
        let (first, last) = load.end().failed_at.expect("a fifth of the requests failed");
        took.push(last - first);
    }
    took.sort();
    println!("first bad answer to the last one: median {:?} of {took:?}", took[2]);
    assert!(took[4] < Duration::from_secs(15), "{took:?}");

    // Two in a hundred, where one is allowed: no single window of a few requests would show it.
    let two = web(
        &fleet,
        "v4",
        &json!({ "error_rate": { "max": "1%", "min_requests": 500 }, "window": "15s", "passes": 3 }),
    );
    let load = Load::begin(&at, NAME, "/version", 400);
    let failed = fleet.deploy(&two.with("env.FAIL_PERCENT", "2")).expect_code(3).last();
    let answers = load.end();
    println!("2 % of errors: {} of {} requests failed: {failed}", answers.failed, answers.answered());
    assert!(answers.failed * 100 < answers.answered(), "2 % of a fifth: {answers:?}");
    let verdicts = fleet.verdicts();
    assert!(verdicts.iter().filter(|verdict| verdict["verdict"] == "fail").count() >= 2, "{verdicts:#?}");
    process.stop(Duration::from_secs(40));
}

#[test]
fn a_failed_canary_found_by_its_cookie_is_kept_for_people() {
    let (fleet, mut process, at) = fleet("cookie");
    let errors = json!({ "error_rate": { "max": "1%", "min_requests": 50 }, "window": "10s", "passes": 1, "from_step": 2 });
    let dry =
        json!({ "crashes": { "max": 0 }, "window": "10s", "passes": 1, "dry_run": true, "from_step": 1 });
    let steps = json!([
        { "match": { "cookie": { "beta": "1" } }, "approve": true, "gates": [] },
        { "weight": "20%", "gates": [] },
    ]);
    let of = |tag: &str| {
        let canary = json!({ "steps": steps, "keep_failed": "10m", "min_ready": "1s" });
        web(&fleet, tag, &errors)
            .with("gates", json!({ "errors": errors, "looks": dry }))
            .with("strategy", json!({ "canary": canary }))
    };
    fleet.deploy_ok(&of("v1"), "r1");
    ingress::wait_until_routed(&at, "v1");
    fleet.deploy_detached(&of("v2").with("env.FAIL_PERCENT", "50"));
    fleet.wait_for_step(1, STEP);
    let answered = |cookie: &str| {
        let output = std::process::Command::new("curl")
            .args(["--silent", "--max-time", "5", "--header", &format!("Host: {NAME}"), "--header"])
            .args([&format!("Cookie: {cookie}"), &format!("http://{at}/health")])
            .output()
            .expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(answered("a=b; beta=1").contains("v2"), "who has the cookie gets it");
    assert!(answered("beta=2").contains("v1"), "nobody else does");
    wait::until("a dry run is judged", STEP, || {
        let judged = fleet.verdicts();
        if judged.iter().any(|verdict| verdict["gate"] == "looks") {
            Ok(())
        } else {
            Err(format!("{judged:?}"))
        }
    });
    let load = Load::begin(&at, NAME, "/version", 300);
    fleet.cli.run(&["rollout", "promote", "web"]).expect_code(0);
    fleet.wait_for_outcome("rolled_back");
    let answers = load.end();
    assert!(answers.failed > 0 && answers.failed * 8 < answers.answered(), "half of a fifth: {answers:?}");
    let running: usize = fleet.hosts.iter().map(|host| host.running_ids("web").len()).sum();
    assert!(fleet.count_running("v1") == 3 && running > 3, "it runs on without requests: {running}");
    assert!(answered("beta=1").contains("v1"));
    process.stop(Duration::from_secs(40));
}
