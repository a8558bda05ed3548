//! A host that is cut off in the middle of a rollout. (Before its batch: `engine/network.rs`.)

use std::time::Duration;

use windlass_tests::watch::version_of;
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

/// Asks each instance on a host from within, which may be cut off. One that does not answer says why.
fn ask(host: &Host, path: &str) -> Vec<String> {
    let running = host.engine.running("web").unwrap();
    let ask = |port: u16| host.ask_inside(port, path).unwrap_or_else(|error| format!("{error:#}"));
    running.iter().filter_map(|seen| seen.port).map(ask).collect()
}

/// The versions of the instances on a host.
fn inside(host: &Host) -> Vec<String> {
    let mut all: Vec<String> = ask(host, "/version").iter().map(|said| version_of(said)).collect();
    all.sort();
    all
}

#[test]
fn host_cut_off_in_a_rollout_serves_on_and_ends_as_it_did() {
    let fleet = Fleet::start("cut-off", 3);
    // A host is `unknown`, and left out, ten seconds after its last word: the deadline leaves room for that.
    let web = |tag: &str| Service::web(&fleet.lab.image(tag), 3).with("progress_deadline", "18s");
    fleet.deploy_ok(&web("v1"), "r1");
    let host = first(&fleet);
    let others: Vec<Host> = fleet.hosts.iter().filter(|other| other.name != host.name).cloned().collect();

    // During its batch: the new instance has started, and is ready when it is told to be.
    let when_told = web("v2").with("env.NEVER_READY", "1").with("health.startup.failures", 34);
    fleet.deploy_detached(&when_told);
    fleet.wait_for_release(&host, "r2");
    cut(&fleet, &host);
    wait::until("the host has both", Duration::from_secs(20), || {
        let (serving, told) = (inside(&host), ask(&host, "/be?ready=1"));
        let both = serving == ["v1", "v2"] && told == ["as told", "as told"];
        if both { Ok(()) } else { Err(format!("{serving:?} {told:?}")) }
    });
    fleet.wait_for_host(&host.name, "lost");
    let status = fleet.status();
    assert_eq!(status["healthy"], 2, "nobody counts what is not heard of: {status}");
    wait::until("the rollout has ended", Duration::from_secs(120), || {
        others.iter().for_each(|other| drop(ask(other, "/be?ready=1")));
        let rollout = fleet.rollout();
        if rollout["outcome"].is_string() { Ok(()) } else { Err(rollout.to_string()) }
    });
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
    fleet.deploy_detached(&web("v4").with("env.READY_AFTER_MS", "1500"));
    let releases = |host: &Host| -> Vec<String> {
        let running = host.engine.running("web").unwrap();
        running.iter().map(|seen| seen.label("release").to_owned()).collect()
    };
    wait::until("its own batch is over, and the next host begins", Duration::from_secs(30), || {
        let (own, next) = (releases(&host), others.iter().map(releases).collect::<Vec<_>>().concat());
        if own == ["r3"] && next.contains(&"r3".to_owned()) {
            Ok(())
        } else {
            Err(format!("{own:?} {next:?}"))
        }
    });
    let new = host.engine.running("web").unwrap().remove(0);
    cut(&fleet, &host);
    let rollout = fleet.wait_for_outcome("succeeded");
    assert_eq!(rollout["stragglers"], serde_json::json!([host.name]), "{rollout}");
    assert_eq!(inside(&host), ["v4"]);
    heal(&fleet, &host);
    fleet.wait_until_serving("v4", 3, Duration::from_secs(20));
    assert_eq!(host.running_ids("web"), [new.id], "nothing was started again there");

    // During a bad batch: it goes back by itself, and the rollout says so when it hears of it.
    fleet.deploy_detached(&web("v3"));
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
