//! Processes that die in the middle of a rollout.

use std::time::Duration;

use windlass_tests::{Fleet, Service, Watch, wait};

/// Starts a deploy and waits until the engines run a container of release `release`.
#[track_caller]
fn wait_for_release(fleet: &Fleet, release: &str) {
    wait::until_true(&format!("a container of {release} runs"), Duration::from_secs(30), || {
        let running = fleet.hosts.iter().flat_map(|host| host.engine.running("web").unwrap_or_default());
        running.into_iter().any(|container| container.label("release") == release)
    });
}

#[test]
fn agent_killed_in_a_rollout_comes_back_and_it_succeeds() {
    let mut fleet = Fleet::start("agent-dies", 2);
    let web = |fleet: &Fleet, tag| Service::web(&fleet.lab.image(tag), 4);
    fleet.deploy_ok(&web(&fleet, "v1"), "r1");
    let watch = Watch::begin("web", &fleet.hosts, &["v1", "v2"]);
    let file = web(&fleet, "v2").write(&fleet.folder, "v2.yaml");
    let deploy = fleet.cli.start(&["deploy", "-f", file.to_str().unwrap(), "--timeout", "2m", "-o", "json"]);
    wait_for_release(&fleet, "r2");
    fleet.agents[0].kill_9();
    let alone = fleet.hosts[0].engine.running("web").unwrap().len();
    assert!(alone >= 2, "a dead agent stops no container, {alone} run");
    fleet.agents[0].start_again();

    let end = deploy.wait().expect_code(0).last();
    assert_eq!(end["outcome"], "succeeded", "{end}");
    fleet.wait_until_serving("v2", 4, Duration::from_secs(10));
    watch.end().expect_served(4, &[("r1", "v1"), ("r2", "v2")]);
}

#[test]
fn hosts_roll_back_by_themselves_with_the_coordinator_dead() {
    let mut fleet = Fleet::start("coordinator-dies", 3);
    let web = |fleet: &Fleet, tag| {
        let service = Service::web(&fleet.lab.image(tag), 6);
        service.with("strategy.rolling.batch", 3).with("strategy.rolling.max_surge", 3)
    };
    fleet.deploy_ok(&web(&fleet, "v1"), "r1");
    let watch = Watch::begin("web", &fleet.hosts, &["v1"]);
    let file = web(&fleet, "v3").write(&fleet.folder, "v3.yaml");
    let deploy = fleet.cli.start(&["deploy", "-f", file.to_str().unwrap(), "--timeout", "2m", "-o", "json"]);
    wait_for_release(&fleet, "r2");
    fleet.server.kill_9();

    // Nobody tells them. What failed is stopped, and v1 serves at full strength, as it did all along.
    wait::until("no container of r2 runs", Duration::from_secs(30), || {
        let running = fleet.hosts.iter().flat_map(|host| host.engine.running("web").unwrap_or_default());
        let left = running.into_iter().filter(|container| container.label("release") == "r2").count();
        if left == 0 { Ok(()) } else { Err(format!("{left} run")) }
    });
    fleet.wait_until_serving("v1", 6, Duration::from_secs(10));
    assert!(fleet.server.ended().is_some(), "the coordinator is still dead");

    fleet.server.start_again();
    fleet.wait_for_server();
    let end =
        fleet.cli.run(&["rollout", "watch", "web", "--timeout", "1m", "-o", "json"]).expect_code(3).last();
    assert_eq!(end["outcome"], "rolled_back", "{end}");
    let rollout = fleet.rollout();
    let evidence = &rollout["failures"][0]["evidence"];
    assert_eq!(evidence["clock"], "health", "the hosts kept the evidence: {rollout}");
    drop(deploy); // it may have waited for the coordinator or given up; both are right
    fleet.wait_until_serving("v1", 6, Duration::from_secs(10));
    let seen = watch.end();
    assert!(seen.fewest >= 6, "v1 served at full strength all along: {seen:#?}");
}

#[test]
fn coordinator_killed_in_a_good_rollout_finishes_it() {
    let mut fleet = Fleet::start("good-goes-on", 2);
    let web = |fleet: &Fleet, tag| Service::web(&fleet.lab.image(tag), 4);
    fleet.deploy_ok(&web(&fleet, "v1"), "r1");
    let watch = Watch::begin("web", &fleet.hosts, &["v1", "v2"]);
    let file = web(&fleet, "v2").write(&fleet.folder, "v2.yaml");
    fleet.cli.ok(&["deploy", "-f", file.to_str().unwrap(), "--detach"]);
    wait_for_release(&fleet, "r2");
    fleet.server.kill_9();
    fleet.server.start_again();
    fleet.wait_for_server();
    let end =
        fleet.cli.run(&["rollout", "watch", "web", "--timeout", "1m", "-o", "json"]).expect_code(0).last();
    assert_eq!(end["outcome"], "succeeded", "{end}");
    fleet.wait_until_serving("v2", 4, Duration::from_secs(10));
    watch.end().expect_served(4, &[("r1", "v1"), ("r2", "v2")]);
}

#[test]
fn ordered_stop_ends_in_ten_seconds_and_spares_workloads() {
    let mut fleet = Fleet::start("stop", 1);
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), 2), "r1");
    let limit = Duration::from_secs(10);
    assert!(fleet.agents[0].stop(limit).success(), "{}", fleet.agents[0].tail(20));
    assert!(fleet.server.stop(limit).success(), "{}", fleet.server.tail(20));
    assert_eq!(fleet.serving(), ["v1", "v1"]);
}
