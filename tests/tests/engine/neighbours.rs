//! Services that share a host: what is decided about one says nothing about another.

use std::time::Duration;

use serde_json::Value;
use windlass_tests::{Fleet, Many, Service, wait};

/// So long every release is watched here.
const SOAK: Duration = Duration::from_secs(10);

fn is_final(rollout: &Value) -> bool {
    rollout["outcome"].as_str().is_some_and(|outcome| outcome != "paused")
}

/// Does something again and again, from the beginning of the soak of `web` to the end of its rollout.
#[track_caller]
fn while_it_soaks(fleet: &Fleet, mut act: impl FnMut(u32)) {
    let soaks = |rollout: &Value| rollout["state"] == "soaking";
    wait::until("web soaks", Duration::from_secs(60), || {
        let rollout = fleet.rollout();
        if soaks(&rollout) { Ok(()) } else { Err(rollout.to_string()) }
    });
    let mut turns = 0;
    wait::until("the rollout of web has ended", Duration::from_secs(80), || {
        act(turns);
        turns += 1;
        let rollout = fleet.rollout();
        let waits = rollout["waiting"].to_string();
        assert!(!waits.contains("newest plan"), "web waits for what is its neighbour's: {rollout}");
        if is_final(&rollout) { Ok(()) } else { Err(rollout.to_string()) }
    });
    assert!(turns > 2, "only {turns} things happened beside it");
}

#[test]
fn neighbours_plans_and_a_blinking_link_restart_no_soak() {
    let fleet = Fleet::start("neighbours", 1);
    let host = &fleet.hosts[0];
    let web = |tag: &str| {
        let web = Service::web(&fleet.lab.image(tag), 1).with("soak", "10s");
        web.with("strategy.rolling.min_ready", "0s").with("progress_deadline", "20s")
    };
    let soaked = |what: &str| {
        let rollout = fleet.rollout();
        assert_eq!(rollout["outcome"], "succeeded", "{what}: {rollout}");
        let events = fleet
            .cli
            .ok(&["events", "--service", "web", "--kind", "rollout", "--tail", "1000", "-o", "json"])
            .lines();
        let at = |kind: &str| {
            let event = events.iter().rev().find(|event| event["kind"] == kind).expect("it came so far");
            serde_json::from_value::<windlass_core::Timestamp>(event["at"].clone()).unwrap()
        };
        let took = at("rollout.succeeded").since(at("rollout.soaking"));
        // The neighbours go on to the end: a soak that began again each time would have no end.
        assert!(took >= SOAK && took < SOAK * 3, "{what}: soaked for {took:?}");
    };

    fleet.deploy_detached(&web("v1"));
    while_it_soaks(&fleet, |turn| {
        let side = format!("side-{}", turn % 4);
        let service = Service::web(&fleet.lab.image("v1"), 1).with("service", side.clone());
        let service = service.with("soak", "0s").with("env.TURN", turn.to_string());
        let file = service.write(&fleet.folder, &format!("{side}.yaml"));
        fleet.cli.ok(&["deploy", "-f", file.to_str().unwrap(), "--detach", "--supersede"]);
    });
    soaked("beside neighbours");

    // The host's connections end, and its agent makes new ones.
    fleet.deploy_detached(&web("v2"));
    let mut cut = 0;
    while_it_soaks(&fleet, |_| {
        let gone = host.run(&["ss", "--kill", "--no-header", "dport", "=", ":7443"]);
        cut += usize::from(!gone.trim().is_empty());
        fleet.wait_for_host(&host.name, "connected");
    });
    assert!(cut > 1, "its link was cut {cut} times");
    soaked("over a link that blinks");
}

#[test]
fn twenty_services_at_once_soak_beside_each_other() {
    let fleet = Fleet::start("twenty", 1);
    let image = fleet.lab.image("v1");
    let many = Many::deploy(&fleet, 20, |_| {
        let service = Service::web(&image, 1).with("soak", "3s").with("strategy.rolling.min_ready", "0s");
        service.with("progress_deadline", "90s").with("resources.memory", "16MiB")
    });
    // One after the other they would need a minute; each has its own, on however slow a machine.
    assert!(many.longest() < Duration::from_secs(30), "{many:?}");
}
