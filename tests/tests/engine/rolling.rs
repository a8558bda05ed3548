//! Rolling updates, with every instance asked for its version all along.

use std::time::Duration;

use windlass_tests::{Fleet, Service, Watch};

#[test]
fn rolling_update_keeps_capacity_and_serves_right_versions() {
    let fleet = Fleet::start("rolling", 3);
    let web = |tag| Service::web(&fleet.lab.image(tag), 6).with("strategy.rolling.batch", 2);
    fleet.deploy_ok(&web("v1"), "r1");
    fleet.wait_until_serving("v1", 6, Duration::from_secs(5));

    let watch = Watch::begin("web", &fleet.hosts, &["v1", "v2"]);
    fleet.deploy_ok(&web("v2"), "r2");
    fleet.wait_until_serving("v2", 6, Duration::from_secs(10));
    let seen = watch.end();
    seen.expect_served(6, &[("r1", "v1"), ("r2", "v2")]);
    assert!(seen.rounds >= 10, "the watch looked only {} times", seen.rounds);

    let status = fleet.status();
    assert_eq!(status["release"], "r2", "{status}");
    let instances = status["instances"].as_array().unwrap();
    let healthy = instances.iter().filter(|instance| instance["state"] == "healthy");
    assert_eq!(healthy.count(), 6, "{status}");
    for host in &fleet.hosts {
        let running = host.engine.running("web").unwrap();
        assert_eq!(running.len(), 2, "they are spread over the hosts");
        for container in running {
            let labels = ["fleet", "host", "environment", "release"].map(|name| container.label(name));
            assert_eq!(labels, ["lab", host.name.as_str(), "default", "r2"]);
            assert!(!container.label("slot").is_empty() && !container.label("instance").is_empty());
        }
    }
}

#[test]
fn equal_deploy_changes_nothing_rollback_needs_no_registry() {
    let fleet = Fleet::start("rollback", 2);
    let web = |tag| Service::web(&fleet.lab.image(tag), 2);
    fleet.deploy_ok(&web("v1"), "r1");
    fleet.deploy_ok(&web("v2"), "r2");

    let before: Vec<_> =
        fleet.hosts.iter().map(|host| host.engine.running("web").unwrap()[0].id.clone()).collect();
    let again = fleet.deploy(&web("v2")).expect_code(0).last();
    assert_eq!(again["outcome"], "unchanged", "{again}");
    let after: Vec<_> =
        fleet.hosts.iter().map(|host| host.engine.running("web").unwrap()[0].id.clone()).collect();
    assert_eq!(before, after, "no container was touched");

    fleet.lab.script("registry.sh", &["stop", "--port", "5000"]);
    let watch = Watch::begin("web", &fleet.hosts, &["v1", "v2"]);
    let back = fleet.cli.run(&["rollback", "web", "--timeout", "1m", "-o", "json"]).expect_code(0).last();
    assert_eq!((&back["outcome"], &back["release"]), (&"succeeded".into(), &"r1".into()), "{back}");
    fleet.wait_until_serving("v1", 2, Duration::from_secs(10));
    watch.end().expect_served(2, &[("r1", "v1"), ("r2", "v2")]);
}
