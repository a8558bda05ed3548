//! A host that is cut off in the middle of a rollout. (Before its batch: `engine/network.rs`.)

use std::time::Duration;

use serde_json::json;
use windlass_tests::ingress::{self, NAME};
use windlass_tests::watch::version_of;
use windlass_tests::{Fleet, Host, Load, Service, wait};

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

/// Drops all that passes between a host and `address` but requests to its ingress and their answers, or ends that: `verb` is
/// one of iptables, `-I` or `-D`.
fn silence(host: &Host, address: &str, verb: &str) {
    for [chain, far, near] in [["INPUT", "-s", "--dport"], ["OUTPUT", "-d", "--sport"]] {
        let rule = [chain, far, address, "-p", "tcp", "!", near, "80", "-j", "DROP"];
        host.run(&[&["iptables", "-w", "10", verb][..], &rule].concat());
    }
}

/// Releases of what runs on a host, sorted.
fn releases(host: &Host) -> Vec<String> {
    let running = host.engine.running("web").unwrap();
    let mut all: Vec<String> = running.iter().map(|seen| seen.label("release").to_owned()).collect();
    all.sort();
    all
}

#[track_caller]
fn until_releases(host: &Host, wanted: &[&str]) {
    wait::until(&format!("{} runs {wanted:?}", host.name), Duration::from_secs(60), || {
        let found = releases(host);
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

/// Waits until the ingress of a host sends requests to so many instances.
#[track_caller]
fn until_up(host: &Host, wanted: f64) {
    wait::until(&format!("{wanted} instances get requests"), Duration::from_secs(30), || {
        let up = ingress::metric(host, "windlass_ingress_endpoint_up", &["service=\"default/web\""]);
        if (up - wanted).abs() < 0.5 { Ok(()) } else { Err(format!("{up} do")) }
    });
}

/// Ends an instance of a release, as its kernel would.
fn kill(host: &Host, release: &str) {
    let running = host.engine.running("web").unwrap();
    let found = running.iter().find(|seen| seen.label("release") == release).unwrap();
    host.engine.end(&found.id).unwrap();
}

/// The agent of a host that is cut off restores a release that fails there, and an instance is killed; its ingress loses the
/// instances of the other host for a while. 600 requests a second are answered all along, also when it is back.
#[test]
fn host_cut_off_answers_every_request_of_its_clients() {
    let fleet = Fleet::start("cut-off-traffic", 2);
    let (edge, other) = (fleet.hosts[0].clone(), fleet.hosts[1].clone());
    let (at, coordinator) = (format!("{}:80", edge.address), fleet.lab.gateway());
    let web = |tag: &str, soak: &str| {
        let web = Service::web(&fleet.lab.image(tag), 4).with("soak", soak);
        let web = web.with("strategy.rolling.batch", 2).with("strategy.rolling.max_surge", 2);
        web.with("route", json!({ "host": NAME, "port": "http" }))
    };
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web("v1", "0s"), "r1");
    ingress::wait_until_routed(&at, "v1");
    let load = Load::of_many(&at, NAME, "/version", 600);
    fleet.deploy_detached(&web("v2", "5m"));
    [&edge, &other].iter().for_each(|host| until_releases(host, &["r2", "r2"]));

    // Neither the coordinator nor the other instances can be reached.
    [&coordinator, &other.address].iter().for_each(|address| silence(&edge, address, "-I"));
    fleet.wait_for_host(&edge.name, "lost");
    until_up(&edge, 2.0);
    silence(&edge, &other.address, "-D");
    until_up(&edge, 4.0);
    // The new release fails: the agent restores the old one, with nobody to ask. Then that one is killed.
    kill(&edge, "r2");
    until_releases(&edge, &["r1", "r2"]);
    ingress::wait_until_routed(&at, "v1");
    until_up(&edge, 4.0);
    kill(&edge, "r1");
    ingress::wait_until_routed(&at, "v1");
    until_up(&edge, 4.0);
    assert_eq!(fleet.host_state(&edge.name), "lost");

    silence(&edge, &coordinator, "-D");
    fleet.wait_for_host(&edge.name, "connected");
    fleet.wait_for_outcome("rolled_back");
    fleet.deploy_ok(&web("v4", "0s"), "r3");
    let answers = load.end();
    let rate = answers.answered() as f64 / answers.took.as_secs_f64();
    println!("{rate:.0} requests a second in {:?}: {:?}", answers.took, answers.whole);
    answers.expect_none_lost();
    assert_eq!(answers.whole.keys().collect::<Vec<_>>(), ["v1", "v2", "v4"]);
    assert!(rate >= 500.0, "{rate} requests a second");
    proxy.stop(Duration::from_secs(40));
}

/// A host that is cut off reaches half of the instances of its table. One of its own two is killed, and the other one answers:
/// all that it needs is there.
#[test]
fn instance_killed_on_a_host_cut_off_costs_no_request() {
    let fleet = Fleet::start("cut-off-kill", 2);
    let (edge, other) = (fleet.hosts[0].clone(), fleet.hosts[1].clone());
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    let web = Service::web(&fleet.lab.image("v1"), 4).with("soak", "0s");
    fleet.deploy_ok(&web.with("route", json!({ "host": NAME, "port": "http" })), "r1");
    [&edge, &other].iter().for_each(|host| until_releases(host, &["r1", "r1"]));
    ingress::wait_until_routed(&at, "v1");
    until_up(&edge, 4.0);
    let load = Load::of_many(&at, NAME, "/version", 600);
    [&fleet.lab.gateway(), &other.address].iter().for_each(|address| silence(&edge, address, "-I"));
    until_up(&edge, 2.0);
    let cut = load.now();
    let before = load.answered();
    wait::until("requests are answered", Duration::from_secs(20), || {
        if load.answered() >= before + 600 { Ok(()) } else { Err(format!("{}", load.answered())) }
    });
    let killed = load.now();
    kill(&edge, "r1");
    wait::until("both of its instances answer", Duration::from_secs(30), || {
        let serving = inside(&edge);
        if serving == ["v1", "v1"] { Ok(()) } else { Err(format!("{serving:?}")) }
    });
    until_up(&edge, 2.0);
    let answers = load.end();
    println!(
        "left out after {cut:?}, killed after {killed:?}; of {} requests {} failed, from when to when: {:?}",
        answers.answered() + answers.failed,
        answers.failed,
        answers.failed_at
    );
    answers.expect_none_lost();
    proxy.stop(Duration::from_secs(40));
}
