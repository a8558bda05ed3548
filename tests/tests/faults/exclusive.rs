//! Services that must never run twice, while their host is cut off and while its agent is dead: counted on the engines all along.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use windlass_tests::{Census, Fleet, Host, Service, wait};

/// When a cut-off host stops it by itself.
const LEASE: Duration = Duration::from_secs(6);
/// The coordinator's addition to the lease before it believes that: `core::rollout::must_have_stopped`, with a
/// `stop_timeout` of one second.
const MARGIN: Duration = Duration::from_secs(31);
/// The coordinator counts from the last one that it heard, which may be older than the cut.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// More than an agent may need to notice that the lease is over, on a busy machine; less than the margin by far.
const NOTICED: Duration = Duration::from_secs(15);

fn lonely(fleet: &Fleet, name: &str, tag: &str) -> Service {
    let service = Service::web(&fleet.lab.image(tag), 1).with("service", name).with("exclusive", true);
    let service = service.with("strategy.rolling.max_surge", 0).with("strategy.rolling.max_unavailable", 1);
    let service = service.with("stop_timeout", "1s").with("soak", "0s");
    let on_lost = serde_json::json!({ "replace_after": "8s", "stop_isolated_after": "6s" });
    service.with("on_lost", on_lost)
}

/// Its host and its container.
fn home(fleet: &Fleet, service: &str) -> (usize, String) {
    let all = fleet.hosts.iter().enumerate();
    let mut found =
        all.flat_map(|(index, host)| host.running_ids(service).into_iter().map(move |id| (index, id)));
    let first = found.next().unwrap();
    assert_eq!(found.next(), None, "{service} runs once");
    first
}

fn status(fleet: &Fleet, service: &str) -> Value {
    fleet.cli.json(&["status", service])
}

#[test]
fn exclusive_never_runs_twice_in_partition_or_agent_death() {
    let mut fleet = Fleet::start("exclusive", 3);
    fleet.deploy_ok(&lonely(&fleet, "web", "v1"), "r1");
    fleet.deploy_ok(&lonely(&fleet, "api", "v1"), "r1");
    let ((cut, old), (dead, stays)) = (home(&fleet, "web"), home(&fleet, "api"));
    assert_ne!(cut, dead, "they are spread over the hosts");
    let spare: Host = fleet.hosts[3 - cut - dead].clone();
    let (cut_host, dead_host) = (fleet.hosts[cut].clone(), fleet.hosts[dead].clone());
    let (web, api) = (Census::begin("web", &fleet.hosts), Census::begin("api", &fleet.hosts));

    // One host is cut off, and its agent dies there and is started again, as systemd does: that renews no lease.
    fleet.lab.script("host.sh", &["partition", &cut_host.name]);
    fleet.agents[cut].start_again();
    // The agent of another one dies and stays dead. Its kernel says so; what it runs goes on.
    fleet.agents[dead].kill_9();
    wait::until("the cut-off host has stopped it by itself", LEASE + NOTICED, || {
        let running = cut_host.running_ids("web");
        if running.is_empty() { Ok(()) } else { Err(format!("{running:?}: {}", fleet.agents[cut].tail(5))) }
    });
    wait::until("the replacement serves", LEASE + MARGIN + Duration::from_secs(20), || {
        if spare.serving("web").len() == 1 { Ok(()) } else { Err(status(&fleet, "web").to_string()) }
    });
    let new = spare.running_ids("web");

    // All that time, and for ever, the other one is replaced by no clock; a person is told.
    let told = status(&fleet, "api");
    let waits = told["waiting"].to_string();
    assert!(waits.contains(&format!("windlass host evict {}", dead_host.name)), "{told}");
    assert_eq!(dead_host.running_ids("api"), std::slice::from_ref(&stays), "nobody stopped it either");

    fleet.lab.script("host.sh", &["heal", &cut_host.name]);
    fleet.agents[dead].start_again();
    fleet.wait_for_host(&cut_host.name, "connected");
    fleet.wait_for_host(&dead_host.name, "connected");
    for service in ["web", "api"] {
        wait::until(&format!("{service} is as it should be"), Duration::from_secs(20), || {
            let said = status(&fleet, service);
            if said["state"] == "steady" && said["healthy"] == 1 { Ok(()) } else { Err(said.to_string()) }
        });
    }
    assert_eq!(spare.running_ids("web"), new, "the replacement stays");
    assert_eq!(fleet.hosts[cut].running_ids("web"), [""; 0]);

    let (web, api) = (web.end(), api.end());
    assert!(web.iter().all(|count| count.running.len() <= 1), "never two: {web:#?}");
    let ran: Vec<_> =
        web.iter().filter_map(|count| count.running.first()).map(|(_, id)| id.clone()).collect();
    assert_eq!(ran, [old, new[0].clone()], "the old one, nothing, the new one: {web:#?}");
    // Each by its own end of the arithmetic: the host lets go early, the coordinator takes over late.
    let (stopped, started) = (web[1].at, web[2].at);
    assert!(started - stopped >= Duration::from_secs(10), "{web:#?}");
    assert!(started + HEARTBEAT >= LEASE + MARGIN, "{web:#?}");
    assert!(api.iter().all(|count| count.running.len() <= 1), "never two: {api:#?}");
    let ran: BTreeSet<_> =
        api.iter().flat_map(|count| &count.running).map(|(_, container)| container.as_str()).collect();
    assert_eq!(ran, BTreeSet::from([stays.as_str()]), "the same container all along: {api:#?}");
    // Its lease was over when its agent came back: that one stops it, unless the coordinator answers first.
    let pauses: Vec<_> = api
        .windows(2)
        .filter(|pair| pair[0].running.is_empty())
        .map(|pair| pair[1].at - pair[0].at)
        .collect();
    assert!(pauses.len() <= 1 && pauses.iter().all(|pause| *pause < NOTICED), "{api:#?}");
}
