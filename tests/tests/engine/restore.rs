//! The coordinator's disk is gone, and the backup is older than the fleet.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use windlass_tests::fleet::{environment, path, program};
use windlass_tests::process::{Process, words};
use windlass_tests::{Fleet, Service, Watch, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// `windlass-server store …` on the coordinator's folder, to its end.
#[track_caller]
fn store(fleet: &Fleet, verb: &str, file: &str) {
    let data = fleet.folder.join("server");
    let mut command = vec![program("windlass-server"), "--data".into(), data.into()];
    command.extend(words(["store", verb, file]));
    let log = fleet.folder.join(format!("{verb}.log"));
    let mut running = Process::start(verb, command, environment(&fleet.folder), &log);
    let ended = wait::until(&format!("store {verb}"), LIMIT, || running.ended().ok_or("it runs".to_owned()));
    assert!(ended.success(), "{}", running.output());
}

/// Every container that runs, with the moment it was started: a restart would show.
fn started(fleet: &Fleet) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for host in &fleet.hosts {
        for service in ["web", "api"] {
            for container in host.engine.running(service).unwrap() {
                let seen = host.engine.inspect(&container.id).unwrap();
                all.insert(container.id, seen["State"]["StartedAt"].as_str().unwrap().to_owned());
            }
        }
    }
    all
}

fn seqs(fleet: &Fleet) -> Vec<u64> {
    let hosts = fleet.cli.json(&["host", "ls"]);
    hosts.as_array().unwrap().iter().map(|host| host["seq"].as_u64().unwrap()).collect()
}

#[test]
fn coordinator_restored_from_an_old_backup_restarts_nothing() {
    let mut fleet = Fleet::start("restore", 2);
    let web = |fleet: &Fleet, tag| Service::web(&fleet.lab.image(tag), 2);
    fleet.deploy_ok(&web(&fleet, "v1"), "r1");
    assert!(fleet.server.stop(LIMIT).success(), "{}", fleet.server.tail(20));
    let backup = fleet.folder.join("backup.jsonl");
    store(&fleet, "export", path(&backup));
    fleet.server.start_again();
    fleet.wait_for_server();
    fleet.wait_for_host("h1", "connected");
    fleet.wait_for_host("h2", "connected");
    fleet.deploy_ok(&web(&fleet, "v2"), "r2");
    fleet.deploy_ok(&web(&fleet, "v4"), "r3");
    let api = Service::web(&fleet.lab.image("v1"), 1).with("service", "api");
    fleet.deploy_ok(&api, "r1");
    let (before, seq) = (started(&fleet), seqs(&fleet));
    assert_eq!(before.len(), 3, "{before:?}");
    let watch = Watch::begin("web", &fleet.hosts, &["v4"]);

    fleet.server.kill_9();
    fs::remove_dir_all(fleet.folder.join("server/store")).unwrap();
    fleet.server.start_again();
    wait::until("it does not begin with nothing", LIMIT, || match fleet.server.ended() {
        Some(status) if !status.success() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let said = fleet.server.tail(5);
    assert!(said.contains("is gone") && said.contains("store import"), "{said}");
    store(&fleet, "import", path(&backup));
    fleet.server.start_again();
    fleet.wait_for_server();
    fleet.wait_for_host("h1", "recovering");
    fleet.wait_for_host("h2", "recovering");

    let refused = fleet.deploy(&web(&fleet, "v1")).expect_code(1).error();
    assert!(refused["hint"].as_str().unwrap().contains("windlass host recover"), "{refused}");
    let looked = fleet.cli.json(&["host", "recover", "--look"]);
    let change = looked["services"].as_array().unwrap().iter().find(|service| service["service"] == "web");
    let change = change.unwrap_or_else(|| panic!("{looked}"));
    assert_eq!(
        (&change["before"], &change["after"], &change["next"]),
        (&"r1".into(), &"r3".into(), &"r4".into())
    );
    assert!(looked["hosts"].as_array().unwrap().iter().all(|host| host["state"] == "keep_host"), "{looked}");
    let words = fleet.cli.ok(&["host", "recover", "--look"]).stdout;
    assert!(words.contains("r3") && words.contains("(the store: r1)"), "{words}");
    fleet.cli.run(&["host", "recover"]).expect_code(1); // nobody is there to be asked
    fleet.cli.ok(&["host", "recover", "--yes"]);
    fleet.wait_for_host("h1", "connected");
    fleet.wait_for_host("h2", "connected");
    wait::until("web and api are steady", LIMIT, || {
        let all = fleet.cli.json(&["status"]);
        let steady = |view: &Value| view["state"] == "steady" && view["healthy"] == view["wanted"];
        let services = all.as_array().unwrap();
        if services.len() == 2 && services.iter().all(steady) { Ok(()) } else { Err(all.to_string()) }
    });
    assert_eq!(fleet.status()["release"], "r3");
    assert_eq!(started(&fleet), before, "nothing was restarted");
    assert_eq!(seqs(&fleet), seq, "the hosts have the plans that they had");
    watch.end().expect_served(2, &[("r3", "v4")]);

    fleet.deploy_ok(&web(&fleet, "v2"), "r4");
    assert!(seqs(&fleet).iter().max() > seq.iter().max());
    let back = fleet.cli.run(&["rollback", "web", "--timeout", "1m", "-o", "json"]).expect_code(0).last();
    assert_eq!((&back["outcome"], &back["release"]), (&"succeeded".into(), &"r3".into()), "{back}");
    fleet.wait_until_serving("v4", 2, LIMIT);
    // Hosts may have seen more of the log than the backup held; then an operator says that he knows of it.
    let audit = fleet.cli.run(&["audit", "verify", "-o", "json"]).json();
    for loss in audit["losses"].as_array().unwrap() {
        let head = loss["head"].as_str().unwrap().trim_start_matches("sha256:");
        fleet.cli.ok(&["--yes", "audit", "accept", &head[..12]]);
    }
    let audit = fleet.cli.json(&["audit", "verify"]);
    assert_eq!(audit["sound"], true, "{audit}");
    let restored = audit["segments"].as_array().unwrap().last().unwrap();
    assert!(restored["segment"].as_u64().unwrap() > 0, "the log says where it was set back: {audit}");
}
