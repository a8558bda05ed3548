use serde_json::json;

use super::traffic::release;
use super::*;

use crate::verify::check_release;

const CANARY: &str = "service: web\nimage: a:1\nports: { http: 80 }\nroute: { host: a.example.com }\nstrategy: { canary: {} }\n";

fn errors(rest: &str) -> String {
    errors_of(&format!("{CANARY}{rest}"))
}

fn errors_of(manifest: &str) -> String {
    match try_load(manifest) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn gates_are_signed_with_every_number_of_theirs() {
    let spec = spec_of(&format!(
        "{CANARY}gates:
  errors: {{ error_rate: {{ max: 1% }} }}
  latency: {{ p95: {{ max: 300ms }}, baseline: false, window: 30s, passes: 5, fails: 1 }}
  crashes: {{ crashes: {{ max: 0 }}, from_step: 2 }}
  memory: {{ memory: {{ max: 90% }} }}
  cpu: {{ cpu: {{ max: 95.5% }}, dry_run: true }}
  orders: {{ prometheus: {{ url: \"http://p:9090\", query: \"up\", max: 0.01, min: -1 }} }}
  checks: {{ http: {{ url: \"https://h/x\", pointer: /errors, max: 5, timeout: 2s }} }}
  judge: {{ http: {{ url: \"https://h/x\" }} }}
"
    ));
    let of = |ask: serde_json::Value| json!({ "ask": ask, "window": "1m", "passes": 3, "fails": 2 });
    let with = |mut gate: serde_json::Value, more: serde_json::Value| {
        gate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        gate
    };
    let want = json!({
        "errors": of(json!({ "error_rate": { "max": 10, "min_requests": 300, "baseline": true } })),
        "latency": with(of(json!({ "p95": { "max": "300ms", "min_requests": 100, "baseline": false } })),
            json!({ "window": "30s", "passes": 5, "fails": 1 })),
        "crashes": with(of(json!({ "crashes": { "max": 0 } })), json!({ "from_step": 2 })),
        "memory": of(json!({ "memory": { "max": 900 } })),
        "cpu": with(of(json!({ "cpu": { "max": 955 } })), json!({ "dry_run": true })),
        "orders": of(json!({ "prometheus":
            { "url": "http://p:9090", "query": "up", "timeout": "10s", "min": -1.0, "max": 0.01 } })),
        "checks": of(json!({ "http": { "url": "https://h/x", "pointer": "/errors", "timeout": "2s", "max": 5.0 } })),
        "judge": of(json!({ "http": { "url": "https://h/x", "timeout": "10s" } })),
    });
    assert_eq!(serde_json::to_value(&spec.gates).unwrap(), want);
    assert_eq!(spec.version(), 4);
    assert_eq!(check_release(&release(4, spec.clone())), Ok(()));
    assert!(check_release(&release(3, spec.clone())).is_err());
    // The steps that name no gate ask all but the one that begins at a step of its own.
    let crate::release::Strategy::Canary { steps, .. } = &spec.strategy else {
        panic!("{:?}", spec.strategy)
    };
    assert_eq!(steps[0].gates.len(), 7);
    let asked = |step: u32| crate::gate::asked_in(&spec, step, &steps[step as usize - 1].gates).len();
    assert_eq!((asked(1), asked(2)), (7, 8));
    // Five steps ask the named ones; the one that begins in step 2 is asked in the last step too.
    let planned = |name: &str| crate::gate::planned(&spec, name, &spec.gates[name]);
    assert_eq!((planned("errors"), planned("latency"), planned("crashes")), (15, 25, 15));
}

#[test]
fn gates_that_make_no_sense_are_refused() {
    #[rustfmt::skip]
    let table = [
        ("gates: { a: {} }", "`gates.a`: asks nothing"),
        ("gates: { a: { window: 1m } }", "`gates.a`: asks nothing"),
        ("gates: { a: { crashes: { max: 0 }, memory: { max: 9% } } }", "`gates.a.memory`: is a second question"),
        ("gates: { A: { crashes: { max: 0 } } }", "is not the name of a gate"),
        ("gates: { a: { crashes: { max: 0 }, window: 9s } }", "`gates.a.window`: must be from 10s to 1h"),
        ("gates: { a: { crashes: { max: 0 }, passes: 0 } }", "`gates.a.passes`: must be from 1 to 100"),
        ("gates: { a: { crashes: { max: 0 }, fails: 10 } }", "`gates.a.fails`: must be from 1 to 9"),
        ("gates: { a: { crashes: { max: 0 }, baseline: true } }", "`gates.a.baseline`: has nothing to compare"),
        ("gates: { a: { error_rate: { max: 100% } } }", "`gates.a.error_rate.max`: must be below 100%"),
        ("gates: { a: { error_rate: { max: 1% , min_requests: 0 } } }", "`gates.a.error_rate.min_requests`: must be"),
        ("gates: { a: { prometheus: { url: x, query: up, max: 1 } } }", "`gates.a.prometheus.url`: must be `http://`"),
        ("gates: { a: { prometheus: { url: \"http://p\", query: up } } }", "`gates.a.prometheus`: must have a `max`"),
        ("gates: { a: { prometheus: { url: \"http://p\", query: up, max: .nan } } }", "non-finite"),
        ("gates: { a: { prometheus: { url: \"http://p\", query: up, max: .inf } } }", "non-finite"),
        ("gates: { a: { http: { url: \"http://p\", max: 1 } } }", "`gates.a.http`: must have a `pointer`"),
        ("gates: { a: { error_rat: { max: 1% } } }", "did you mean `error_rate`?"),
    ];
    for (said, want) in table {
        let got = errors(said);
        assert!(got.contains(want), "{said}: {got}");
    }
    let many: String = (0..17).map(|n| format!("  g{n}: {{ crashes: {{ max: 0 }} }}\n")).collect();
    assert!(errors(&format!("gates:\n{many}")).contains("`gates`: has more than 16 entries"));
    let rolling = "service: web\nimage: a:1\ngates: { a: { crashes: { max: 0 } } }\n";
    assert!(
        errors_of(rolling).contains("asked by the steps of `canary` or `blue_green`"),
        "{}",
        errors_of(rolling)
    );
    let blue = |from: &str| {
        format!(
            "service: web\nimage: a:1\nports: {{ http: 80 }}\nroute: {{ host: a.example.com }}\nstrategy: {{ blue_green: {{ steps: [50%] }} }}\n\
             gates: {{ a: {{ error_rate: {{ max: 1% }}{from} }} }}\n"
        )
    };
    assert_eq!(spec_of(&blue("")).gates["a"].from_step, Some(1), "every step of the traffic asks it");
    assert_eq!(spec_of(&blue(", from_step: 2")).gates["a"].from_step, Some(2));
    let late = errors_of(&blue(", from_step: 3"));
    assert!(late.contains("comes after the last step") && late.contains("in 2 steps"), "{late}");
    let nothing = "has neither gates nor an approval";
    assert!(errors("gates: { a: { crashes: { max: 0 }, dry_run: true } }").contains(nothing));
    assert!(
        errors("gates: { a: { crashes: { max: 0 }, from_step: 2 } }").contains(nothing),
        "nobody asks in step 1"
    );
    assert_eq!(errors("gates: { a: { crashes: { max: 0 }, from_step: 1 } }"), "fine");
    let unrouted = |port: &str| {
        format!(
            "service: web\nimage: a:1\nports: {{ a: {{ container: 80, protocol: {port} }} }}\nstrategy: {{ canary: {{}} }}\n\
             gates: {{ a: {{ error_rate: {{ max: 1% }} }} }}\n"
        )
    };
    assert!(
        errors_of(&unrouted("tcp")).contains("the service has no `route`"),
        "{}",
        errors_of(&unrouted("tcp"))
    );
    let warned = &load_one(&unrouted("http")).warnings;
    assert!(
        warned.iter().any(|w| w.reason.contains("only those of services that have it in `uses`")),
        "{warned:?}"
    );
}

#[test]
fn a_host_verifies_the_gates_that_were_signed() {
    let spec = spec_of(&format!("{CANARY}gates: {{ a: {{ crashes: {{ max: 0 }} }} }}\n"));
    for (change, want) in [
        (json!({ "a": { "window": "1s" } }), "`gates.a.window` must be from 10s to 1h"),
        (json!({ "a": { "fails": 0 } }), "`gates.a.fails` must be from 1 to 9"),
    ] {
        let mut json = serde_json::to_value(&spec).unwrap();
        let of = change["a"].as_object().unwrap().clone();
        json["gates"]["a"].as_object_mut().unwrap().extend(of);
        let spec = serde_json::from_value(json).unwrap();
        assert_eq!(check_release(&release(4, spec)).unwrap_err().detail, want);
    }
    let mut named = spec;
    let gate = named.gates.remove("a").unwrap();
    named.gates.insert("A b".into(), gate);
    assert!(check_release(&release(4, named)).is_err());
}
