use serde_json::json;

use super::traffic::release;
use super::*;

use crate::verify::check_release;

const ROUTED: &str = "service: web\nimage: a:1\nports: { http: 80 }\nroute: { host: a.example.com }\n";

fn errors(rest: &str) -> String {
    match try_load(&format!("{ROUTED}{rest}")) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn what_is_said_about_triggers_is_signed_and_no_more() {
    let spec = spec_of(&format!(
        "{ROUTED}rollback_on: {{ restarts: 3, crashes: 1, error_rate: 5%, status_5xx: {{ count: 10, within: 1m }}, p95: 500ms, for: 1h }}\n"
    ));
    let want = json!({
        "restarts": 3, "unhealthy_for": "2m", "crashes": 1, "error_rate": { "max": 50 },
        "status_5xx": { "count": 10, "within": "1m" }, "p95": { "max": "500ms" }, "for": "1h",
    });
    assert_eq!(serde_json::to_value(spec.rollback_on).unwrap(), want);
    let spec = spec_of(&format!(
        "{ROUTED}rollback_on: {{ error_rate: {{ max: 0.5%, min_requests: 300, within: 5m }}, p95: {{ max: 1s, within: 2m }} }}\n"
    ));
    let want = json!({
        "restarts": 1, "unhealthy_for": "2m", "error_rate": { "max": 5, "min_requests": 300, "within": "5m" },
        "p95": { "max": "1s", "within": "2m" },
    });
    assert_eq!(serde_json::to_value(spec.rollback_on).unwrap(), want);
}

#[test]
fn a_release_with_triggers_is_of_the_third_version() {
    let spec = |rest: &str| spec_of(&format!("{ROUTED}{rest}\n"));
    assert_eq!(
        spec("rollback_on: { restarts: 3, unhealthy_for: 1m }").version(),
        2,
        "agents of before read it"
    );
    for rest in ["crashes: 1", "error_rate: 5%", "p95: 1s", "status_5xx: { count: 1, within: 10s }"] {
        let spec = spec(&format!("rollback_on: {{ {rest} }}"));
        assert_eq!(spec.version(), 3, "{rest}");
        assert_eq!(check_release(&release(3, spec.clone())), Ok(()), "{rest}");
        assert!(check_release(&release(2, spec)).is_err(), "{rest}");
    }
    let mut spec = spec("rollback_on: { crashes: 1 }");
    spec.rollback_on.crashes = Some(0);
    let refusal = check_release(&release(3, spec)).unwrap_err();
    assert_eq!(refusal.detail, "`rollback_on.crashes` must be from 1 to 1000000");
}

#[test]
fn triggers_that_make_no_sense_are_refused() {
    #[rustfmt::skip]
    let table = [
        ("error_rate: 5", "`rollback_on.error_rate`: `5` is not a share (like `10%` or `0.5%`: one decimal, at most 100%)\n  hint: with a unit: `5%`"),
        ("error_rate: 100%", "`rollback_on.error_rate`: must be below 100%"),
        ("error_rate: { max: 5%, within: 5s }", "`rollback_on.error_rate.within`: must be from 10s to 1h"),
        ("error_rate: { min_requests: 5 }", "`max` is missing"),
        ("status_5xx: 10", "expected a map, found a number"),
        ("status_5xx: { count: 0, within: 1m }", "`rollback_on.status_5xx.count`: must be from 1 to 1000000"),
        ("p95: { max: 2m }", "`rollback_on.p95`: must be from 1ms to 1m"),
        ("crashes: 0", "`rollback_on.crashes`: must be from 1 to 1000000"),
        ("crashes: 1, for: 25h", "`rollback_on.for`: must be from 1ms to 24h"),
        ("crash: 1", "did you mean `crashes`?"),
    ];
    for (said, want) in table {
        let found = errors(&format!("rollback_on: {{ {said} }}\n"));
        assert!(found.contains(want), "{said}: {found}");
    }
    let unrouted = "service: web\nimage: a:1\nrollback_on: { p95: 1s }\n";
    let found = try_load(unrouted).map(drop).unwrap_err().to_string();
    assert!(found.contains("`rollback_on.p95`: counts requests that go through an ingress"), "{found}");
    assert!(try_load("service: web\nimage: a:1\nrollback_on: { crashes: 1, for: 1h }\n").is_ok());
    // Restarts and unready instances bring it back for so long.
    assert!(try_load("service: web\nimage: a:1\nrollback_on: { for: 1h }\n").is_ok());
}
