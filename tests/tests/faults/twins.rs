//! One identity on two machines: an agent's folder was copied.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use windlass_tests::fleet::{environment, path, program};
use windlass_tests::process::{Process, words};
use windlass_tests::{Fleet, Service, Watch, wait};

#[test]
fn two_agents_of_one_identity_are_cut_off_workloads_go_on() {
    let fleet = Fleet::start("twins", 1);
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), 1), "r1");
    let before = fleet.hosts[0].running_ids("web");
    let watch = Watch::begin("web", &fleet.hosts, &["v1"]);

    let elsewhere = fleet.lab.host_with(9, &serde_json::json!({}));
    let (data, copied) = (fleet.data_of(&fleet.hosts[0]), fleet.folder.join("agent-copied"));
    assert!(Command::new("cp").args(["--archive", path(&data), path(&copied)]).status().unwrap().success());
    let policy = fleet.folder.join("policy-h1.toml");
    let mut command: Vec<OsString> =
        words([program("windlass-agent"), "run".into(), "--data".into(), copied.into()]);
    command.extend(words(["--engine", &elsewhere.engine.url(), "--policy", path(&policy)]));
    let log = fleet.folder.join("agent-copied.log");
    let _twin = Process::start("the twin", elsewhere.on(command), environment(&fleet.folder), &log);

    wait::until("the clone is reported", Duration::from_secs(40), || {
        let events = fleet.cli.ok(&["events", "-o", "json"]).stdout;
        if events.contains("host.cloned") { Ok(()) } else { Err(events) }
    });
    wait::until("the host is shown as cloned", Duration::from_secs(10), || {
        let state = fleet.host_state("h1");
        if state == "cloned" { Ok(()) } else { Err(state) }
    });
    watch.wait_for_rounds(50);
    assert_eq!(fleet.hosts[0].running_ids("web"), before, "what runs goes on");
    watch.end().expect_served(1, &[("r1", "v1")]);
}
