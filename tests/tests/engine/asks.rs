//! Warm-up, smoke tests and checks of a manifest, asked by the hosts.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use windlass_tests::{Fleet, Service};

/// A smoke test of `/health` that wants `database` to be `connected`.
fn connected() -> serde_json::Value {
    json!({ "http": "/health", "expect": { "json": { "/status": "ok", "/database": "connected" } }, "tries": 2, "every": "100ms" })
}

fn database(service: Service, state: &str) -> Service {
    service.with("env", json!({ "HEALTH_EXTRA": format!("\"database\":\"{state}\"") }))
}

/// Every container of every host, by the engine's id.
fn containers(fleet: &Fleet) -> BTreeSet<String> {
    let all = fleet.hosts.iter().flat_map(|host| host.engine.containers("web").unwrap());
    all.map(|container| container.id).collect()
}

#[test]
fn what_is_asked_before_and_after_a_start_decides_the_rollout() {
    let fleet = Fleet::start("asks", 2);
    let web = |version: &str| Service::web(&fleet.lab.image(version), 2);
    let check = |address: &str| json!([{ "name": "registry", "tcp": address }]);
    let good = database(web("v1"), "connected")
        .with("checks", check(&fleet.lab.registry()))
        .with("warm_up", json!([{ "http": "/", "times": 20, "timeout": "5s" }]))
        .with("smoke", json!([connected(), { "http": "/predictions", "method": "POST", "body": "{}" }]));
    fleet.deploy_ok(&good, "r1");

    // A host that cannot reach what the release needs touches nothing.
    let before = containers(&fleet);
    let closed = format!("{}:1", fleet.lab.gateway());
    let checks = json!([{ "name": "database", "postgres": closed }, { "name": "cache", "redis": closed }]);
    let output = fleet.deploy(&web("v2").with("checks", checks));
    assert!([1, 3].contains(&output.code), "{output}");
    let refused = fleet.rollout()["failures"][0]["refused"].clone();
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert_eq!(refused["code"], "check_failed", "{refused}");
    for name in ["database (postgres ", "cache (redis "] {
        assert!(detail.contains(name) && detail.contains("connection refused"), "{refused}");
    }
    assert_eq!(containers(&fleet), before, "no container was made, stopped or removed");

    // One whose database is away is healthy, and does not pass.
    let down = database(web("v2"), "down").with("smoke", json!([connected()]));
    let end = fleet.deploy(&down).expect_code(3);
    assert_eq!(end.last()["outcome"], "rolled_back", "{end}");
    let reason = fleet.rollout()["failures"][0]["evidence"]["reason"]["smoke_failed"]["test"].clone();
    assert_eq!((&reason["asked"], &reason["got"]), (&"GET /health".into(), &"\"down\"".into()), "{reason}");
    assert_eq!((&reason["tries"], &reason["status"]), (&2.into(), &200.into()), "{reason}");
    let explained = fleet.cli.ok(&["explain", "web"]);
    let words = "smoke test GET /health: wanted /database = \"connected\", got \"down\"";
    assert!(explained.stdout.contains(words), "{explained}");
    assert!(explained.stdout.contains("answer: HTTP 200"), "{explained}");
    fleet.wait_until_serving("v1", 2, Duration::from_secs(15));

    // One that is asked later has served by then.
    let late = json!([{ "http": "/sync/status", "expect": { "json": { "/sync": "done" } }, "tries": 1, "after": "8s", "timeout": "2s" }]);
    let output = fleet.deploy(&web("v4").with("smoke", late).with("soak", "15s")).expect_code(3);
    assert_eq!(output.last()["outcome"], "rolled_back", "{output}");
    let evidence = fleet.rollout()["failures"][0]["evidence"].clone();
    assert_eq!(evidence["clock"], "soak", "{evidence}");
    assert_eq!(evidence["reason"]["smoke_failed"]["test"]["got"], "nothing there", "{evidence}");
    fleet.wait_until_serving("v1", 2, Duration::from_secs(15));

    assert_eq!(fleet.status()["release"], "r1");
}
