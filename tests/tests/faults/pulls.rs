//! A registry that dies in the middle of a pull.

use std::time::Duration;

use windlass_tests::{Choke, Fleet, FleetOptions, Lab, Service, Watch, wait};

const MIB: u64 = 1 << 20;

#[test]
fn registry_death_in_a_pull_changes_nothing_and_it_resumes() {
    let lab = Lab::enter();
    let (front, back) = (format!("{}:5003", lab.gateway()), format!("{}:5002", lab.gateway()));
    lab.script("registry.sh", &["up", "--port", "5002"]);
    lab.script("images.sh", &["--registry", &back, "--pad", "24", "--only", "v1"]);
    let options = FleetOptions { registries: vec![front.clone()], ..FleetOptions::default() };
    let fleet = Fleet::start_with(lab, "registry-dies", 2, options);
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), 2), "r1");
    let before: Vec<_> = fleet.hosts.iter().map(|host| host.running_ids("web")).collect();
    let watch = Watch::begin("web", &fleet.hosts, &["v1", "padded"]);
    let padded =
        |deadline: &str| Service::web(&format!("{front}/web:padded"), 2).with("progress_deadline", deadline);

    // It stays dead for longer than the rollout may stand still.
    let wire = Choke::before(&back, &front, 8 * MIB);
    fleet.deploy_detached(&padded("10s"));
    wire.wait_until_stuck(Duration::from_secs(30));
    fleet.lab.script("registry.sh", &["stop", "--port", "5002"]);
    wire.cut();
    let rollout = fleet.wait_for_outcome("failed");
    let now: Vec<_> = fleet.hosts.iter().map(|host| host.running_ids("web")).collect();
    assert_eq!(now, before, "no container was touched: {rollout}");
    wait::until("the service is steady", Duration::from_secs(20), || {
        let status = fleet.status();
        if status["state"] == "steady" { Ok(()) } else { Err(status.to_string()) }
    });

    // It dies again, and comes back soon: the same rollout goes on.
    fleet.lab.script("registry.sh", &["up", "--port", "5002"]);
    let wire = Choke::before(&back, &front, 8 * MIB);
    fleet.deploy_detached(&padded("60s"));
    wire.wait_until_stuck(Duration::from_secs(60));
    fleet.lab.script("registry.sh", &["stop", "--port", "5002"]);
    wire.cut();
    fleet.lab.script("registry.sh", &["up", "--port", "5002"]);
    let wire = Choke::before(&back, &front, u64::MAX);
    fleet.wait_for_outcome("succeeded");
    fleet.wait_until_serving("padded", 2, Duration::from_secs(10));
    watch.end().expect_served(2, &[("r1", "v1"), ("r3", "padded")]);
    drop(wire);
    fleet.lab.script("registry.sh", &["down", "--port", "5002"]);
}
