//! Disks that are full: the agent's, the engine's, the coordinator's. Nothing is lost, everybody says so, and it goes on
//! when there is room again.

use std::time::Duration;

use serde_json::Value;
use windlass_tests::{Disk, Fleet, FleetOptions, Lab, Service, Watch, wait};

#[test]
fn full_disks_lose_nothing_are_reported_and_recover() {
    let lab = Lab::enter();
    let engine_disk = Disk::over(&lab.scratch("engine-disk").join("small"), "160m");
    let data_root = lab.scratch_path("engine-disk").join("small/engine");
    let small = lab.host_with(3, &serde_json::json!({ "data-root": data_root }));
    let options = FleetOptions { more_hosts: vec![small], ..FleetOptions::default() };
    let mut fleet = Fleet::start_with(lab, "full", 1, options);
    let web =
        |fleet: &Fleet, tag: &str| Service::web(&fleet.lab.image(tag), 2).with("progress_deadline", "60s");
    fleet.deploy_ok(&web(&fleet, "v1"), "r1");
    let watch = Watch::begin("web", &fleet.hosts, &["v1", "v2", "v4"]);

    // The agent of h1 can write nothing: it takes no plan, says why, and what it runs serves.
    fleet.agents[0].stop(Duration::from_secs(10));
    let disk = Disk::over(&fleet.data_of(&fleet.hosts[0]), "2m");
    fleet.start_agent_again(0);
    disk.fill();
    let serving = fleet.hosts[0].running_ids("web");
    fleet.deploy_detached(&web(&fleet, "v2"));
    let is_full = |view: &Value| view["unwritable"].as_str().is_some_and(|why| why.contains("No space left"));
    fleet.wait_for_view("h1", "that nothing can be written", Duration::from_secs(20), is_full);
    wait::until("the rollout says what it waits for", Duration::from_secs(10), || {
        let rollout = fleet.rollout();
        if rollout["waiting"].to_string().contains("write its journal") {
            Ok(())
        } else {
            Err(rollout.to_string())
        }
    });
    assert_eq!(fleet.hosts[0].running_ids("web"), serving);
    disk.make_room();
    fleet.wait_for_outcome("succeeded");
    let writes = |view: &Value| view["unwritable"].is_null() && view["seq"] == view["issued_seq"];
    fleet.wait_for_view("h1", "that it can be written again", Duration::from_secs(20), writes);
    fleet.wait_until_serving("v2", 2, Duration::from_secs(10));

    // The engine of h3 has no room: nothing new starts there, with the figures, and nothing else changes.
    engine_disk.fill();
    let output = fleet.deploy(&web(&fleet, "v4")).expect_code(1);
    assert!(output.to_string().contains("disk:"), "it says what is missing: {output}");
    engine_disk.make_room();
    fleet.wait_until_serving("v2", 2, Duration::from_secs(10));
    fleet.deploy_ok(&web(&fleet, "v4"), "r4");
    watch.end().expect_served(2, &[("r1", "v1"), ("r2", "v2"), ("r4", "v4")]);

    // The coordinator can store nothing: it says so and stops, and knows everything when it is started again.
    fleet.server.stop(Duration::from_secs(10));
    let disk = Disk::over(&fleet.server_data(), "48m");
    fleet.server.start_again();
    fleet.wait_for_server();
    let before = fleet.cli.json(&["release", "ls", "web"]);
    disk.fill();
    let watch = Watch::begin("web", &fleet.hosts, &["v4", "v1"]);
    let file = web(&fleet, "v1").write(&fleet.folder, "full.yaml");
    // The file of the store has some room of its own: how much, nobody can say from outside.
    wait::until("the coordinator has stopped for want of room", Duration::from_secs(120), || {
        fleet.cli.run(&["host", "cordon", "h1"]);
        fleet.cli.run(&["host", "uncordon", "h1"]);
        fleet.server.ended().ok_or_else(|| fleet.server.tail(5))
    });
    let refused = fleet.cli.run(&["deploy", "-f", file.to_str().unwrap(), "--timeout", "20s", "-o", "json"]);
    assert_ne!(refused.code, 0, "{refused}");
    let said = fleet.server.output();
    assert!(said.contains("No space left"), "{}", fleet.server.tail(20));
    assert!(said.contains("make room"), "it says what to do: {}", fleet.server.tail(20));
    disk.make_room();
    fleet.server.start_again();
    fleet.wait_for_server();
    fleet.cli.ok(&["host", "uncordon", "h1"]);
    let digests = |list: &Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|release| release["digest"].as_str().unwrap().to_owned())
            .collect()
    };
    let after = digests(&fleet.cli.json(&["release", "ls", "web"]));
    assert!(
        digests(&before).iter().all(|digest| after.contains(digest)),
        "nothing that was stored is lost: {after:?}"
    );
    for host in ["h1", "h3"] {
        fleet.wait_for_host(host, "connected");
    }
    let seen = watch.end();
    assert!(seen.fewest >= 2 && seen.silent.is_empty(), "who runs it matters to nobody who calls: {seen:#?}");
    let end = fleet.deploy(&web(&fleet, "v2")).expect_code(0).last();
    assert_eq!(end["outcome"], "succeeded", "{end}");
    drop(fleet);
}
