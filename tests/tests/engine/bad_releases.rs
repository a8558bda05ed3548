//! Releases that do not work: the old one serves again, the command exits with 3, and says what it saw.

use std::time::Duration;

use serde_json::Value;
use windlass_tests::{Fleet, Service, Watch, http, wait};

const REPLICAS: u32 = 3;

/// Deploys v1 on two hosts, then `bad`, which must end as rolled back with v1 at full strength. Answers with the
/// fewest instances of v1 that answered meanwhile.
#[track_caller]
fn comes_back(fleet: &Fleet, bad: impl FnOnce(Service) -> Service) -> usize {
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), REPLICAS), "r1");
    let watch = Watch::begin("web", &fleet.hosts, &["v1"]);
    let output = fleet.deploy(&bad(Service::web(&fleet.lab.image("v2"), REPLICAS))).expect_code(3);
    fleet.wait_until_serving("v1", REPLICAS as usize, Duration::from_secs(10));
    let seen = watch.end();
    assert!(seen.silent.is_empty(), "{seen:#?}");
    let end = output.last();
    assert_eq!(end["outcome"], "rolled_back", "{end}");
    assert_eq!(fleet.status()["release"], "r1");
    seen.fewest
}

/// The evidence of the first failure, asked again of the coordinator.
#[track_caller]
fn evidence(fleet: &Fleet) -> Value {
    let rollout = fleet.rollout();
    let evidence = rollout["failures"][0]["evidence"].clone();
    assert!(evidence.is_object(), "no evidence in {rollout}");
    evidence
}

fn log(evidence: &Value) -> String {
    evidence["log"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn crash_at_start_rolls_back_with_exit_code_and_log() {
    let fleet = Fleet::start("crash", 2);
    let image = fleet.lab.image("crash");
    assert_eq!(comes_back(&fleet, |web| web.with("image", image)), 3, "the old release served all along");
    let evidence = evidence(&fleet);
    assert_eq!(evidence["exit_code"], 1, "{evidence}");
    assert!(log(&evidence).contains("cannot open the ledger"), "{evidence}");
}

#[test]
fn crash_after_healthy_rolls_back_during_the_soak() {
    let fleet = Fleet::start("crash-later", 2);
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), REPLICAS), "r1");
    fleet.deploy_detached(&Service::web(&fleet.lab.image("v2"), REPLICAS).with("soak", "1m"));
    // By then the old ones are stopped and kept, and come back by a start, without a pull.
    wait::until("it soaks", Duration::from_secs(60), || {
        let rollout = fleet.rollout();
        if rollout["state"] == "soaking" { Ok(()) } else { Err(rollout.to_string()) }
    });
    let host = &fleet.hosts[0];
    let port = fleet.wait_for_release(host, "r2");
    drop(http::get(&format!("{}:{port}", host.address), "/exit?code=1", Duration::from_secs(5))); // it hangs up
    fleet.wait_for_outcome("rolled_back");
    fleet.wait_until_serving("v1", REPLICAS as usize, Duration::from_secs(10));
    assert_eq!(fleet.status()["release"], "r1");
    let evidence = evidence(&fleet);
    assert_eq!((&evidence["clock"], &evidence["exit_code"]), (&"soak".into(), &1.into()), "{evidence}");
}

#[test]
fn a_release_that_is_never_ready_is_rolled_back_with_its_probes() {
    let fleet = Fleet::start("never-ready", 2);
    let image = fleet.lab.image("v3");
    assert_eq!(comes_back(&fleet, |web| web.with("image", image)), 3, "the old release served all along");
    let evidence = evidence(&fleet);
    assert_eq!(evidence["clock"], "health", "{evidence}");
    let probes = evidence["probes"].as_array().unwrap();
    assert!(probes.iter().any(|probe| probe["detail"].to_string().contains("503")), "{evidence}");
}

#[test]
fn out_of_memory_release_rolls_back_and_says_so() {
    let fleet = Fleet::start("memory", 2);
    let image = fleet.lab.image("oom");
    // It grows after one second: well before it would count as available.
    comes_back(&fleet, |web| web.with("image", image).with("strategy.rolling.min_ready", "5s"));
    let evidence = evidence(&fleet);
    assert_eq!(evidence["oom_killed"], true, "{evidence}");
}

#[test]
fn port_of_a_stranger_fails_the_release_and_spares_it() {
    let options =
        windlass_tests::FleetOptions { policy: "host_ports = [8090]\n".into(), ..Default::default() };
    let fleet = Fleet::start_with(windlass_tests::Lab::enter(), "port", 2, options);
    let image = fleet.lab.image("v1");
    fleet.deploy_ok(&Service::web(&image, 2), "r1");
    for host in &fleet.hosts {
        host.engine.run(&image, 8090, &serde_json::json!({})).unwrap();
    }

    let fixed = serde_json::json!({ "http": { "container": 8080, "host": 8090 } });
    let output = fleet.deploy(&Service::web(&fleet.lab.image("v2"), 2).with("ports", fixed));
    assert!([1, 3].contains(&output.code), "{output}");
    assert!(output.to_string().contains("8090"), "it names the port: {output}");
    fleet.wait_until_serving("v1", 2, Duration::from_secs(15));
    for host in &fleet.hosts {
        let answer = http::get(&format!("{}:8090", host.address), "/version", Duration::from_secs(5));
        assert!(answer.unwrap().body.contains("v1"), "the stranger serves");
    }
}

#[test]
fn bad_first_release_is_stopped_and_needs_a_person() {
    let fleet = Fleet::start("first", 1);
    let end = fleet.deploy(&Service::web(&fleet.lab.image("v3"), 1)).expect_code(4).last();
    assert_eq!(end["outcome"], "failed", "{end}");
    assert_eq!(fleet.serving(), Vec::<String>::new());
    let kept = fleet.hosts[0].engine.containers("web").unwrap();
    assert_eq!(kept.len(), 1, "it is kept for inspection: {kept:?}");
}
