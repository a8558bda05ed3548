use serde_json::{Value, json};

use super::traffic::release;
use super::*;

use crate::verify::check_release;

const ROUTED: &str = "service: web\nimage: a:1\nports: { http: 80 }\nroute: { host: a.example.com }\n";
/// A gate that decides, and one that does not.
const GATES: &str =
    "gates: { errors: { error_rate: { max: 1% } }, tried: { error_rate: { max: 2% }, dry_run: true } }\n";
const WATCHED: &str = "rollback_on: { error_rate: 5% }\n";

fn errors(rest: &str) -> String {
    match try_load(&format!("{ROUTED}{rest}")) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

fn strategy(rest: &str) -> Value {
    let spec = spec_of(&format!("{ROUTED}{rest}"));
    assert_eq!(spec.version(), 4);
    assert_eq!(check_release(&release(4, spec.clone())), Ok(()), "{rest}");
    assert!(check_release(&release(3, spec.clone())).is_err(), "a release of version 3 has no canary");
    serde_json::to_value(spec.strategy).unwrap()["canary"].take()
}

#[test]
fn a_canary_without_steps_has_six() {
    let said = strategy(&format!("{WATCHED}strategy: {{ canary: {{}} }}\n"));
    let weights: Vec<u64> =
        said["steps"].as_array().unwrap().iter().map(|s| s["weight"].as_u64().unwrap()).collect();
    assert_eq!(weights, [10, 50, 100, 250, 500, 1000]);
    assert_eq!((&said["min_instances"], &said["keep_old"]), (&json!(1), &json!("10m")));
}

#[test]
fn a_step_that_only_triggers_watch_lasts_five_minutes() {
    // A last step names both gates.
    let holds = |step: &str| {
        let steps = format!("steps: [{step}, {{ weight: 90%, gates: [errors, tried] }}]");
        let said = strategy(&format!("{WATCHED}{GATES}strategy: {{ canary: {{ {steps} }} }}\n"));
        said["steps"][0]["hold"].clone()
    };
    assert_eq!(holds("10%"), json!(null), "its gates decide");
    assert_eq!(holds("{ weight: 50%, gates: [] }"), json!("5m"));
    assert_eq!(holds("{ weight: 5%, gates: [tried] }"), json!("5m"), "a dry run");
    assert_eq!(holds("{ weight: 5%, gates: [], approve: true }"), json!(null));
    assert_eq!(holds("{ weight: 5%, gates: [], hold: 1m }"), json!("1m"));
    assert_eq!(holds("{ weight: 5%, gates: [], hold: 0s }"), json!(null), "a person has said so");
    assert_eq!(holds("{ match: { header: { x: 1 } } }"), json!("5m"), "nobody would see it");
}

#[test]
fn steps_are_signed_as_they_are_said() {
    let said = strategy(
        "strategy:\n  canary:\n    match: { cookie: { beta: yes-please } }\n    min_instances: 2\n    keep_failed: 10m\n    steps:\n\
         \x20   - { match: { header: { X-Canary: 1 } }, hold: 10m }\n\
         \x20   - { weight: 0.5%, instances: 2, hold: 5m, approve: true }\n",
    );
    let cookie = json!({ "on": "cookie", "name": "beta", "value": "yes-please" });
    let header = json!({ "on": "header", "name": "x-canary", "value": "1" });
    assert_eq!(
        said["steps"],
        json!([
            { "weight": 0, "matches": [header, cookie], "hold": "10m" },
            { "weight": 5, "instances": 2, "matches": [cookie], "hold": "5m", "approve": true },
            { "weight": 1000 },
        ])
    );
    assert_eq!((&said["min_instances"], &said["keep_failed"]), (&json!(2), &json!("10m")));
}

#[test]
fn steps_that_cannot_be_are_refused() {
    let of = |steps: &str| errors(&format!("{WATCHED}strategy: {{ canary: {{ steps: {steps} }} }}\n"));
    for (steps, want) in [
        ("[50%, 10%]", "must not fall"),
        ("[0%, 10%]", "gives the new release nothing"),
        ("[{ weight: 5%, gates: [errors] }]", "`errors` is no gate of this manifest"),
        ("[{ weight: 5%, hold: 2d }]", "must be at most"),
        ("[{ match: {} }]", "names neither a header nor a cookie"),
        ("[{ match: { header: { 'a b': 1 } } }]", "is no name of a header or cookie"),
        ("[{ weight: 101% }]", "not a share"),
        ("[{ weigth: 5% }]", "did you mean `weight`?"),
    ] {
        let said = of(steps);
        assert!(said.contains(want), "{steps}: {said}");
    }
    assert_eq!(of("[5%, 25%, { weight: 100%, hold: 1m }]"), "fine");
}

#[test]
fn a_step_has_something_that_could_stop_it() {
    let said = errors("strategy: { canary: { steps: [{ weight: 5%, hold: 10m }] } }\n");
    assert!(said.contains("has neither gates nor an approval, so nothing but time"), "{said}");
    for fine in [
        "[{ weight: 5%, approve: true }]",
        "[{ match: { header: { x: 1 } } }, { weight: 5%, approve: true }]",
    ] {
        assert_eq!(errors(&format!("strategy: {{ canary: {{ steps: {fine} }} }}\n")), "fine", "{fine}");
    }
}

#[test]
fn a_canary_is_no_friend_of_some_keys() {
    let of = |rest: &str| errors(&format!("{WATCHED}strategy: {{ canary: {{ steps: [10%] }} }}\n{rest}\n"));
    assert!(of("on_failure: rollback_failed").contains("`rollback_failed` cannot be with `canary`"));
    assert!(of("exclusive: true\nreplicas: 1").contains("cannot be with `exclusive`"));
    let fixed = errors(&format!("{WATCHED}strategy: {{ canary: {{ steps: [10%], min_instances: 0 }} }}\n"));
    assert!(fixed.contains("must be from 1 to 1000"), "{fixed}");
    let plain = |rest: &str| match try_load(&format!("service: web\nimage: a:1\n{rest}\n")) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.to_string(),
    };
    assert_eq!(
        plain("strategy: { canary: { steps: [{ weight: 10%, approve: true }] } }"),
        "fine",
        "instances"
    );
    let said = plain("strategy: { canary: { steps: [{ match: { header: { x: 1 } }, approve: true }] } }");
    assert!(said.contains("chooses requests, and the service has no port"), "{said}");
}

#[test]
fn a_preview_has_a_release_beside_another() {
    let of = |strategy: &str| {
        format!(
            "service: web\nimage: a:1\nports: {{ http: 80 }}\nroute: [{{ host: a.b }}, {{ host: next.a.b, preview: true }}]\n{strategy}\n"
        )
    };
    let spec = spec_of(&of("strategy: { blue_green: {} }"));
    assert_eq!((spec.version(), check_release(&release(4, spec.clone()))), (4, Ok(())));
    assert_eq!(spec.traffic.routes.iter().map(|route| route.preview).collect::<Vec<_>>(), [false, true]);
    let said = try_load(&of("")).unwrap_err().to_string();
    assert!(said.contains("`route.1.preview`: leads to the new release while it stands beside"), "{said}");
    let shared = of("strategy: { blue_green: {} }").replace("next.a.b", "a.b, path: /next");
    let said = try_load(&shared).unwrap_err().to_string();
    assert!(said.contains("`route.1.host`: `a.b` serves already: a preview has a name of its own"), "{said}");
    let mut rolling = spec;
    rolling.strategy = spec_of("service: web\nimage: a:1\n").strategy;
    assert!(check_release(&release(4, rolling)).is_err(), "a host refuses what no manifest makes");
}
