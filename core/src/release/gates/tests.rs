use serde_json::{Value, json};

use super::*;

fn gate(change: &Value) -> Gate {
    let mut json = json!({ "ask": { "crashes": { "max": 0 } }, "window": "1m", "passes": 3, "fails": 2 });
    json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    serde_json::from_value(json).unwrap()
}

#[test]
fn every_bound_of_a_gate_is_checked() {
    let ask = |ask: Value| json!({ "ask": ask });
    let query = |more: Value| {
        let mut all = json!({ "url": "http://p:9090", "query": "up", "timeout": "10s" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "ask": { "prometheus": all } })
    };
    let http = |more: Value| {
        let mut all = json!({ "url": "https://h/x?r={{release}}", "timeout": "10s" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "ask": { "http": all } })
    };
    let errors =
        |max, least| ask(json!({ "error_rate": { "max": max, "min_requests": least, "baseline": true } }));
    let slow = |max: &str| ask(json!({ "p95": { "max": max, "min_requests": 1, "baseline": false } }));
    #[rustfmt::skip]
    let table = [
        (json!({}), Ok(())),
        (json!({ "window": "9s" }), Err("window")), (json!({ "window": "61m" }), Err("window")),
        (json!({ "passes": 0 }), Err("passes")), (json!({ "passes": 101 }), Err("passes")),
        (json!({ "fails": 0 }), Err("fails")), (json!({ "fails": 10 }), Err("fails")),
        (json!({ "from_step": 0 }), Err("from_step")), (json!({ "from_step": 1 }), Ok(())),
        (errors(0, 1), Ok(())), (errors(1000, 1), Err("error_rate.max")), (errors(1, 0), Err("error_rate.min_requests")),
        (slow("1m"), Ok(())), (slow("61s"), Err("p95.max")), (slow("0s"), Err("p95.max")),
        (ask(json!({ "memory": { "max": 0 } })), Err("memory.max")), (ask(json!({ "cpu": { "max": 0 } })), Err("cpu.max")),
        (query(json!({ "max": 0.01 })), Ok(())), (query(json!({})), Err("prometheus")),
        (query(json!({ "min": 2, "max": 1 })), Err("prometheus.max")),
        (query(json!({ "max": 0.123_456_789_012_345_67 })), Ok(())),
        (query(json!({ "max": 1, "query": " " })), Err("prometheus.query")),
        (query(json!({ "max": 1, "query": "x".repeat(4097) })), Err("prometheus.query")),
        (query(json!({ "max": 1, "timeout": "99ms" })), Err("prometheus.timeout")),
        (query(json!({ "max": 1, "timeout": "61s" })), Err("prometheus.timeout")),
        (http(json!({})), Ok(())), (http(json!({ "pointer": "/a", "max": 1 })), Ok(())),
        (http(json!({ "pointer": "/a" })), Err("http")), (http(json!({ "max": 1 })), Err("http")),
        (http(json!({ "pointer": "a", "max": 1 })), Err("http.pointer")),
        (http(json!({ "url": "ftp://h" })), Err("http.url")),
    ];
    for (said, want) in table {
        let got = gate(&said).check().map_err(|(key, _)| key);
        // The number of many digits may be read exactly, or be refused: never changed.
        if said.to_string().contains("0.1234567") {
            assert!(got.is_ok() || got == Err("prometheus.max"), "{said}");
            continue;
        }
        assert_eq!(got, want, "{said}");
    }
}

#[test]
fn only_plain_addresses_are_asked() {
    for (url, good) in [
        ("http://prometheus:9090", true),
        ("https://[fd00::1]:9090/base", true),
        ("http://user@host", false),
        ("http://user:word@host/", false),
        ("http://", false),
        ("http://:9090", false),
        ("http:///x", false),
        ("file:///etc/passwd", false),
        ("http://h ost", false),
        ("http://{{service}}/x", false),
        ("HTTP://host", false),
        ("http://höst", false),
    ] {
        assert_eq!(is_url(url), good, "{url}");
    }
    assert!(is_url("http://h/x?y") && !is_origin("http://h/x?y") && !is_origin("http://h/#y"));
    assert!(!is_url(&format!("http://h/{}", "x".repeat(2048))));
}

#[test]
fn no_number_of_a_gate_is_infinite() {
    for text in ["1e999", "NaN", "-Infinity"] {
        assert!(serde_json::from_str::<Number>(text).is_err(), "{text}");
    }
    assert_eq!(serde_json::to_string(&Number::new(0.01).unwrap()).unwrap(), "0.01");
    assert!(Number::new(f64::NAN).is_none() && Number::new(f64::NEG_INFINITY).is_none());
}
