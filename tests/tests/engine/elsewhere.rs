//! A host goes back by itself while nobody else hears of it: an ingress on another host finds what it has restored.

use std::time::Duration;

use serde_json::json;
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Load, Service, wait};

const LONG: Duration = Duration::from_secs(60);

/// Both hosts run a release that ends 20 s after its start, one after the other. Each goes back by itself, and the
/// coordinator is dead: the one beside the ingress is found by its agent's word, the other one by the table that names both
/// sides of its slot.
#[test]
fn what_another_host_has_restored_is_found_by_the_ingress() {
    let mut fleet = Fleet::start("elsewhere", 2);
    let web = |tag: &str| {
        let web = Service::web(&fleet.lab.image(tag), 2).with("drain_timeout", "5s");
        web.with("route", json!({ "host": NAME, "port": "http" }))
    };
    let (v1, later) = (web("v1").with("soak", "0s"), web("crash20").with("soak", "5m"));
    let (edge, other) = (fleet.hosts[0].clone(), fleet.hosts[1].clone());
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&v1, "r1");
    ingress::wait_until_routed(&at, "v1");
    let load = Load::begin(&at, NAME, "/version", 200);
    fleet.deploy_detached(&later);
    // Each host has the new release, and the old one rests; the table says where.
    for host in [&edge, &other] {
        fleet.wait_for_release(host, "r2");
    }
    wait::until("both old instances stand by", LONG, || {
        let shown = fleet.cli.json(&["routes", "web"]).to_string();
        if shown.matches("stands_by").count() == 2 { Ok(()) } else { Err(shown) }
    });
    wait::until("the ingress follows that table", LONG, || {
        let shown = fleet.cli.json(&["routes", "web"]);
        let ingress = &shown[0]["ingresses"][0];
        if ingress["acknowledged"] == ingress["wanted"] { Ok(()) } else { Err(shown.to_string()) }
    });
    fleet.server.kill_9();
    assert!(fleet.serving().contains(&"crash20".to_owned()), "it has not failed yet");
    fleet.wait_until_serving("v1", 2, LONG);
    wait::until("the instance of the other host answers through the ingress", LONG, || {
        let counted = ingress::metric(&edge, "windlass_ingress_requests_total", &["by=\"unconfirmed\""]);
        if counted >= 100.0 { Ok(()) } else { Err(format!("{counted} requests")) }
    });
    let there = format!("endpoint=\"{}:", other.address);
    let up = ingress::metric(&edge, "windlass_ingress_endpoint_up", &[&there]);
    assert!((up - 1.0).abs() < 0.5, "one side of two: {up}");
    let answers = load.end();
    println!("{} requests in {:?}: {:?}", answers.answered(), answers.took, answers.whole);
    answers.expect_none_lost();
    // The coordinator comes back, and the table names what serves: nothing is unconfirmed any more.
    fleet.server.start_again();
    fleet.wait_for_server();
    let load = Load::begin(&at, NAME, "/version", 100);
    fleet.wait_for_outcome("rolled_back");
    let answers = load.end();
    answers.expect_none_lost();
    assert_eq!(answers.whole.keys().collect::<Vec<_>>(), ["v1"]);
    proxy.stop(Duration::from_secs(40));
}
