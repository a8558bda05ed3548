use serde_json::{Value, json};

use super::*;

/// The longest text in a document, with the path to it.
fn longest(value: &Value, path: &str) -> (usize, String) {
    let children: Vec<(usize, String)> = match value {
        Value::String(text) => vec![(text.len(), path.to_owned())],
        Value::Array(items) => items.iter().map(|item| longest(item, path)).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| {
                [(name.len(), format!("{path}.*")), longest(field, &format!("{path}.{name}"))]
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    };
    children.into_iter().max().unwrap_or_default()
}

#[test]
fn no_field_of_an_observation_is_long() {
    let long = "x".repeat(3 << 20);
    let instance = json!({
        "id": &long, "container": &long, "release": Digest::of(b"r1"), "counter": "r1", "state": "starting",
        "since": Timestamp::ZERO, "available": false, "endpoints": { "http": &long, &long: "1.2.3.4:5" }, "restarts": 0,
    });
    let slot = |status: Value| {
        json!({
            "slot": "default/web/0", "release": Digest::of(b"r1"), "instances": [&instance], "status": status,
            "pulled": false, "pull": null,
            "trouble": { "code": "pull_failed", "message": &long, "tries": 1, "since": Timestamp::ZERO, "retry_at": Timestamp::ZERO },
        })
    };
    let refused = json!({ "refused": { "code": "policy", "detail": &long } });
    let observation = json!({
        "revision": 1, "seq": 1, "engine": { "unavailable": &long }, "unwritable": &long,
        "plan_refusal": { "code": "malformed", "detail": &long }, "slots": [slot(refused)],
    });
    let mut seen: Observation = serde_json::from_value(observation).unwrap();
    let unbounded = serde_json::to_string(&seen).unwrap().len();
    assert!(unbounded > 20 << 20, "every field is long: {unbounded}");
    seen.bound();
    let (len, path) = longest(&serde_json::to_value(&seen).unwrap(), "");
    assert!(len <= 4 * TEXT.max(1024), "{path} has {len} bytes");
    assert!(serde_json::to_string(&seen).unwrap().len() < 64 << 10);
}

#[test]
fn an_agent_of_the_version_before_says_undecided() {
    let instance = |name: &str| {
        let instance = json!({
            "id": "i", "container": "c", "release": Digest::of(b"r1"), "counter": "r1", "state": "unready",
            "since": Timestamp::ZERO, "available": false, "endpoints": {}, "restarts": 0, name: true,
        });
        serde_json::from_value::<Instance>(instance).unwrap()
    };
    let seen = instance("readiness_unknown");
    assert!(seen.readiness_unknown && seen == instance("undecided"));
    assert_eq!(serde_json::to_value(&seen).unwrap()["readiness_unknown"], true);
}
