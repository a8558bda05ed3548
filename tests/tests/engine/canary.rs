//! Canaries behind an ingress, with real traffic: one that is well passes its gates and is approved, through a coordinator that
//! is killed; one that fails a share of its requests is stopped by its gate, with the counts that decided.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Load, Service, http};

/// Three instances; a canary of these steps, whose gate wants two windows of 10 s with at most 2 % of errors.
fn web(fleet: &Fleet, tag: &str, steps: &Value) -> Service {
    let canary = json!({ "steps": steps, "keep_old": "10m", "min_ready": "1s" });
    let errors = json!({ "error_rate": { "max": "2%", "min_requests": 100 }, "window": "10s", "passes": 2 });
    Service::web(&fleet.lab.image(tag), 3)
        .with("route", json!({ "host": NAME, "port": "http" }))
        .with("gates", json!({ "errors": errors }))
        .with("strategy", json!({ "canary": canary }))
}

fn wait_for_step(fleet: &Fleet, step: u64) {
    fleet.wait_for_step(step, Duration::from_secs(90));
}

/// The version that answers a request with this header.
fn answer(at: &str, header: &str) -> String {
    let curl = std::process::Command::new("curl")
        .args(["--silent", "--fail", "--max-time", "5", "--header"])
        .arg(format!("Host: {NAME}"))
        .args(["--header", header, &format!("http://{at}/version")])
        .output()
        .expect("curl runs");
    String::from_utf8_lossy(&curl.stdout).into_owned()
}

#[test]
fn a_canary_that_is_well_gets_all_of_the_traffic() {
    let mut fleet = Fleet::start("canary", 2);
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut process = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web(&fleet, "v1", &json!(["10%"])), "r1");
    ingress::wait_until_routed(&at, "v1");

    let load = Load::begin(&at, NAME, "/version", 300);
    let steps = json!([
        { "match": { "header": { "x-canary": "1" } }, "hold": "5s" },
        { "weight": "20%" },
        { "weight": "50%", "gates": [], "approve": true },
    ]);
    fleet.deploy_detached(&web(&fleet, "v2", &steps));
    wait_for_step(&fleet, 1);
    assert_eq!((fleet.count_running("v1"), fleet.count_running("v2")), (3, 1));
    assert!(answer(&at, "x-canary: 1").contains("v2"), "who asks for it gets it");
    assert!(answer(&at, "x-canary: 2").contains("v1"), "nobody else does, without any weight");
    wait_for_step(&fleet, 2);
    // The coordinator dies within the windows of the gate; they begin anew with it.
    fleet.kill_coordinator();
    wait_for_step(&fleet, 3);
    let passed = fleet.verdicts();
    assert!(passed.len() >= 2 && passed.iter().all(|verdict| verdict["gate"] == "errors"), "{passed:#?}");
    assert_eq!(fleet.count_running("v2"), 2, "half of three, rounded up");
    let asked = fleet.rollout();
    assert_eq!((&asked["asks"]["step"], &asked["state"]), (&json!(3), &json!("advancing")), "{asked:#}");
    let refused = fleet.cli.run(&["rollout", "approve", "web", "--yes"]);
    assert!(refused.expect_code(1).stderr.contains("somebody else has to approve it"));
    fleet.cli.run(&["rollout", "promote", "web"]).expect_code(0);
    fleet.wait_for_outcome("succeeded");
    let answers = load.end();
    answers.expect_none_lost();
    assert!(answers.whole["v2"] > 0, "{answers:?}");
    assert_eq!((fleet.count_running("v1"), fleet.count_running("v2")), (3, 3), "the old ones stay warm");
    let told = fleet.cli.run(&["explain", "web", "--recompute"]).expect_code(0).stdout;
    assert!(told.contains("errors") && told.contains("pass"), "{told}");
    let told = fleet.cli.run(&["explain", "web"]).expect_code(0).stdout;
    assert!(told.contains("gave r2 20% of the traffic: step 2 of 4"), "{told}");
    process.stop(Duration::from_secs(40));
}

#[test]
fn a_canary_that_fails_requests_is_stopped_by_its_gate() {
    let fleet = Fleet::start("badcanary", 2);
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut process = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web(&fleet, "v1", &json!(["10%"])), "r1");
    ingress::wait_until_routed(&at, "v1");

    let load = Load::begin(&at, NAME, "/version", 300);
    let bad = web(&fleet, "errors", &json!(["20%", "50%"])).with("env.FAIL_PERCENT", "10");
    let failed = fleet.deploy(&bad).expect_code(3).last();
    assert_eq!(failed["outcome"], "rolled_back", "{failed}");
    let answers = load.end();
    let all = answers.answered() + answers.failed;
    assert!(answers.failed > 0 && answers.failed * 20 < all, "a tenth of a fifth at most: {answers:?}");
    fleet.wait_until_serving("v1", 3, Duration::from_secs(15));
    let judged = fleet.verdicts();
    let last = judged.last().expect("a verdict");
    assert_eq!(last["verdict"], "fail", "{last:#}");
    let told = fleet.cli.run(&["explain", "web"]).expect_code(0).stdout;
    assert!(told.contains("errors") && told.contains("at most 2 %"), "{told}");
    fleet.cli.run(&["explain", "web", "--recompute"]).expect_code(0);
    let status = http::get_of(&at, NAME, "/version", Duration::from_secs(5)).expect("it answers");
    assert!(status.body.contains("v1"), "{status:?}");
    process.stop(Duration::from_secs(40));
}
