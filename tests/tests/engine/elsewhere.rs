//! A host goes back by itself while nobody else hears of it: an ingress on another host finds what it has restored.

use std::time::Duration;

use serde_json::json;
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Host, Load, Service, http, wait};

const LONG: Duration = Duration::from_secs(60);

/// Asks the instance on a host to end, at its own port, and waits until the host has restored the release before.
fn end_instance(host: &Host) {
    let running = host.engine.running("web").unwrap();
    // The old instance may still be on its way to its rest.
    let on_trial = running.iter().filter(|seen| seen.label("release") == "r2");
    let port = on_trial.filter_map(|seen| seen.port).next().expect("r2 runs here");
    drop(http::get(&format!("{}:{port}", host.address), "/exit?code=1", Duration::from_secs(5)));
    wait::until(&format!("{} has gone back", host.name), LONG, || {
        let serving = host.serving("web").join(" ");
        if serving.contains("\"v1\"") && !serving.contains("\"v2\"") { Ok(()) } else { Err(serving) }
    });
}

/// Both hosts run a release on trial, which fails on one and then on the other; the coordinator is dead. The host beside the
/// ingress goes back by its agent's word, the other one is found by the table, which names both sides of its slot: it has
/// every request while there is nobody else.
#[test]
fn what_another_host_has_restored_is_found_by_the_ingress() {
    let mut fleet = Fleet::start("elsewhere", 2);
    let web = |tag: &str| {
        let web = Service::web(&fleet.lab.image(tag), 2).with("drain_timeout", "5s");
        web.with("route", json!({ "host": NAME, "port": "http" }))
    };
    let (v1, on_trial) = (web("v1").with("soak", "0s"), web("v2").with("soak", "10m"));
    let (edge, other) = (fleet.hosts[0].clone(), fleet.hosts[1].clone());
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&v1, "r1");
    ingress::wait_until_routed(&at, "v1");
    fleet.deploy_detached(&on_trial);
    // Each host has the new release, and the old one rests; the table says where.
    fleet.wait_until_serving("v2", 2, LONG);
    wait::until("both old instances stand by, for the ingress too", LONG, || {
        let shown = fleet.cli.json(&["routes", "web"]);
        let ingress = &shown[0]["ingresses"][0];
        let stand = shown.to_string().matches("\"stands_by\"").count();
        let taken = ingress["acknowledged"] == ingress["wanted"];
        if stand == 2 && taken { Ok(()) } else { Err(shown.to_string()) }
    });
    fleet.server.kill_9();
    let load = Load::begin(&at, NAME, "/version", 200);
    let there = format!("endpoint=\"{}:", other.address);
    let found = |more: f64| {
        let unconfirmed =
            || ingress::metric(&edge, "windlass_ingress_requests_total", &["by=\"unconfirmed\""]);
        let before = unconfirmed();
        wait::until("what the other host has restored answers through the ingress", LONG, || {
            let count = unconfirmed() - before;
            if count >= more { Ok(()) } else { Err(format!("{count} requests")) }
        });
    };
    end_instance(&other);
    found(100.0);
    let up = ingress::metric(&edge, "windlass_ingress_endpoint_up", &[&there]);
    assert!((up - 1.0).abs() < 0.5, "one side of two: {up}");
    // Now it is the only one that serves, until this host has gone back too.
    end_instance(&edge);
    found(100.0);
    let answers = load.end();
    println!("{} requests in {:?}: {:?}", answers.answered(), answers.took, answers.whole);
    answers.expect_none_lost();
    assert_eq!(answers.whole.keys().collect::<Vec<_>>(), ["v1", "v2"]);
    // The coordinator comes back, and the table names what serves.
    fleet.server.start_again();
    fleet.wait_for_server();
    let load = Load::begin(&at, NAME, "/version", 100);
    fleet.wait_for_outcome("rolled_back");
    let answers = load.end();
    answers.expect_none_lost();
    assert_eq!(answers.whole.keys().collect::<Vec<_>>(), ["v1"]);
    proxy.stop(Duration::from_secs(40));
}
