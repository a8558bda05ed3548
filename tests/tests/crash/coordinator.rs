//! The coordinator dies at each of its steps: while a rollout goes on, at its first start, while it keeps house, and
//! while its store is copied.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use windlass_tests::crash::{self, Points};
use windlass_tests::fleet::{environment, path};
use windlass_tests::process::{Process, words};
use windlass_tests::{Fleet, FleetOptions, Lab, Load, Service, Watch, http, ingress, wait};

/// Passed by every write; the number says which one, counted from the start of the process. The rollout of a single
/// instance has at least eight of them.
pub(crate) const ROLLOUT: &[&str] = &[
    "server.ledger.decided:3",
    "server.store.commit.begun:4",
    "server.store.commit.applied:5",
    "server.store.commit.flushed:6",
    "server.store.commit.synced:7",
    "server.ledger.stored:7",
    "server.ledger.told:6",
    "server.ledger.stored:5",
    "server.ledger.decided:7",
];

/// Passed by a coordinator that never ran before.
pub(crate) const FIRST_START: &[&str] = &[
    "server.store.opened",
    "server.store.commit.begun",
    "server.store.commit.applied",
    "server.store.commit.synced",
    "server.store.numbered",
    "server.store.marked",
    "server.store.commit.synced:2",
];

/// Passed beside the work.
pub(crate) const HOUSEKEEPING: &[&str] = &[
    "server.checkpoint.before",
    "server.checkpoint.after",
    "server.revocation.before",
    "server.revocation.after",
    "server.backup.begun",
    "server.backup.written",
    "server.backup.synced",
    "server.backup.placed",
    "server.backup.forgotten",
];

/// Passed by `store export` and `store import`.
pub(crate) const COPIES: &[&str] = &[
    "server.export.written",
    "server.export.synced",
    "server.export.placed",
    "server.import.batch",
    "server.import.written",
    "server.import.done",
];

/// Good images: each is new to a host once, and then it is there.
const TAGS: &[&str] = &["v1", "v2", "v4"];
const SOON: Duration = Duration::from_secs(20);

fn fleet(name: &str, hosts: usize, settings: &str) -> (Fleet, Points) {
    let options =
        FleetOptions { crash_points: true, settings: settings.to_owned(), ..FleetOptions::default() };
    let fleet = Fleet::start_with(Lab::enter(), name, hosts, options);
    let points = Points::of(&fleet.folder);
    (fleet, points)
}

/// Runs `windlass-server` on a data folder to its end, to die at `point` unless that is empty.
fn server(fleet: &Fleet, data: &Path, arguments: &[&str], point: &str) -> Process {
    let mut command = vec![crash::program("crash-server")];
    command.extend(words(["--data", path(data)]));
    command.extend(words(arguments));
    let more = Points::of(&fleet.folder).environment(point);
    let environment = environment(&fleet.folder).into_iter().chain(more).collect();
    let log = fleet.folder.join(format!("server-{}.log", arguments.join("-").replace('/', "_")));
    drop(fs::remove_file(&log)); // each call is asked for what it said itself
    Process::start("windlass-server", command, environment, &log)
}

/// The same, and it must end by itself. Returns whether it succeeded, and its output.
#[track_caller]
fn call(fleet: &Fleet, data: &Path, arguments: &[&str]) -> (bool, String) {
    let mut process = server(fleet, data, arguments, "");
    let ended =
        wait::until("the command has ended", SOON, || process.ended().ok_or_else(|| process.output()));
    (ended.success(), process.output())
}

/// An armed coordinator may die before it was ready; what follows is the same.
#[track_caller]
fn wait_until_ready_or_dead(fleet: &mut Fleet) {
    let address = format!("{}:7480", fleet.lab.gateway());
    wait::until_true("the coordinator is ready, or dead", SOON, || {
        let ready =
            || http::get(&address, "/readyz", Duration::from_secs(1)).is_ok_and(|said| said.status == 200);
        fleet.server.ended().is_some() || ready()
    });
}

/// The store of a fleet whose coordinator does not run can be read, all of it.
#[track_caller]
pub(crate) fn check_store(fleet: &Fleet) {
    let (sound, said) = call(fleet, &fleet.folder.join("server"), &["check"]);
    assert!(sound && said.contains("everything can be read"), "{said}");
}

#[test]
fn coordinator_death_at_any_write_of_a_rollout_ends_it() {
    let (mut fleet, points) = fleet("crash-server", 1, "");
    let web = |fleet: &Fleet, tag: &str| {
        let service = Service::web(&fleet.lab.image(tag), 1);
        service.with("strategy.rolling.min_ready", "200ms").with("soak", "200ms")
    };
    fleet.deploy_ok(&web(&fleet, "v4"), "r1");
    let watch = Watch::begin("web", &fleet.hosts, TAGS);
    let data = fleet.data_of(&fleet.hosts[0]);
    let mut seq = crash::seq(&data);
    for (n, point) in ROLLOUT.iter().enumerate() {
        let tag = TAGS[n % TAGS.len()];
        points.arm(&mut fleet.server, point);
        wait_until_ready_or_dead(&mut fleet);
        let file = web(&fleet, tag).write(&fleet.folder, "next.yaml");
        let deploy = fleet.cli.start(&["deploy", "-f", path(&file), "--timeout", "1m", "-o", "json"]);
        points.expect_death(&mut fleet.server, point);
        drop(deploy); // it may have given up, or wait: what counts is what the coordinator knows
        check_store(&fleet);
        fleet.server.start_again();
        fleet.wait_for_server();
        // Goes on where it was if it was submitted, and is submitted now if not.
        if fleet.rollout()["state"] != "succeeded" {
            let end = fleet.cli.run(&["rollout", "watch", "web", "--timeout", "1m", "-o", "json"]).last();
            assert_eq!(end["outcome"], "succeeded", "{point}: {end}");
        }
        let end = fleet.deploy(&web(&fleet, tag)).expect_code(0).last();
        assert!(["succeeded", "unchanged"].iter().any(|good| end["outcome"] == *good), "{point}: {end}");
        fleet.wait_until_serving(tag, 1, SOON);
        let now = crash::seq(&data);
        assert!(now > seq, "{point}: the plan's number went from {seq} to {now}");
        seq = now;
    }
    let seen = watch.end();
    assert!(seen.fewest >= 1 && seen.silent.is_empty(), "one served all along: {seen:#?}");
    assert!(
        seen.versions.values().all(|said| said.len() == 1),
        "no release number was given twice: {seen:#?}"
    );
    assert_eq!(fleet.cli.json(&["audit", "verify"])["sound"], true);
}

#[test]
fn store_death_while_made_or_copied_leaves_whole_or_refused() {
    let (mut fleet, points) = fleet("crash-store", 0, "");
    assert!(fleet.server.stop(SOON).success(), "{}", fleet.server.tail(10));
    let original = fleet.folder.join("server");
    let fresh = |name: &str| -> PathBuf {
        let data = fleet.folder.join(name);
        assert!(
            std::process::Command::new("cp").arg("-a").arg(&original).arg(&data).status().unwrap().success()
        );
        fs::remove_dir_all(data.join("store")).unwrap();
        fs::remove_file(data.join("store-was-made")).unwrap(); // here none ever was
        data
    };
    for (n, point) in FIRST_START.iter().enumerate() {
        let data = fresh(&format!("first-{n}"));
        let mut first = server(&fleet, &data, &["--listen", "127.0.0.1:0"], point);
        points.expect_death(&mut first, point);
        let (sound, said) = call(&fleet, &data, &["check"]);
        assert!(sound && said.contains("everything can be read"), "{point}: {said}");
    }

    let backup = fleet.folder.join("backup.jsonl");
    for point in COPIES.iter().filter(|point| point.starts_with("server.export")) {
        let mut export = server(&fleet, &original, &["store", "export", path(&backup)], point);
        points.expect_death(&mut export, point);
        let placed = point.ends_with("placed");
        assert_eq!(backup.exists(), placed, "{point}: a backup that is there is whole");
        if !placed {
            let (made, said) = call(&fleet, &original, &["store", "export", path(&backup)]);
            assert!(made, "{point}: {said}");
            fs::remove_file(&backup).unwrap();
        }
    }
    for (n, point) in COPIES.iter().filter(|point| point.starts_with("server.import")).enumerate() {
        let data = fresh(&format!("import-{n}"));
        let mut import = server(&fleet, &data, &["store", "import", path(&backup)], point);
        points.expect_death(&mut import, point);
        let (sound, said) = call(&fleet, &data, &["check"]);
        if point.ends_with("done") {
            assert!(sound, "{point}: {said}");
            continue;
        }
        assert!(
            !sound && said.contains("the import is incomplete") && said.contains("hint:"),
            "{point}: {said}"
        );
        let (runs, said) = call(&fleet, &data, &["--listen", "127.0.0.1:0"]);
        assert!(!runs && said.contains("the import is incomplete"), "nothing runs on half a store: {said}");
        fs::rename(data.join("store"), data.join("store.half")).unwrap();
        let (imported, said) = call(&fleet, &data, &["store", "import", path(&backup)]);
        assert!(imported && call(&fleet, &data, &["check"]).0, "{point}: {said}");
    }
}

#[test]
fn coordinator_death_in_housekeeping_loses_no_entry_or_backup() {
    let (mut fleet, points) = fleet("crash-house", 0, "[backups]\nevery = \"1s\"\n");
    let (revoked, backups) =
        (fleet.folder.join("server/revocations.json"), fleet.folder.join("server/backups"));
    for (n, point) in HOUSEKEEPING.iter().enumerate() {
        points.arm(&mut fleet.server, point);
        if point.contains("checkpoint") {
            fleet.wait_for_server();
            fleet.cli.ok(&["host", "token", &format!("t{n}")]); // something to be anchored
            fleet.server.stop(SOON);
        } else if point.contains("revocation") {
            fleet.wait_for_server();
            fs::write(&revoked, point).unwrap();
        }
        points.expect_death(&mut fleet.server, point);
        check_store(&fleet);
        fleet.server.start_again();
        fleet.wait_for_server();
        assert_eq!(fleet.cli.json(&["audit", "verify"])["sound"], true, "{point}");
        if point.contains("revocation") {
            wait::until_true(&format!("the list is in the audit log after a death at {point}"), SOON, || {
                let log = fleet.folder.join(format!("audit-{n}.jsonl"));
                drop(fs::remove_file(&log));
                fleet.cli.ok(&["audit", "verify", "--save", path(&log)]);
                fs::read_to_string(&log).unwrap().contains("revocation.apply")
            });
            fs::remove_file(&revoked).unwrap();
        }
        if point.contains("backup") {
            let newest = || names(&backups).into_iter().filter(|name| name.ends_with(".jsonl")).max();
            let before = newest();
            wait::until(&format!("there is a backup after a death at {point}"), SOON, || {
                let (now, all) = (newest(), names(&backups));
                let whole = now > before && all.iter().all(|name| name.ends_with(".jsonl"));
                if whole { Ok(()) } else { Err(format!("{all:?}")) }
            });
        }
    }
    // Every backup that is there can be restored.
    fleet.server.kill_9();
    for (n, name) in names(&backups).iter().enumerate() {
        let data = fleet.folder.join(format!("restored-{n}"));
        let copied =
            std::process::Command::new("cp").arg("-a").arg(fleet.folder.join("server")).arg(&data).status();
        assert!(copied.unwrap().success());
        fs::remove_dir_all(data.join("store")).unwrap();
        let (imported, said) = call(&fleet, &data, &["store", "import", path(&backups.join(name))]);
        assert!(imported && call(&fleet, &data, &["check"]).0, "{name}: {said}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Passed between two arrows of a rollout whose service stands behind an ingress: a slot is written, or a table.
pub(crate) const ARROWS: &[&str] = &[
    "server.ledger.stored:4",
    "server.ledger.stored:5",
    "server.ledger.decided:7",
    "server.ledger.stored:7",
];

/// Each of these lies between start, routed, drained and stopped; what is lost then is what a client would see.
#[test]
fn a_coordinator_that_dies_between_two_arrows_costs_no_request() {
    let (mut fleet, points) = fleet("crash-arrows", 1, "");
    let web = |fleet: &Fleet, tag: &str| {
        let service =
            Service::web(&fleet.lab.image(tag), 2).with("soak", "200ms").with("drain_timeout", "20s");
        service.with("route", json!({ "host": ingress::NAME, "port": "http" })).with("hold", "30s")
    };
    let rolling = |fleet: &Fleet, tag: &str| web(fleet, tag).with("strategy.rolling.min_ready", "200ms");
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut proxy = ingress::start(&fleet, &edge, "ingress.log");
    fleet.deploy_ok(&rolling(&fleet, "v4"), "r1");
    ingress::wait_until_routed(&at, "v4");
    let load = Load::begin(&at, ingress::NAME, "/version", 100);
    for (n, point) in ARROWS.iter().enumerate() {
        let tag = TAGS[n % TAGS.len()];
        let next = rolling(&fleet, tag);
        let watch = Watch::begin("web", &fleet.hosts, TAGS);
        points.arm(&mut fleet.server, point);
        wait_until_ready_or_dead(&mut fleet);
        let file = next.write(&fleet.folder, "next.yaml");
        let deploy = fleet.cli.start(&["deploy", "-f", path(&file), "--timeout", "1m", "-o", "json"]);
        points.expect_death(&mut fleet.server, point);
        drop(deploy); // what counts is what the coordinator knows
        fleet.server.start_again();
        fleet.wait_for_server();
        if fleet.rollout()["state"] != "succeeded" {
            let end = fleet.cli.run(&["rollout", "watch", "web", "--timeout", "1m", "-o", "json"]).last();
            assert_eq!(end["outcome"], "succeeded", "{point}: {end}");
        }
        let end = fleet.deploy(&next).expect_code(0).last();
        assert!(["succeeded", "unchanged"].iter().any(|good| end["outcome"] == *good), "{point}: {end}");
        ingress::wait_until_routed(&at, tag);
        let seen = watch.end();
        // A surplus, never a gap.
        assert!(seen.fewest >= 2, "{point}: {seen:#?}");
    }
    let answers = load.end();
    println!("{} requests in {:?}: {:?}", answers.answered(), answers.took, answers.whole);
    answers.expect_none_lost();
    proxy.stop(Duration::from_secs(40));
}
