//! Names that the fleet does not have: an error with the name that was meant, in every command that takes one.

use serde_json::{Value, json};

use crate::coordinator::Script;
use crate::rollouts::run;

fn fleet() -> Script {
    let service = |environment: &str, name: &str| {
        json!({ "service": name, "environment": environment, "release": "r2", "image": "web:1", "good": "r2",
            "rollout": null, "state": "steady", "wanted": 1, "healthy": 1, "serving": {}, "instances": [] })
    };
    let host = |name: &str| {
        json!({ "name": name, "state": "connected", "scheduling": "ready", "labels": {}, "address": "",
            "last_seen": null, "agent_version": "", "engine_version": "", "engine": "available", "os": "", "kernel": "",
            "platform": "", "cpu_millis": 0, "memory": 0, "memory_reserved": 0, "gpus": [], "slots": 0, "issued_seq": 0,
            "seq": 0, "plan_refusal": null, "stats": null })
    };
    let known = ["web", "worker"].map(|name| service("default", name));
    Script {
        status: json!([known[0], known[1], service("staging", "cache")]),
        hosts: json!([host("edge-1"), host("db-1")]),
        host: host("edge-1"),
        knows: Some(vec!["default/web".to_owned(), "edge-1".to_owned()]),
        quarantine: json!([]),
        ..Script::default()
    }
}

#[test]
fn a_misspelt_name_is_an_error_with_the_one_that_was_meant() {
    #[rustfmt::skip]
    let table: [(&[&str], &str); 14] = [
        (&["status", "wbe"],                        "did you mean `web`?"),
        (&["status", "default/wroker"],             "did you mean `worker`?"),
        (&["status", "cahce"],                      "did you mean `cache`?"),
        (&["ps", "wbe"],                            "did you mean `web`?"),
        (&["ps", "--host", "edgee-1"],              "did you mean `edge-1`?"),
        (&["rollout", "ls", "wbe"],                 "did you mean `web`?"),
        (&["rollout", "show", "wbe"],               "did you mean `web`?"),
        (&["quarantine", "ls", "wbe"],              "did you mean `web`?"),
        (&["release", "ls", "wbe"],                 "did you mean `web`?"),
        (&["host", "show", "egde-1"],               "did you mean `edge-1`?"),
        (&["host", "drain", "edge1"],               "did you mean `edge-1`?"),
        (&["scale", "wbe", "3"],                    "did you mean `web`?"),
        (&["rm", "wbe", "--yes"],                   "did you mean `web`?"),
        (&["status", "billing"],                    "`windlass status` shows the services"),
    ];
    for (args, hint) in table {
        let (code, stdout, stderr, _) = run(fleet(), args);
        assert_eq!((code, stdout.as_str()), (1, ""), "{args:?}: {stderr}");
        assert!(stderr.ends_with(&format!("\n\nhint: {hint}\n")), "{args:?}: {stderr}");
        assert!(stderr.contains("caused by: there is no "), "{args:?}: {stderr}");
    }
    let (_, _, stderr, _) = run(fleet(), &["status", "wbe", "-o", "json"]);
    let error: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(error["hint"], "did you mean `web`?", "{error}");
}

#[test]
fn names_that_the_fleet_has_are_answered() {
    for args in [&["quarantine", "ls", "web"][..], &["ps", "web"], &["ps", "--host", "edge-1"]] {
        let (code, _, stderr, _) = run(fleet(), args);
        assert_eq!(code, 0, "{args:?}: {stderr}");
    }
}

#[test]
fn what_may_still_come_is_waited_for_with_a_near_name() {
    let (code, _, stderr, _) = run(fleet(), &["wait", "egde-1", "--timeout", "1s"]);
    assert_eq!(code, 5, "{stderr}");
    let note = "host `egde-1` has not joined, waiting for it; did you mean `edge-1`?";
    assert_eq!(stderr.matches(note).count(), 1, "{stderr}");
    let hint = "hint: did you mean `edge-1`? Else join it: `windlass host token egde-1`";
    assert!(stderr.contains(hint), "{stderr}");
    let (_, _, stderr, _) = run(fleet(), &["wait", "edge-2", "--timeout", "1s"]);
    assert!(!stderr.contains("did you mean") && stderr.contains("hint: join it"), "{stderr}");
    #[rustfmt::skip]
    let table: [(&[&str], Option<&str>); 5] = [
        (&["events", "-f", "--service", "wbe"],    Some("the fleet has no service `default/wbe`, waiting for it; did you mean `web`?")),
        (&["events", "-f", "--host", "egde-1"],    Some("the fleet has no host `egde-1`, waiting for it; did you mean `edge-1`?")),
        (&["events", "-f", "--host", "gpu-7"],     Some("the fleet has no host `gpu-7`, waiting for it")),
        (&["events", "-f", "--service", "web"],    None),
        (&["events", "-f", "--host", "edge-1"],    None),
    ];
    for (args, note) in table {
        let (_, _, stderr, _) = run(fleet(), args);
        assert_eq!(stderr.contains("waiting for it"), note.is_some(), "{args:?}: {stderr}");
        assert!(stderr.contains(note.unwrap_or_default()), "{args:?}: {stderr}");
    }
}
