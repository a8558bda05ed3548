//! Steps that leave no instance: requests wait at the ingress for as long as `hold` says, and none is lost.
#![expect(clippy::print_stdout, reason = "the figures of a run are told")]

use std::time::Duration;

use serde_json::json;
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Answers, Fleet, Load, Service};

/// Requests a second, of so many loads: a client that waits sends nothing meanwhile.
const RATE: u32 = 300;
const LOADS: u32 = 6;

/// `web` behind a route whose requests wait.
fn web(fleet: &Fleet, tag: &str, strategy: serde_json::Value, replicas: u32) -> Service {
    Service::web(&fleet.lab.image(tag), replicas)
        .with("route", json!({ "host": NAME, "port": "http" }))
        .with("strategy", strategy)
        .with("hold", "30s")
        .with("soak", "0s")
        .with("drain_timeout", "5s")
}

fn under_load(fleet: &Fleet, what: &str, step: impl FnOnce()) {
    let edge = &fleet.hosts[0];
    let held = || ingress::metric(edge, "windlass_ingress_held_total", &[]);
    let before = held();
    let at = format!("{}:80", edge.address);
    let loads: Vec<Load> = (0..LOADS).map(|_| Load::begin(&at, NAME, "/version", RATE / LOADS)).collect();
    step();
    let answers: Vec<Answers> = loads.into_iter().map(Load::end).collect();
    let (waited, answered) = (held() - before, answers.iter().map(Answers::answered).sum::<u64>());
    println!("{what}: {answered} requests in {:?}, {waited} waited", answers[0].took);
    answers.iter().for_each(Answers::expect_none_lost);
    assert!(waited > 0.0, "{what}: there was an instance all the time");
}

#[test]
fn requests_wait_while_recreate_leaves_no_instance() {
    let fleet = Fleet::start("recreate", 1);
    let recreate = || json!({ "recreate": { "min_ready": "500ms" } });
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web(&fleet, "v1", recreate(), 2), "r1");
    ingress::wait_until_routed(&at, "v1");
    under_load(&fleet, "recreate", || fleet.deploy_ok(&web(&fleet, "v2", recreate(), 2), "r2"));
    ingress::wait_until_routed(&at, "v2");
    under_load(&fleet, "a release that ends at its start", || {
        let failed = fleet.deploy(&web(&fleet, "crash", recreate(), 2)).expect_code(3).last();
        assert_eq!(failed["outcome"], "rolled_back", "{failed}");
    });
    ingress::wait_until_routed(&at, "v2");
    proxy.stop(Duration::from_secs(40));
}

#[test]
fn requests_wait_while_the_only_instance_stops_first() {
    let fleet = Fleet::start("stopfirst", 1);
    let rolling = || json!({ "rolling": { "order": "stop_first", "batch": 1, "min_ready": "500ms" } });
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&web(&fleet, "v1", rolling(), 1), "r1");
    ingress::wait_until_routed(&at, "v1");
    under_load(&fleet, "stop first", || fleet.deploy_ok(&web(&fleet, "v2", rolling(), 1), "r2"));
    ingress::wait_until_routed(&at, "v2");
    under_load(&fleet, "stop first, and back", || {
        fleet.cli.run(&["rollback", "web", "--timeout", "1m", "-o", "json"]).expect_code(0);
    });
    ingress::wait_until_routed(&at, "v1");
    proxy.stop(Duration::from_secs(40));
}
