//! The agent's loop stands still while its host is cut off and an exclusive instance runs there: the watchdog ends the
//! agent, whoever supervises it starts it again, and the new one stops the instance long before another host starts it.

use std::time::{Duration, Instant};

use windlass_tests::{Census, Fleet, FleetOptions, Lab, Service, wait};

/// When a cut-off host stops it by itself.
const LEASE: Duration = Duration::from_secs(6);
/// The coordinator's addition: 30 s to notice, and a `stop_timeout` of one second.
const MARGIN: Duration = Duration::from_secs(31);
/// The time that a loop stands still before the watchdog acts, and more on a busy machine.
const WATCHDOG: (Duration, Duration) = (Duration::from_secs(7), Duration::from_secs(14));

#[test]
fn a_loop_that_stalls_is_ended_before_its_lease_harms() {
    let options = FleetOptions { crash_points: true, ..FleetOptions::default() };
    let mut fleet = Fleet::start_with(Lab::enter(), "stalled", 2, options);
    let image = fleet.lab.image("v1");
    let lonely = Service::web(&image, 1).with("service", "lonely").with("exclusive", true);
    let lonely = lonely.with("strategy.rolling.max_surge", 0).with("strategy.rolling.max_unavailable", 1);
    let lonely = lonely.with("stop_timeout", "1s").with("soak", "0s");
    let on_lost = serde_json::json!({ "replace_after": "8s", "stop_isolated_after": "6s" });
    fleet.deploy_ok(&lonely.with("on_lost", on_lost), "r1");
    let index = fleet.hosts.iter().position(|host| !host.running_ids("lonely").is_empty()).unwrap();
    let (host, spare) = (fleet.hosts[index].clone(), fleet.hosts[1 - index].clone());
    let census = Census::begin("lonely", &fleet.hosts);

    // It stands still when it is about to make the next container, and its host is cut off right then.
    fleet.agents[index].start_again_with(&[("WINDLASS_STALL_AT", "agent.engine.create.before")]);
    fleet.wait_for_host(&host.name, "connected");
    fleet.deploy_detached(&Service::web(&image, 2));
    let log = fleet.folder.join("crash-points.log");
    // No earlier than the last look that did not see it, however late the next one came.
    let mut stalled_at = Instant::now();
    wait::until("it stands still", Duration::from_secs(30), || {
        let looked_at = Instant::now();
        let points = std::fs::read_to_string(&log).unwrap_or_default();
        if points.contains("stalls at agent.engine.create.before") {
            Ok(())
        } else {
            stalled_at = looked_at;
            Err(points)
        }
    });
    fleet.lab.script("host.sh", &["partition", &host.name]);
    let cut_at = Instant::now();
    let ended = wait::until("the watchdog has ended it", WATCHDOG.1, || {
        fleet.agents[index].ended().ok_or_else(|| fleet.agents[index].tail(5))
    });
    let after = stalled_at.elapsed();
    assert_eq!(ended.code(), Some(windlass_agent::watchdog::STALLED), "{}", fleet.agents[index].tail(5));
    assert!(
        after >= WATCHDOG.0 - Duration::from_secs(2),
        "{after:?}: a loop that is only slow is left alone"
    );
    assert!(fleet.agents[index].output().contains("its loop has stood still"), "it says so");
    assert_eq!(host.running_ids("lonely").len(), 1, "nobody stops what an agent that ended had started");
    std::thread::sleep(Duration::from_secs(1)); // systemd's RestartSec
    fleet.agents[index].start_again();
    wait::until("the new agent holds to the lease", Duration::from_secs(12), || {
        let running = host.running_ids("lonely");
        if running.is_empty() { Ok(()) } else { Err(format!("{running:?}: {}", fleet.agents[index].tail(5))) }
    });
    // Long before another host may start it; that it does then is seen by `exclusive_never_runs_twice_in_partition_or_agent_death`.
    let stopped_after = cut_at.elapsed();
    assert!(
        stopped_after + Duration::from_secs(5) <= LEASE + MARGIN,
        "stopped {stopped_after:?} after the cut"
    );
    fleet.lab.script("host.sh", &["heal", &host.name]);
    fleet.wait_for_host(&host.name, "connected");
    wait::until("it serves again", Duration::from_secs(20), || {
        let serving = [&host, &spare].map(|host| host.serving("lonely").len());
        if serving.iter().sum::<usize>() == 1 { Ok(()) } else { Err(format!("{serving:?}")) }
    });
    let counts = census.end();
    assert!(counts.iter().all(|count| count.running.len() <= 1), "never two: {counts:#?}");
    assert!(counts.iter().any(|count| count.running.is_empty()), "it was stopped: {counts:#?}");
}
