//! Deploying and following: exit codes, what is printed, a coordinator that comes and goes.

use serde_json::{Value, json};
use tonic::Code;
use windlass_core::Digest;

use crate::coordinator::{Coordinator, ROLLOUT, Script, Watch, registry, view};
use crate::terminal::typed;
use crate::{Desk, stderr, stdout};

/// Runs a command against a coordinator with this script; answers with exit code, stdout and stderr.
pub(crate) fn run(script: Script, args: &[&str]) -> (i32, String, String, Coordinator) {
    let desk = Desk::with_fleet();
    let coordinator = Coordinator::start(&desk, script);
    let image = format!("{}/web:1", registry());
    for service in ["web", "other", "third"] {
        let manifest = format!("service: {service}\nimage: {image}\nports: {{ http: 80 }}\n");
        desk.write(&format!("{service}.yaml"), &manifest);
    }
    let args: Vec<&str> = args.iter().copied().chain(["--server", &coordinator.address]).collect();
    let output = desk.run(&args);
    (output.status.code().unwrap(), stdout(&output), stderr(&output), coordinator)
}

fn watching(watches: impl IntoIterator<Item = Watch>) -> Script {
    Script { last_counter: 1, watches: watches.into_iter().collect(), ..Script::default() }
}

fn last(stdout: &str) -> Value {
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

#[test]
fn the_exit_code_says_how_it_ended() {
    #[rustfmt::skip]
    let table = [
        ("succeeded", true, 0), ("failed", false, 1), ("rolled_back", true, 3), ("aborted", true, 3), ("failed", true, 4),
        ("paused", true, 4), ("superseded", true, 6),
    ];
    for (state, changed, want) in table {
        let script = watching([Watch::Views(vec![view("advancing", changed), view(state, changed)])]);
        let (code, stdout, stderr, _) = run(script, &["deploy", "-f", "web.yaml", "-o", "json"]);
        assert_eq!(code, want, "{state} changed={changed}: {stderr}");
        let (lines, end) = (stdout.lines().count(), last(&stdout));
        assert_eq!(lines, 2, "one object per change, and the outcome: {stdout}");
        assert_eq!((&end["outcome"], &end["changed"]), (&json!(state), &json!(changed)));
        assert_eq!(end["release"], "r2");
        assert_eq!(end["rollout"], ROLLOUT);
        assert_eq!(end["duration_ms"], 5000);
        assert_eq!(stderr, "", "{state}: progress is on stdout where programs read it");
    }
}

#[test]
fn the_same_object_is_not_printed_twice() {
    let mut later = view("advancing", true);
    later["duration_ms"] = json!(6000);
    let views = vec![view("advancing", true), later, view("soaking", true), view("succeeded", true)];
    let (code, stdout, _, _) =
        run(watching([Watch::Views(views)]), &["deploy", "-f", "web.yaml", "-o", "json"]);
    assert_eq!((code, stdout.lines().count()), (0, 3), "{stdout}");
}

#[test]
fn nothing_to_change_is_done() {
    let script = Script { last_counter: 4, unchanged: true, ..Script::default() };
    let (code, stdout, _, _) = run(script, &["deploy", "-f", "web.yaml", "-o", "json"]);
    assert_eq!((code, &last(&stdout)["outcome"]), (0, &json!("unchanged")));
    let script = Script { last_counter: 4, unchanged: true, ..Script::default() };
    let (code, stdout, _, _) = run(script, &["rollback", "default/web"]);
    assert_eq!((code, stdout.trim()), (0, "default/web: nothing to change, it is at r4"));
}

#[test]
fn a_rollback_says_first_from_where_to_where() {
    let release = |number: u64, current: bool| {
        json!({
            "release": format!("r{number}"), "environment": "default", "service": "web",
            "digest": Digest::of(b"release"), "image": "web:1", "image_digest": Digest::of(b"image"),
            "author": "alice", "created_at": "2026-01-01T00:00:00.000Z", "good": true, "current": current,
            "signed_by": [],
        })
    };
    let script = || Script {
        last_counter: 2,
        releases: json!([release(4, true), release(2, false)]),
        ..watching([Watch::Views(vec![view("succeeded", true)])])
    };
    let (code, _, stderr, _) = run(script(), &["rollback", "default/web"]);
    let first = stderr.lines().next().unwrap_or_default();
    assert!(code == 0 && first.starts_with("default/web: r4 → r2 (made "), "{code} {stderr}");
    let (code, _, stderr, _) = run(script(), &["rollback", "default/web", "-o", "json"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn a_rollback_that_loses_names_asks_a_person_and_warns_a_script() {
    let lost = "`web.example.com/` leads nowhere after this: r1 has no `route`";
    let script = || Script {
        last_counter: 2,
        lost: vec![lost.to_owned()],
        ..watching([Watch::Views(vec![view("succeeded", true)])])
    };
    let (code, _, stderr, coordinator) = run(script(), &["rollback", "default/web"]);
    assert_eq!(code, 0, "a script goes back at once: {stderr}");
    assert!(stderr.contains(&format!("warning: {lost}")), "{stderr}");
    let asked = |coordinator: &Coordinator| -> Vec<bool> {
        coordinator.script.lock().unwrap().rolled_back.iter().map(|request| request.ask).collect()
    };
    assert_eq!(asked(&coordinator), [false]);
    let table: [(&str, &[&str], &str, &[bool]); 3] = [
        ("n", &[], "Roll back? [y/N]", &[true]),
        ("y", &[], "Roll back? [y/N]", &[true, false]),
        ("", &["--yes"], "warning:", &[false]),
    ];
    for (answer, more, want, calls) in table {
        let desk = Desk::with_fleet();
        let coordinator = Coordinator::start(&desk, script());
        let args = [&["rollback", "default/web", "--server", &coordinator.address], more].concat();
        let said = typed(&desk, &args, answer);
        assert!(said.contains(lost) && said.contains(want), "{answer}: {said}");
        assert_eq!(said.matches(lost).count(), 1, "it is said once: {said}");
        assert_eq!(asked(&coordinator), calls, "{answer}: {said}");
        let to: Vec<String> =
            coordinator.script.lock().unwrap().rolled_back.iter().map(|request| request.to.clone()).collect();
        let named: &[&str] = if answer == "y" { &["", "r1"] } else { &[""] };
        assert_eq!(to, named, "{answer}: who was asked about r1 gets r1");
    }
}

#[test]
fn a_lost_race_takes_the_next_number() {
    let script = Script { races: 3, ..watching([Watch::Views(vec![view("succeeded", true)])]) };
    let (code, _, stderr, coordinator) = run(script, &["deploy", "-f", "web.yaml"]);
    assert_eq!(code, 0, "{stderr}");
    let submitted = coordinator.script.lock().unwrap().submitted.clone();
    assert_eq!(submitted.iter().map(|release| release.counter.0).collect::<Vec<_>>(), [5]);
    let script = Script { races: 100, ..watching([]) };
    let (code, _, stderr, _) = run(script, &["deploy", "-f", "web.yaml"]);
    assert_eq!(code, 1, "not for ever");
    assert!(stderr.contains("the counter is taken"), "{stderr}");
    assert!(stderr.contains("run the command again, with --supersede"), "{stderr}");
}

#[test]
fn what_comes_after_a_failure_is_named() {
    let failing = || watching([Watch::Views(vec![view("rolled_back", true)])]);
    let set = ["deploy", "-f", "web.yaml", "-f", "other.yaml", "-f", "third.yaml"];
    let (code, _, stderr, _) = run(failing(), &set);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("not submitted, because of default/web: default/other, default/third"),
        "{stderr}"
    );
    let (code, stdout, _, _) = run(failing(), &[&set[..], &["-o", "json"]].concat());
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [.., skipped, end] = &lines[..] else { panic!("{stdout}") };
    assert_eq!(skipped, &json!({ "skipped": ["default/other", "default/third"], "because": "default/web" }));
    assert_eq!((code, &end["outcome"]), (3, &json!("rolled_back")));
}

#[test]
fn a_coordinator_that_restarts_is_waited_for() {
    let watches = [
        Watch::Views(vec![view("advancing", true)]),
        Watch::Refuse(Code::Unavailable),
        Watch::Views(vec![view("soaking", true), view("succeeded", true)]),
    ];
    let (code, stdout, stderr, _) = run(watching(watches), &["deploy", "-f", "web.yaml"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "default/web r2: succeeded after 5s\n");
    insta::assert_snapshot!(stderr, @"
    fleet demo, environment default
    default/web r2: advancing, r2 available in 0 of 1 slots, r1 serves in 1
    lost the coordinator (failed to watch the rollout: the coordinator is stopping); the rollout may go on where the hosts are; trying again until --timeout (1h)
    the coordinator is back
    default/web r2: soaking, r2 available in 0 of 1 slots, r1 serves in 1
    default/web r2: succeeded, r2 available in 0 of 1 slots
    ");
}

#[test]
fn the_timeout_ends_the_following_and_not_the_rollout() {
    let hang = || watching([Watch::Hang(vec![view("advancing", true)])]);
    let (code, _, stderr, _) = run(hang(), &["deploy", "-f", "web.yaml", "--timeout", "300ms"]);
    assert_eq!(code, 5);
    assert!(stderr.ends_with(&format!(
        "the timeout passed; the rollout goes on: `windlass rollout watch {ROLLOUT}`\n"
    )));
    let (code, stdout, _, _) =
        run(hang(), &["rollout", "watch", "default/web", "--timeout", "300ms", "-o", "json"]);
    let end = last(&stdout);
    assert_eq!((code, &end["outcome"]), (5, &json!("timeout")));
    assert!(end["reason"].as_str().unwrap().contains("goes on"));
    // Nobody answers at all: the same, in the same time.
    let gone = watching([Watch::Refuse(Code::Unavailable)]);
    let (code, _, _, _) = run(gone, &["deploy", "-f", "web.yaml", "--timeout", "300ms"]);
    assert_eq!(code, 5);
}

#[test]
fn a_refusal_while_following_is_an_error() {
    let script = watching([Watch::Refuse(Code::PermissionDenied)]);
    let (code, _, stderr, _) = run(script, &["deploy", "-f", "web.yaml"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("error: failed to watch the rollout\n  caused by: no"), "{stderr}");
}

#[test]
fn detached_it_only_begins() {
    let (code, stdout, _, _) = run(watching([]), &["deploy", "-f", "web.yaml", "--detach", "-o", "json"]);
    let end = last(&stdout);
    assert_eq!((code, &end["outcome"], &end["rollout"]), (0, &Value::Null, &json!(ROLLOUT)));
}

#[test]
fn an_ambiguous_name_is_an_error() {
    let status = |environment: &str| {
        json!({ "service": "web", "environment": environment, "release": "r1", "image": "web:1", "good": "r1", "rollout": null,
            "state": "steady", "wanted": 1, "healthy": 1, "serving": { "r1": 1 }, "instances": [] })
    };
    let script = || Script { status: json!([status("production"), status("staging")]), ..Script::default() };
    let (code, _, stderr, _) = run(script(), &["status", "web"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(stderr, @"
    error: `web` exists in several environments: production, staging

    hint: say which one: `-e production` or `production/web`
    ");
    let (code, stdout, _, _) = run(script(), &["status", "-o", "json"]);
    assert_eq!((code, serde_json::from_str::<Value>(&stdout).unwrap().as_array().unwrap().len()), (0, 2));
    let (code, stdout, _, _) = run(script(), &["status", "web", "-e", "production", "-o", "json"]);
    assert_eq!(
        (code, &serde_json::from_str::<Value>(&stdout).unwrap()["environment"]),
        (0, &json!("production"))
    );
}

#[test]
fn followed_events_go_on_after_a_restart_each_once() {
    let events =
        [(vec![5, 6], Code::Unavailable), (vec![], Code::Unavailable), (vec![7, 8], Code::PermissionDenied)];
    let script = Script { events: events.into(), ..Script::default() };
    let (code, stdout, stderr, coordinator) = run(script, &["events", "-f", "-o", "json"]);
    assert_eq!(code, 1, "a refusal ends it, an absence does not: {stderr}");
    let numbers: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].clone()).collect();
    assert_eq!(numbers, [5, 6, 7, 8], "one object per line");
    let from = coordinator.script.lock().unwrap().events_from.clone();
    assert_eq!(from[..2], [None, Some(7)], "it is taken up where it ended");
    assert_eq!(from.len(), 3);
}
