//! An agent's memory, and the fate of a host when that is damaged, older than the host, or gone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use windlass_tests::fleet::path;
use windlass_tests::{Fleet, Service, Watch, wait};

/// A change of the journal.
const DAMAGES: [&str; 4] = ["a bit is flipped", "it is cut", "it is all zeros", "it is empty"];

fn damaged(mut journal: Vec<u8>, how: &str) -> Vec<u8> {
    let middle = journal.len() / 2;
    match how {
        "a bit is flipped" => journal[middle] ^= 1,
        "it is cut" => journal.truncate(middle),
        "it is all zeros" => journal.fill(0),
        _ => journal.clear(),
    }
    journal
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let done = Command::new("cp").args(["--archive", path(from), path(to)]).status();
    assert!(done.unwrap().success());
}

#[test]
fn damaged_older_or_missing_journal_stops_nothing() {
    let mut fleet = Fleet::start("memory", 2);
    let web = |fleet: &Fleet, tag: &str| Service::web(&fleet.lab.image(tag), 2);
    fleet.deploy_ok(&web(&fleet, "v1"), "r1");
    let (data, aside) = (fleet.data_of(&fleet.hosts[0]), fleet.folder.join("older"));
    fleet.agents[0].kill_9();
    copy(&data, &aside);
    fleet.agents[0].start_again();
    fleet.wait_for_host("h1", "connected");
    fleet.deploy_ok(&web(&fleet, "v2"), "r2");
    let watch = Watch::begin("web", &fleet.hosts, &["v2"]);
    let before = fleet.hosts[0].running_ids("web");

    // Damaged: it is never taken for empty, what runs is adopted, and no plan is taken until somebody has looked.
    let journal = data.join("journal");
    for how in DAMAGES {
        fleet.agents[0].kill_9();
        let good = fs::read(&journal).unwrap();
        fs::write(&journal, damaged(good.clone(), how)).unwrap();
        fleet.agents[0].start_again();
        let is_said = |view: &Value| {
            let why = view["unwritable"].as_str().unwrap_or_default();
            let is_there = view["state"] == "connected" && view["engine"] == "available";
            is_there && why.contains("is damaged") && why.contains("journal")
        };
        fleet.wait_for_view("h1", how, Duration::from_secs(20), is_said);
        assert!(
            fleet.agents[0].output().contains("join again with a new token"),
            "{how}: it says what to do"
        );
        assert_eq!(fleet.hosts[0].running_ids("web"), before, "{how}");
        fleet.agents[0].kill_9();
        fs::write(&journal, &good).unwrap();
    }
    fleet.agents[0].start_again();
    let is_well = |view: &Value| view["unwritable"].is_null() && view["seq"] == view["issued_seq"];
    fleet.wait_for_view("h1", "that all is well", Duration::from_secs(20), is_well);

    // Older than what runs: with nobody to ask it goes back to nothing, and then it takes the newest plan.
    fleet.server.kill_9();
    fleet.agents[0].kill_9();
    copy(&aside, &data);
    fleet.agents[0].start_again();
    wait::until("the agent has seen that its journal is older", Duration::from_secs(15), || {
        let status = fs::read_to_string(data.join("status.json")).unwrap_or_default();
        if status.contains("the journal is older than what runs here") { Ok(()) } else { Err(status) }
    });
    watch.wait_for_rounds(20);
    assert_eq!(fleet.hosts[0].running_ids("web"), before);
    fleet.server.start_again();
    fleet.wait_for_server();
    fleet.wait_for_view("h1", "that it has the newest plan", Duration::from_secs(20), is_well);
    assert_eq!(fleet.hosts[0].running_ids("web"), before);

    // Gone: the agent says how to come back, and comes back to what runs.
    fleet.agents[0].kill_9();
    fs::remove_dir_all(&data).unwrap();
    fleet.agents[0].start_again();
    let ended = wait::until("the agent gives up", Duration::from_secs(10), || {
        fleet.agents[0].ended().ok_or_else(|| fleet.agents[0].tail(3))
    });
    assert!(
        !ended.success() && fleet.agents[0].output().contains("join first"),
        "{}",
        fleet.agents[0].tail(5)
    );
    assert_eq!(fleet.hosts[0].running_ids("web"), before);
    fleet.wait_for_host("h1", "lost");
    fleet.join_again(&fleet.hosts[0]);
    fleet.agents[0].start_again();
    fleet.wait_for_view("h1", "that it is back", Duration::from_secs(20), is_well);
    assert_eq!(fleet.hosts[0].running_ids("web"), before, "adopted: they are as their releases say");
    watch.end().expect_served(2, &[("r2", "v2")]);
    fleet.deploy_ok(&web(&fleet, "v4"), "r3");
    fleet.wait_until_serving("v4", 2, Duration::from_secs(10));
}
