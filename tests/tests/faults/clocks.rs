//! Clocks that are set, forward and back, under a program that runs.

use std::time::{Duration, Instant};

use windlass_tests::{FakeClock, Fleet, Service, Watch, wait};

fn web(fleet: &Fleet, tag: &str, ready_after: u32) -> Service {
    let service = Service::web(&fleet.lab.image(tag), 2).with("env.READY_AFTER_MS", ready_after.to_string());
    service.with("on_lost.replace_after", "8s")
}

#[test]
fn a_host_whose_clock_is_set_fails_no_release_and_stops_nothing() {
    let mut fleet = Fleet::start("clock-agent", 2);
    fleet.deploy_ok(&web(&fleet, "v1", 0), "r1");
    let clock = FakeClock::of(&mut fleet.agents[0], &fleet.folder, "h1");
    fleet.wait_for_host("h1", "connected");
    let watch = Watch::begin("web", &fleet.hosts, &["v1", "v2", "v4"]);
    let steps = [("r2", "v2", "+2h"), ("r3", "v4", "-1h")];
    for (release, tag, offset) in steps {
        clock.set("+0"); // the engine's clock, which is the same one on a real host, goes right all along
        fleet.deploy_detached(&web(&fleet, tag, 2000));
        fleet.wait_for_release(&fleet.hosts[0], release);
        clock.set(offset); // while the new instance has not proven itself
        let rollout = fleet.wait_for_outcome("succeeded");
        assert_eq!(rollout["failures"], serde_json::json!([]), "{offset}: {rollout}");
        fleet.wait_until_serving(tag, 2, Duration::from_secs(10));
        fleet.wait_for_host("h1", "connected");
    }
    let log = fleet.agents[0].output();
    assert_eq!(log.matches("the clock of this host was set").count(), 3, "{}", fleet.agents[0].tail(20));
    watch.end().expect_served(2, &[("r1", "v1"), ("r2", "v2"), ("r3", "v4")]);
}

#[test]
fn coordinator_clock_step_loses_no_host_and_sees_one_go() {
    let mut fleet = Fleet::start("clock-server", 3);
    let clock = FakeClock::of(&mut fleet.server, &fleet.folder, "server");
    fleet.wait_for_server();
    for host in ["h1", "h2", "h3"] {
        fleet.wait_for_host(host, "connected");
    }
    fleet.deploy_ok(&web(&fleet, "v1", 0), "r1");
    let before: Vec<_> = fleet.hosts.iter().map(|host| host.running_ids("web")).collect();
    // Back by less than certificates are backdated: before its own issue no certificate counts, whoever shows it.
    for offset in ["+3h", "+0", "-4m"] {
        clock.set(offset);
        // By the new time a host is lost, and long enough to be replaced, at the very next look: so at every look from now
        // on, until the coordinator has looked several times of its own.
        let set_at = Instant::now();
        wait::until("the coordinator has looked for a while", Duration::from_secs(40), || {
            let hosts = fleet.cli.json(&["host", "ls"]);
            let states = hosts.as_array().unwrap().iter().map(|host| host["state"].as_str().unwrap());
            // On a busy machine a host may be silent for as long as makes it suspect, by any clock.
            let mut lost = states.filter(|state| !["connected", "suspect"].contains(state));
            assert_eq!(lost.next(), None, "{offset}: {hosts}");
            if set_at.elapsed() > Duration::from_secs(4) { Ok(()) } else { Err("too early".to_owned()) }
        });
        let now: Vec<_> = fleet.hosts.iter().map(|host| host.running_ids("web")).collect();
        assert_eq!(now, before, "{offset}: nothing was started or stopped");
    }
    // Set back, it would wait for four minutes if it counted by that clock.
    fleet.agents[2].stop(Duration::from_secs(10));
    fleet.wait_for_host("h3", "lost");
    fleet.agents[2].start_again();
    fleet.wait_for_host("h3", "connected");
    fleet.deploy_ok(&web(&fleet, "v2", 0), "r2");
    fleet.wait_until_serving("v2", 2, Duration::from_secs(10));
}
