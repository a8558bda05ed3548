//! A host that is cut off in the middle of a rollout. (Before its batch: `engine/network.rs`.)

use std::time::Duration;

use windlass_tests::{Fleet, Host, Service, wait};

/// The host of slot 0, which is always the first batch.
fn first(fleet: &Fleet) -> Host {
    let status = fleet.status();
    let instances = status["instances"].as_array().unwrap();
    let host = &instances.iter().find(|instance| instance["slot"].as_str().unwrap().ends_with("/0")).unwrap()
        ["host"];
    fleet.hosts.iter().find(|known| known.name == host.as_str().unwrap()).unwrap().clone()
}

fn cut(fleet: &Fleet, host: &Host) {
    fleet.lab.script("host.sh", &["partition", &host.name]);
}

fn heal(fleet: &Fleet, host: &Host) {
    fleet.lab.script("host.sh", &["heal", &host.name]);
    fleet.wait_for_host(&host.name, "connected");
}

/// The answer on a host that is cut off, asked from within.
fn inside(host: &Host) -> Vec<String> {
    let running = host.engine.running("web").unwrap();
    let mut all: Vec<String> = running.iter().map(|seen| host.version_inside(seen.port.unwrap())).collect();
    all.sort();
    all
}

#[test]
fn host_cut_off_in_a_rollout_serves_on_and_ends_as_it_did() {
    let fleet = Fleet::start("cut-off", 3);
    // A host is `unknown`, and left out, ten seconds after its last word: the deadline leaves room for that.
    let web = |tag: &str, ready_after: u32| {
        let service = Service::web(&fleet.lab.image(tag), 3).with("progress_deadline", "18s");
        service.with("env.READY_AFTER_MS", ready_after.to_string())
    };
    fleet.deploy_ok(&web("v1", 0), "r1");
    let host = first(&fleet);
    let others: Vec<Host> = fleet.hosts.iter().filter(|other| other.name != host.name).cloned().collect();

    // During its batch: the new instance has started and is not ready yet.
    fleet.deploy_detached(&web("v2", 1500));
    fleet.wait_for_release(&host, "r2");
    cut(&fleet, &host);
    wait::until("the host has both", Duration::from_secs(20), || {
        let serving = inside(&host);
        if serving == ["v1", "v2"] { Ok(()) } else { Err(format!("{serving:?}")) }
    });
    fleet.wait_for_host(&host.name, "lost");
    let status = fleet.status();
    assert_eq!(status["healthy"], 2, "nobody counts what is not heard of: {status}");
    let rollout = fleet.wait_for_outcome("succeeded");
    assert_eq!(rollout["stragglers"], serde_json::json!([host.name]), "{rollout}");
    for other in &others {
        assert_eq!(other.serving("web").len(), 1, "{}", other.name);
    }
    assert_eq!(
        inside(&host),
        ["v1", "v2"],
        "it keeps what serves until it hears more: a surplus, never a gap"
    );
    heal(&fleet, &host);
    fleet.wait_until_serving("v2", 3, Duration::from_secs(30));

    // After its batch: it is where the rollout goes.
    fleet.deploy_detached(&web("v4", 1500));
    let others_begin = || {
        others.iter().any(|other| {
            other.engine.running("web").unwrap().iter().any(|seen| seen.label("release") == "r3")
        })
    };
    wait::until_true("the next host begins", Duration::from_secs(30), others_begin);
    let new = host.engine.running("web").unwrap().pop().unwrap();
    assert_eq!(new.label("release"), "r3", "its own batch is over");
    cut(&fleet, &host);
    let rollout = fleet.wait_for_outcome("succeeded");
    assert_eq!(rollout["stragglers"], serde_json::json!([host.name]), "{rollout}");
    assert_eq!(inside(&host), ["v4"]);
    heal(&fleet, &host);
    fleet.wait_until_serving("v4", 3, Duration::from_secs(20));
    assert_eq!(host.running_ids("web"), [new.id], "nothing was started again there");

    // During a bad batch: it goes back by itself, and the rollout says so when it hears of it.
    fleet.deploy_detached(&web("v3", 0));
    fleet.wait_for_release(&host, "r4");
    cut(&fleet, &host);
    wait::until("the host has gone back by itself", Duration::from_secs(30), || {
        let left =
            host.engine.running("web").unwrap().iter().filter(|seen| seen.label("release") == "r4").count();
        if left == 0 { Ok(()) } else { Err(format!("{left} of r4 run")) }
    });
    assert_eq!(inside(&host), ["v4"]);
    heal(&fleet, &host);
    let rollout = fleet.wait_for_outcome("rolled_back");
    assert_eq!(rollout["failures"][0]["host"], host.name.as_str(), "its evidence came with it: {rollout}");
    fleet.wait_until_serving("v4", 3, Duration::from_secs(20));
}
