//! Measurements of hosts and instances, by the shipped programs on real engines: in `status`, `host show`, `top` and metrics.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Service, http, wait};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(5);

#[test]
fn what_a_container_uses_is_seen_everywhere() {
    let fleet = Fleet::start("usage", 1);
    let web =
        Service::web(&fleet.lab.image("v1"), 1).with("resources", json!({ "cpu": 0.5, "memory": "48MiB" }));
    let _ingress = ingress::start(&fleet, &fleet.hosts[0], "ingress.log");
    fleet.deploy_ok(&web.with("route", json!({ "host": NAME, "port": "http" })), "r1");
    let address = &fleet.hosts[0].address;
    // Each measurement is a few seconds after the one before; requests give it something to count.
    let instance = wait::until("status shows what the instance uses", LIMIT, || {
        for port in fleet.hosts[0].engine.running("web").into_iter().flatten().filter_map(|c| c.port) {
            drop(http::get(&format!("{address}:{port}"), "/health", SOON));
        }
        let host = fleet.host_view("h1");
        let seen = host["stats"]["instances"].as_array().into_iter().flatten();
        let counted = |of: &&Value| {
            of["counters"]["cpu_seconds"].as_f64() > Some(0.0)
                && of["counters"]["network_rx_bytes"].as_u64() > Some(0)
        };
        seen.into_iter().find(counted).cloned().ok_or_else(|| host.to_string())
    });
    assert_eq!(instance["memory_limit"], 48 << 20, "{instance}");
    assert!(instance["memory_used"].as_u64() > Some(100_000), "{instance}");
    assert!(instance["pids"].as_u64() >= Some(1), "{instance}");
    let stats = fleet.host_view("h1")["stats"].clone();
    assert!(stats["told_at"].is_string() && stats["cpu"]["user"].is_number(), "{stats}");
    assert!(stats["disks"].as_array().is_some_and(|disks| !disks.is_empty()), "{stats}");

    let status = fleet.status();
    assert_eq!(status["instances"][0]["memory_limit"], 48 << 20, "{status}");
    let said = fleet.cli.ok(&["status", "web"]).stdout;
    assert!(said.contains("/48.00 MiB"), "{said}");
    let said = fleet.cli.ok(&["host", "show", "h1"]).stdout;
    for words in ["load ", "processors ", "disks ", "THROTTLED", "/48.00 MiB"] {
        assert!(said.contains(words), "`{words}` is not in {said}");
    }
    let frame = fleet.cli.ok(&["top", "instances", "--once"]).stdout;
    assert!(
        frame.contains("default/web") && frame.contains("iB") && frame.contains("1/1 hosts up"),
        "{frame}"
    );
    let data = fleet.cli.json(&["top"]);
    assert_eq!(data["services"][0]["instances"][0]["memory_limit"], 48 << 20, "{data}");

    // The answers of its probe, and the requests that came by its name.
    let at = format!("{address}:80");
    ingress::wait_until_routed(&at, "v1");
    wait::until("top tells of probe and requests", LIMIT, || {
        drop(ingress::answers(&at, NAME, "/version"));
        let data = fleet.cli.json(&["top"]);
        let probe = &data["services"][0]["instances"][0]["probe"];
        let recent = &data["routes"][0]["services"][0]["releases"][0]["recent"];
        let is_told = probe["seconds"].as_f64() > Some(0.0)
            && recent["per_second"].as_f64() > Some(0.0)
            && recent["error_ratio"] == 0.0
            && recent["p95_seconds"].is_number();
        if is_told { Ok(()) } else { Err(data.to_string()) }
    });
    let routes = fleet.cli.ok(&["top", "routes", "--once"]).stdout;
    assert!(routes.contains("REQ/S") && routes.contains("default/web") && routes.contains(NAME), "{routes}");
    let ingresses = fleet.cli.ok(&["top", "ingresses", "--once"]).stdout;
    assert!(ingresses.contains("h1") && ingresses.contains("current"), "{ingresses}");
    let instances = fleet.cli.ok(&["top", "instances", "--once"]).stdout;
    assert!(instances.contains("PROBE") && instances.contains("ok "), "{instances}");

    let metrics = http::get(&format!("{}:7480", fleet.lab.gateway()), "/metrics", SOON).unwrap().body;
    let limit = metrics.lines().find(|line| line.starts_with("windlass_instance_memory_limit_bytes{"));
    assert!(limit.is_some_and(|line| line.ends_with(" 50331648.0")), "{metrics}");
    for family in
        ["windlass_host_cpu_ratio{", "windlass_host_disk_size_bytes{", "windlass_instance_cpu_seconds_total{"]
    {
        assert!(metrics.contains(family), "{family} is not in {metrics}");
    }
    wait::until("the coordinator's figures of the last minutes", LIMIT, || {
        let said = fleet.cli.ok(&["status", "web"]).stdout;
        if said.contains("the last 60 minutes:") { Ok(()) } else { Err(said) }
    });
}
