//! Hosts that are cut off, by the network or by an operator.

use std::time::Duration;

use windlass_tests::{Fleet, Service, http, wait};

#[test]
fn partitioned_host_serves_on_and_catches_up_on_return() {
    let fleet = Fleet::start("partition", 3);
    let web = |tag| Service::web(&fleet.lab.image(tag), 3).with("progress_deadline", "15s");
    fleet.deploy_ok(&web("v1"), "r1");
    let cut = fleet.hosts[2].clone();
    let before = cut.engine.running("web").unwrap();
    fleet.lab.script("host.sh", &["partition", &cut.name]);
    fleet.wait_for_host(&cut.name, "lost");

    let still = cut.engine.running("web").unwrap();
    assert_eq!((still.len(), &still[0].id), (1, &before[0].id), "it keeps what it runs");
    let port = still[0].port.unwrap();
    let answer =
        cut.run(&["curl", "--silent", "--max-time", "5", &format!("http://127.0.0.1:{port}/version")]);
    assert!(answer.contains("\"v1\""), "it serves: {answer}");

    let file = web("v2").write(&fleet.folder, "v2.yaml");
    let deploy = fleet.cli.run(&["deploy", "-f", file.to_str().unwrap(), "--timeout", "2m", "-o", "json"]);
    deploy.expect_code(0);
    let rollout = fleet.rollout();
    assert_eq!(rollout["stragglers"], serde_json::json!([cut.name]), "{rollout}");

    fleet.lab.script("host.sh", &["heal", &cut.name]);
    fleet.wait_for_host(&cut.name, "connected");
    fleet.wait_until_serving("v2", 3, Duration::from_secs(30));
}

#[test]
fn evicted_host_is_cut_off_at_once_and_keeps_its_workload() {
    let mut fleet = Fleet::start("evict", 2);
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), 2), "r1");
    let before = fleet.hosts[1].engine.running("web").unwrap()[0].id.clone();
    fleet.cli.ok(&["host", "evict", "h2", "--yes"]);
    wait::until("the host is shown as evicted", Duration::from_secs(35), || {
        let state = fleet.host_state("h2");
        if state == "evicted" { Ok(()) } else { Err(state) }
    });
    let metrics = || http::get(&format!("{}:7480", fleet.lab.gateway()), "/metrics", Duration::from_secs(2));
    assert_eq!(metrics().unwrap().status, 200);

    fleet.agents[1].start_again();
    // The other agent reconnects within this time after a restart of the coordinator; the evicted one must not.
    fleet.server.start_again();
    fleet.wait_for_server();
    fleet.wait_for_host("h1", "connected");
    assert_eq!(fleet.host_state("h2"), "evicted");
    let after = fleet.hosts[1].engine.running("web").unwrap();
    assert_eq!(after.first().map(|container| container.id.clone()), Some(before), "its workload goes on");
}

#[test]
fn an_evicted_host_may_join_again_and_a_banned_one_may_not() {
    let fleet = Fleet::start("ban", 1);
    fleet.cli.ok(&["host", "ban", "h1", "--yes"]);
    let error = fleet.cli.run(&["host", "token", "h1", "-o", "json"]).expect_code(1).error();
    assert!(error.to_string().contains("h1"), "{error}");
    fleet.cli.ok(&["host", "token", "h2"]);
}
