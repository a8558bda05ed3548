//! Hosts whose address is one of IPv6, or another one than when they joined.

use std::time::Duration;

use serde_json::json;
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, FleetOptions, Host, Lab, Service, wait};

const LONG: Duration = Duration::from_secs(60);

fn routed(fleet: &Fleet, tag: &str, replicas: u32) -> Service {
    let web = Service::web(&fleet.lab.image(tag), replicas).with("drain_timeout", "5s");
    web.with("route", json!({ "host": NAME, "port": "http" })).with("soak", "0s")
}

/// Gives a host an address of IPv6, under which it is known from then on.
fn with_ipv6(mut host: Host, n: usize) -> Host {
    let address = format!("fd00:77::{n}");
    host.run(&["ip", "address", "add", &format!("{address}/64"), "dev", "eth0", "nodad"]);
    host.address = address;
    host
}

/// Asks for the name at an address from `host`, until `version` answers.
fn wait_until_answered(host: &Host, at: &str, version: &str) {
    let ask = format!("curl --silent --max-time 5 --header 'Host: {NAME}' http://{at}/version || true");
    wait::until(&format!("{version} answers at {at}"), LONG, || {
        let said = host.run(&["sh", "-c", &ask]);
        if said.contains(version) { Ok(()) } else { Err(said) }
    });
}

/// Public report 6: a host that joined with an address of IPv6 failed every probe.
#[test]
fn hosts_of_ipv6_publish_probe_and_are_led_to() {
    let lab = Lab::enter();
    let hosts = lab.hosts(2).into_iter().zip(1..).map(|(host, n)| with_ipv6(host, n)).collect();
    let fleet =
        Fleet::start_with(lab, "ipv6", 0, FleetOptions { more_hosts: hosts, ..FleetOptions::default() });
    let (edge, other) = (fleet.hosts[0].clone(), fleet.hosts[1].clone());
    let at = format!("[{}]:80", edge.address);
    let mut listens = edge.clone();
    listens.address = format!("[{}]", edge.address);
    let mut proxy = ingress::start(&fleet, &listens, "ingress.log");
    for (tag, release) in [("v1", "r1"), ("v2", "r2")] {
        fleet.deploy_ok(&routed(&fleet, tag, 2), release);
        wait_until_answered(&other, &at, tag);
        // From one host to the published port of the other one, beside any ingress.
        let port = fleet.wait_for_release(&edge, release);
        wait_until_answered(&other, &format!("[{}]:{port}", edge.address), tag);
    }
    let each: Vec<usize> = fleet.hosts.iter().map(|host| host.running_ids("web").len()).collect();
    assert_eq!(each, [1, 1], "an instance on each host");
    // The ingress leads to both, each at its address of IPv6.
    let shown = fleet.cli.json(&["routes", "web"]).to_string();
    assert!(fleet.hosts.iter().all(|host| shown.contains(&host.address)), "{shown}");
    // In turn, so that each has some of these.
    let url = format!("http://{at}/version");
    let name = format!("Host: {NAME}");
    for _ in 0..20 {
        let said = other.run(&["curl", "--silent", "--fail", "--max-time", "5", "--header", &name, &url]);
        assert!(said.contains("v2"), "{said}");
    }
    proxy.stop(Duration::from_secs(40));
}

/// Public report 7: the interface's address is replaced under a running agent. What runs goes on, deploys work, and a join with the
/// new address leads requests there.
#[test]
fn a_host_that_gets_another_address_restarts_nothing() {
    const LOOKS: u32 = 20;
    let mut fleet = Fleet::start("moved", 1);
    let host = fleet.hosts[0].clone();
    fleet.deploy_ok(&routed(&fleet, "v1", 1), "r1");
    let before = host.running_ids("web");
    let mut moved = host.clone();
    moved.address = fleet.lab.gateway().rsplit_once('.').map(|(net, _)| format!("{net}.210")).unwrap();
    let interface = ["dev", "eth0"];
    // In this order: the others of a network go with its first address.
    for (verb, address) in [("del", &host.address), ("add", &moved.address)] {
        let address = format!("{address}/24");
        host.run(&[&["ip", "address", verb, &address][..], &interface].concat());
    }
    let stays = |fleet: &Fleet, what: &str, ids: &[String]| {
        let mut looks = 0;
        wait::until(&format!("{LOOKS} looks, {what}"), LONG, || {
            assert_eq!(host.running_ids("web"), ids, "{what}: nothing restarts");
            let status = fleet.status();
            let state = status["instances"][0]["state"].clone();
            assert_ne!(state, "unready", "{what}: {status}");
            looks += u32::from(state == "healthy" && fleet.host_state("h1") == "connected");
            if looks >= LOOKS { Ok(()) } else { Err(format!("{looks}: {status}")) }
        });
    };
    stays(&fleet, "after the address went", &before);
    // A probe of a new instance needs no address of the host.
    fleet.deploy_ok(&routed(&fleet, "v2", 1), "r2");
    let running = host.running_ids("web");
    assert!(running.iter().all(|id| !before.contains(id)), "{running:?}");

    // As the guide says: it joins again with the address that it has now.
    fleet.agents[0].kill_9();
    std::fs::rename(fleet.data_of(&host), fleet.folder.join("agent.old")).unwrap();
    fleet.join_again(&moved);
    fleet.agents[0].start_again();
    fleet.wait_for_host("h1", "connected");
    // In the moment before it has its plan again it knows of no probe, and calls what runs unready.
    wait::until("it has its plan again", LONG, || {
        let status = fleet.status();
        let told = status["host_conditions"].as_array().is_some_and(Vec::is_empty);
        if told { Ok(()) } else { Err(status.to_string()) }
    });
    stays(&fleet, "after it joined again", &running);
    let mut proxy = ingress::start(&fleet, &moved, "ingress.log");
    ingress::wait_until_routed(&format!("{}:80", moved.address), "v2");
    let shown = fleet.cli.json(&["routes", "web"]).to_string();
    assert!(shown.contains(&moved.address) && !shown.contains(&format!("\"{}\"", host.address)), "{shown}");
    proxy.stop(Duration::from_secs(40));
}
