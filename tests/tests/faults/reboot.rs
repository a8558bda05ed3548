//! A host that loses its power, at rest and in the middle of a rollout: the engine comes first, the agent later.

use std::time::Duration;

use windlass_tests::{Fleet, Service, wait};

fn cut_power(fleet: &mut Fleet) {
    let name = fleet.hosts[0].name.clone();
    fleet.lab.script("host.sh", &["crash", &name]);
    fleet.agents[0].kill_9();
}

fn boot(fleet: &Fleet) {
    fleet.lab.script("host.sh", &["up", &fleet.hosts[0].name, "1"]);
}

#[test]
fn power_cut_restarts_what_ran_and_blames_no_release() {
    let mut fleet = Fleet::start("reboot", 2);
    let web = |fleet: &Fleet, tag: &str, ready_after: u32| {
        let service = Service::web(&fleet.lab.image(tag), 2).with("progress_deadline", "60s");
        service.with("env.READY_AFTER_MS", ready_after.to_string())
    };
    fleet.deploy_ok(&web(&fleet, "v1", 0), "r1");
    fleet.deploy_ok(&web(&fleet, "v2", 0), "r2");
    let containers = |fleet: &Fleet| {
        let all = fleet.hosts[0].engine.containers("web").unwrap().into_iter();
        all.map(|seen| (seen.label("release").to_owned(), seen.id, seen.state)).collect::<Vec<_>>()
    };
    let before = containers(&fleet);
    assert_eq!(before.len(), 2, "the old instance stands by: {before:?}");

    cut_power(&mut fleet);
    fleet.wait_for_host("h1", "lost");
    boot(&fleet);
    wait::until("what ran runs again without an agent, and answers", Duration::from_secs(30), || {
        // The engine says `running` a moment before the process has opened its port.
        let (now, serving) = (containers(&fleet), fleet.hosts[0].serving("web"));
        if now == before && serving.len() == 1 { Ok(()) } else { Err(format!("{now:?}, {serving:?}")) }
    });
    assert_eq!(fleet.host_state("h1"), "lost", "nobody has told the coordinator");
    fleet.agents[0].start_again();
    fleet.wait_for_host("h1", "connected");
    wait::until("the service is steady", Duration::from_secs(20), || {
        let status = fleet.status();
        if status["state"] == "steady" && status["healthy"] == 2 { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(containers(&fleet), before, "the agent found everything as it should be");

    // With a new instance that has not proven itself: that it ended is the power's fault, not the release's.
    fleet.deploy_detached(&web(&fleet, "v4", 3000));
    fleet.wait_for_release(&fleet.hosts[0], "r3");
    cut_power(&mut fleet);
    boot(&fleet);
    fleet.agents[0].start_again();
    let rollout = fleet.wait_for_outcome("succeeded");
    assert_eq!(rollout["failures"], serde_json::json!([]), "{rollout}");
    fleet.wait_until_serving("v4", 2, Duration::from_secs(10));
}
