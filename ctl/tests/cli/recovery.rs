//! `host recover`: shown before it is done, and done only as it was shown.

use serde_json::{Value, json};
use windlass_core::Digest;
use windlass_proto::pb;

use crate::coordinator::Script;
use crate::rollouts::run;

fn digest() -> String {
    Digest::of(b"preview").to_string()
}

fn ahead(hosts: Value) -> Script {
    let recovery = json!({
        "open": true, "cause": "a backup was restored", "since": "2026-11-22T12:00:00.000Z", "lost_audit_entries": 0,
        "hosts": hosts, "services": [], "digest": digest(),
    });
    Script { recovery, ..Script::default() }
}

fn host(state: &str) -> Value {
    json!({
        "host": "web-1", "state": state, "seq": 7, "known_seq": 5, "issued_at": null, "receipt": null,
        "differences": [], "obstacles": [],
    })
}

#[test]
fn nothing_is_taken_over_without_a_yes() {
    let (code, stdout, stderr, coordinator) = run(ahead(json!([host("keep_host")])), &["host", "recover"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stdout.contains("web-1: it holds plan 7; the store knows 5"), "{stdout}");
    assert!(stderr.contains("Nothing is restarted.") && stderr.contains("--yes"), "{stderr}");
    assert!(coordinator.script.lock().unwrap().recovered.is_empty());
    let (code, stdout, ..) = run(ahead(json!([host("unheard")])), &["host", "recover", "--look"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("web-1: it has not been heard of"), "{stdout}");
}

#[test]
fn a_yes_is_about_what_was_shown() {
    let arguments = ["host", "recover", "--keep-store", "web-1", "--yes", "-o", "json"];
    let (code, stdout, stderr, coordinator) = run(ahead(json!([host("keep_store")])), &arguments);
    assert_eq!(code, 0, "{stderr}");
    let done: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(done["hosts"][0]["state"], "keep_store");
    let told = coordinator.script.lock().unwrap().recovered.remove(0);
    assert_eq!(told, pb::RecoverRequest { keep_store: vec!["web-1".to_owned()], preview: digest() });
}

#[test]
fn a_fleet_that_needs_nothing_is_told_nothing() {
    let mut script = ahead(json!([]));
    script.recovery["open"] = json!(false);
    let (code, stdout, _, coordinator) = run(script, &["host", "recover", "--yes"]);
    assert_eq!(
        (code, stdout.trim()),
        (0, "nothing to recover: no host holds what the coordinator does not know")
    );
    assert!(coordinator.script.lock().unwrap().recovered.is_empty());
}
