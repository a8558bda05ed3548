//! An engine that hangs, is stopped, or is killed and comes back. It is called unavailable and nothing that runs on it
//! unhealthy; no release fails for it and nothing is rolled back.

use std::time::Duration;

use serde_json::Value;
use windlass_tests::{Endpoints, Fleet, Host, Service, wait};

fn is_unavailable(view: &Value) -> bool {
    view["engine"]["unavailable"].is_string() && view["state"] == "connected"
}

/// Waits until the coordinator says that the engine is away, and that of no instance that it is not well.
fn wait_until_said(fleet: &Fleet, host: &Host) {
    fleet.wait_for_view(
        &host.name,
        "that its engine is unavailable",
        Duration::from_secs(45),
        is_unavailable,
    );
    let status = fleet.status();
    for instance in status["instances"].as_array().unwrap() {
        let state = instance["state"].as_str().unwrap();
        assert!(!["failed", "unready", "refused"].contains(&state), "{status}");
    }
}

fn wait_until_back(fleet: &Fleet, host: &Host) {
    let is_back = |view: &Value| view["engine"] == "available";
    fleet.wait_for_view(&host.name, "that its engine answers", Duration::from_secs(30), is_back);
}

#[test]
fn hanging_or_stopped_engine_is_waited_for_in_a_rollout() {
    let fleet = Fleet::start("engines", 2);
    let web = |tag: &str, ready_after: u32| {
        let service = Service::web(&fleet.lab.image(tag), 2).with("progress_deadline", "90s");
        service.with("env.READY_AFTER_MS", ready_after.to_string())
    };
    fleet.deploy_ok(&web("v1", 0), "r1");
    let host = &fleet.hosts[0];

    // It hangs while a new instance starts, which is ready when it is told to be: what runs goes on, whoever cannot be asked.
    let old = Endpoints::of(host, "web");
    let when_told = web("v2", 0).with("env.NEVER_READY", "1").with("health.startup.failures", 170);
    fleet.deploy_detached(&when_told);
    fleet.wait_for_release(host, "r2");
    let both = Endpoints::of(host, "web");
    fleet.lab.script("host.sh", &["engine-freeze", &host.name]);
    wait_until_said(&fleet, host);
    assert_eq!(old.versions(), ["v1"], "it serves, whatever its engine does");
    wait::until("the rollout says what it waits for", Duration::from_secs(10), || {
        let rollout = fleet.rollout();
        let waits = rollout["waiting"].to_string();
        if waits.contains("engine of host") { Ok(()) } else { Err(rollout.to_string()) }
    });
    both.ask("/be?ready=1");
    fleet.lab.script("host.sh", &["engine-thaw", &host.name]);
    wait_until_back(&fleet, host);
    wait::until("the rollout has ended", Duration::from_secs(120), || {
        fleet.hosts.iter().for_each(|host| Endpoints::of(host, "web").ask("/be?ready=1"));
        let rollout = fleet.rollout();
        if rollout["outcome"].is_string() { Ok(()) } else { Err(rollout.to_string()) }
    });
    let rollout = fleet.wait_for_outcome("succeeded");
    assert_eq!(rollout["failures"], serde_json::json!([]), "{rollout}");
    assert_eq!(rollout["stragglers"], serde_json::json!([]), "{rollout}");
    fleet.wait_until_serving("v2", 2, Duration::from_secs(10));

    // It is stopped in order, and its containers with it, among them one that has not proven itself.
    fleet.deploy_detached(&web("v4", 2500));
    fleet.wait_for_release(host, "r3");
    fleet.lab.script("host.sh", &["engine-stop", &host.name]);
    wait_until_said(&fleet, host);
    fleet.lab.script("host.sh", &["engine-start", &host.name]);
    let rollout = fleet.wait_for_outcome("succeeded");
    assert_eq!(rollout["failures"], serde_json::json!([]), "{rollout}");
    fleet.wait_until_serving("v4", 2, Duration::from_secs(20));

    // It is killed at rest: whoever ends its containers, they are started again, and nobody is blamed.
    let other = fleet.hosts[1].running_ids("web");
    fleet.lab.script("host.sh", &["engine-kill", &host.name]);
    wait_until_said(&fleet, host);
    fleet.lab.script("host.sh", &["engine-start", &host.name]);
    wait_until_back(&fleet, host);
    fleet.wait_until_serving("v4", 2, Duration::from_secs(20));
    assert_eq!(fleet.hosts[1].running_ids("web"), other, "the other host was left alone");
    wait::until("status is steady again", Duration::from_secs(10), || {
        let status = fleet.status();
        if status["state"] == "steady" && status["release"] == "r3" {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}
