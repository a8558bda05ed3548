//! Triggers on real requests: a release that fails a share of them goes back while it soaks, one that turns bad after its
//! rollout goes back within `for`, through a coordinator that was killed, also by one of its instances; and a route is not left
//! without an answer.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::fleet::path;
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Load, Service, http, wait};

fn web(fleet: &Fleet, tag: &str, rollback_on: &Value) -> Service {
    Service::web(&fleet.lab.image(tag), 2)
        .with("route", json!({ "host": NAME, "port": "http" }))
        .with("drain_timeout", "5s")
        .with("rollback_on", rollback_on.clone())
}

/// The decision of `explain` that was made for a trigger, and its figures.
fn fired(fleet: &Fleet) -> Value {
    let told = fleet.cli.json(&["explain", "web"]);
    let decisions = told["decisions"].as_array().cloned().unwrap_or_default();
    let fired = decisions.into_iter().find(|decision| !decision["reason"]["trigger"].is_null());
    fired.unwrap_or_else(|| panic!("no trigger fired: {told:#}"))
}

#[test]
fn a_release_that_answers_with_errors_goes_back() {
    let mut fleet = Fleet::start("triggers", 2);
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut process = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web(&fleet, "v1", &json!({})), "r1");
    ingress::wait_until_routed(&at, "v1");

    // One of five requests fails: too often while it soaks, although every probe is content.
    let load = Load::begin(&at, NAME, "/version", 60);
    let bad = web(&fleet, "errors", &json!({ "error_rate": { "max": "5%", "min_requests": 50 } }))
        .with("env.FAIL_PERCENT", "20")
        .with("soak", "1m");
    let failed = fleet.deploy(&bad).expect_code(3).last();
    assert_eq!(failed["outcome"], "rolled_back", "{failed}");
    let decision = fired(&fleet);
    let figures = &decision["reason"]["trigger"]["figures"];
    assert_eq!(decision["reason"]["trigger"]["what"], "error_rate", "{decision:#}");
    let number = |key: &str| figures[key].as_u64().unwrap_or_default();
    let (requests, errors) = (number("requests"), number("errors"));
    assert!(requests >= 50 && errors * 20 > requests && errors * 2 < requests, "{figures:#}");
    assert_eq!((number("reporting"), number("ingresses")), (1, 1), "{figures:#}");
    let told = fleet.cli.run(&["explain", "web"]).expect_code(0).stdout;
    assert!(told.contains("error rate ") && told.contains("at most 5 %"), "{told}");
    assert!(told.contains("1 of 1 ingresses reported"), "{told}");
    load.end();
    fleet.wait_until_serving("v1", 2, Duration::from_secs(30));

    // This one succeeds, and is watched; the coordinator dies meanwhile, and the release turns bad after that.
    let watched = json!({ "status_5xx": { "count": 10, "within": "1m" }, "for": "10m" });
    fleet.deploy_ok(&web(&fleet, "v2", &watched), "r3");
    let status = fleet.status();
    assert_eq!(
        (&status["watch"]["release"], &status["watch"]["back_to"]),
        (&json!("r3"), &json!("r1")),
        "{status:#}"
    );
    let shown = fleet.cli.run(&["status", "web"]).expect_code(0).stdout;
    assert!(shown.contains("r3 goes back to r1 if a trigger fires"), "{shown}");
    fleet.server.kill_9();
    fleet.server.start_again();
    fleet.wait_for_server();
    fleet.wait_for_host(&edge.name, "connected");
    wait::until("failures bring r1 back", Duration::from_secs(60), || {
        // The sample calls an address that does not answer, and says 502.
        let answer = http::get_of(&at, NAME, "/call?url=", Duration::from_secs(5));
        let rollout = fleet.rollout();
        if rollout["kind"] == "rollback" { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    fleet.wait_for_outcome("succeeded");
    fleet.wait_until_serving("v1", 2, Duration::from_secs(30));
    let rollout = fleet.rollout();
    assert_eq!((&rollout["actor"], &rollout["release"]), (&json!("windlass"), &json!("r1")), "{rollout:#}");
    let reason = rollout["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("answers with status 5xx"), "{rollout:#}");
    assert_eq!(fired(&fleet)["reason"]["trigger"]["figures"]["release"], "r3");
    let status = fleet.status();
    assert!(status["watch"].is_null() && status["release"] == "r1", "{status:#}");
    let saved = fleet.folder.join("audit.jsonl");
    fleet.cli.run(&["audit", "verify", "--save", path(&saved)]).expect_code(0);
    let audit = std::fs::read_to_string(&saved).unwrap();
    assert!(audit.contains("release.rollback") && audit.contains("answers with status 5xx"), "{audit}");

    // It serves a name: nobody takes that away by mistake.
    let refused = fleet.cli.run(&["rm", "web", "--yes", "-o", "json"]).expect_code(1);
    assert!(refused.error().to_string().contains("--force"), "{:?}", refused.error());
    ingress::wait_until_routed(&at, "v1");
    fleet.cli.run(&["rm", "web", "--yes", "--force", "--timeout", "1m"]).expect_code(0);
    process.stop(Duration::from_secs(40));
}

/// `windlass` begins a rollback to `release` within `limit`, and its reason has these words.
fn goes_back_by_itself(fleet: &Fleet, release: &str, words: &str, limit: Duration) {
    wait::until("a rollback begins by itself", limit, || {
        let rollout = fleet.rollout();
        let begun = rollout["kind"] == "rollback" && rollout["release"] == release;
        if begun && rollout["actor"] == "windlass" { Ok(()) } else { Err(format!("{rollout:#}")) }
    });
    fleet.wait_for_outcome("succeeded");
    let reason = fleet.rollout()["reason"].to_string();
    assert!(reason.contains(words), "{reason}");
}

#[test]
fn restarts_after_the_success_bring_a_release_back() {
    let mut fleet = Fleet::start("triggers-after", 2);
    let hosts = [fleet.hosts[0].clone(), fleet.hosts[1].clone()];
    let watched = |fleet: &Fleet, tag: &str| {
        Service::web(&fleet.lab.image(tag), 2)
            .with("rollback_on", json!({ "restarts": 2, "unhealthy_for": "20s", "for": "1h" }))
    };
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), 2), "r1");
    fleet.deploy_ok(&watched(&fleet, "v2"), "r2");
    assert_eq!(fleet.status()["watch"]["back_to"], "r1");

    // A restart that a person asks for counts for nothing, and the watch goes on with the new instances.
    fleet.cli.ok(&["restart", "web", "--timeout", "2m"]);
    // It exits once; the coordinator is killed, and it exits once more.
    let exit = |fleet: &Fleet| {
        let port = fleet.wait_for_release(&hosts[0], "r2");
        drop(http::get(&format!("{}:{port}", hosts[0].address), "/exit?code=7", Duration::from_secs(5)));
    };
    exit(&fleet);
    wait::until("the restart is seen", Duration::from_secs(60), || {
        let status = fleet.status();
        if status["restarts"] == 1 { Ok(()) } else { Err(status.to_string()) }
    });
    fleet.server.kill_9();
    fleet.server.start_again();
    fleet.wait_for_server();
    hosts.iter().for_each(|host| fleet.wait_for_host(&host.name, "connected"));
    let status = fleet.status();
    assert_eq!((&status["release"], &status["watch"]["back_to"]), (&json!("r2"), &json!("r1")), "{status:#}");
    wait::until("both serve again", Duration::from_secs(60), || {
        let serving = fleet.serving();
        if serving.len() == 2 { Ok(()) } else { Err(format!("{serving:?}")) }
    });
    exit(&fleet);
    goes_back_by_itself(&fleet, "r1", "2 restarts of default.web.", Duration::from_secs(90));
    assert_eq!(fired(&fleet)["reason"]["trigger"]["what"], "restarts");
    assert!(fleet.status()["watch"].is_null());

    fleet.wait_until_serving("v1", 2, Duration::from_secs(60));
}
