use super::*;

use crate::release::HostAsk;
use crate::units::Span;

const SERVICE: &str = "service: web\nimage: nginx:1\nports: { http: 3001, admin: 9 }\n";

fn reasons(text: &str) -> Vec<String> {
    let Err(Errors(problems)) = try_load(&format!("{SERVICE}{text}")) else { return Vec::new() };
    problems.iter().map(|problem| format!("{}: {}", problem.path, problem.reason)).collect()
}

#[test]
fn requests_are_signed_as_they_are_written() {
    let spec = spec_of(&format!(
        r#"{SERVICE}
warm_up: [{{ http: /, times: 20 }}]
smoke:
  - http: /health
    expect: {{ json: {{ /status: ok, /gpu: true, /models_loaded: 5, /version: "1.5" }} }}
  - http: /predictions
    port: admin
    method: post
    headers: {{ X-API-Key: 12345 }}
    body: '{{"x":1}}'
    expect: {{ status: [200, 201], body: prediction, within: 500ms }}
  - {{ http: /sync/status, expect: {{ status: 200 }}, tries: 1, after: 30s }}
checks:
  - {{ name: database, postgres: "db:5432" }}
  - {{ redis: "cache:6379", timeout: 2s }}
  - {{ http: "http://feed:8080/health", expect: {{ status: 204 }} }}
soak: 60s
"#
    ));
    assert_eq!(spec.version(), 3);
    assert_eq!((spec.warm_up[0].times, spec.warm_up[0].request.port.as_str()), (20, "http"));
    let json = serde_json::to_value(&spec.smoke[0].expect.json).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"/status": "ok", "/gpu": true, "/models_loaded": 5, "/version": "1.5"})
    );
    let post = &spec.smoke[1];
    assert_eq!(
        (post.request.to_string().as_str(), post.request.port.as_str()),
        ("POST /predictions", "admin")
    );
    assert_eq!(post.request.headers["X-API-Key"], "12345");
    assert_eq!(
        (post.expect.status.as_slice(), post.expect.within),
        ([200.into(), 201.into()].as_slice(), Some(Span::from_millis(500)))
    );
    assert_eq!((post.tries, post.timeout, post.every), (3, Span::from_secs(5), Span::from_secs(2)));
    assert_eq!(spec.smoke[2].after, Some(Span::from_secs(30)));
    let names: Vec<&str> = spec.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["database", "redis cache:6379", "GET http://feed:8080/health"]);
    let url = "http://feed:8080/health".to_owned();
    assert_eq!(spec.checks[2].ask, HostAsk::Http { url, status: vec![204.into()] });
    let release = crate::release::Release {
        version: 3,
        fleet: "demo".parse().unwrap(),
        environment: "production".parse().unwrap(),
        service: "web".parse().unwrap(),
        counter: crate::id::Counter(1),
        created_at: crate::time::Timestamp::ZERO,
        author: "ann".to_owned(),
        spec,
    };
    crate::verify::check_release(&release).unwrap();
}

#[test]
fn silence_asks_nothing_and_is_signed_as_before() {
    let spec = spec_of(SERVICE);
    assert_eq!(spec.version(), 1);
    let text = serde_json::to_string(&spec).unwrap();
    assert!(!text.contains("warm_up") && !text.contains("smoke") && !text.contains("checks"), "{text}");
}

#[test]
fn what_makes_no_sense_is_refused_where_it_stands() {
    #[rustfmt::skip]
    let table = [
        ("smoke: [{ http: health }]", "smoke.0.http: is not the path of a request"),
        ("smoke: [{ http: /, port: htp }]", "smoke.0.port: there is no port `htp`"),
        ("smoke: [{ http: /, method: 'GET /x' }]", "smoke.0.method: is not the method of a request"),
        ("smoke: [{ http: /, headers: { Content-Length: 5 } }]", "smoke.0.headers.Content-Length: is not a header that can be sent"),
        ("smoke: [{ http: /, expect: { status: 600 } }]", "smoke.0.expect.status: `600` is not a status from 100 to 599, nor a range like `200-299`"),
        ("smoke: [{ http: /, expect: { json: { database: x } } }]", "smoke.0.expect.json.database: is not a JSON pointer"),
        ("smoke: [{ http: /, tries: 0 }]", "smoke.0.tries: must be from 1 to 100"),
        ("smoke: [{ http: /, timeout: 0s }]", "smoke.0.timeout: must be from 1ms to 5m"),
        ("warm_up: [{ http: /, times: 10001 }]", "warm_up.0.times: must be from 1 to 10000"),
        ("progress_deadline: 30s\nwarm_up: [{ http: / }]", "progress_deadline: is not longer than the 30s that `warm_up` and `smoke` may take together"),
        ("checks: [{ name: x }]", "checks.0: checks nothing"),
        ("checks: [{ tcp: 'a:1', redis: 'a:1' }]", "checks.0: checks tcp and redis at once"),
        ("checks: [{ postgres: db }]", "checks.0.postgres: is not `host:port`"),
        ("checks: [{ http: 'ftp://a/' }]", "checks.0.http: is not a URL that can be asked"),
        ("checks: [{ http: 'http://a/', tls: { verify: off } }]", "checks.0.tls: goes with a URL that begins with `https://`"),
        ("checks: [{ tcp: 'a:1', method: POST }]", "checks.0.method: goes with `http` only"),
        ("smoke: [{ http: /, tls: {} }]", "smoke.0.tls.name: is missing: the name that the certificate has to be for"),
        ("smoke: [{ http: /, tls: { name: 'a b' } }]", "smoke.0.tls.name: is not a name or an address that a certificate can be for"),
        ("smoke: [{ http: /, tls: { ca: ca.pem, verify: off } }]", "smoke.0.tls.ca: is of no use where no certificate is verified"),
        ("health: { readiness: { tcp: http, expect: { status: 200 } } }", "health.readiness.expect: goes with `http` only"),
        ("health: { readiness: { http: /, expect: { json: { gpu: true } } } }", "health.readiness.expect.json.gpu: is not a JSON pointer"),
        ("health: { liveness: { http: /, headers: { Upgrade: x } } }", "health.liveness.headers.Upgrade: is not a header that can be sent"),
        ("health: { startup: { http: /, method: 'A B' } }", "health.startup.method: is not the method of a request"),
        ("rollback_on: { gpu_errors: 1 }", "rollback_on.gpu_errors: looks at GPUs, and the service has none"),
        ("checks: [{ tcp: 'a:1', expect: { status: 200 } }]", "checks.0.expect: goes with `http` only"),
    ];
    for (text, want) in table {
        assert_eq!(reasons(text), [want], "{text}");
    }
    let many = format!("smoke: [{}]", vec!["{ http: / }"; 17].join(", "));
    assert_eq!(reasons(&many), ["smoke: has more than 16 entries"]);
    let portless = try_load("service: a\nimage: b:1\nsmoke: [{ http: / }]").unwrap_err();
    assert!(portless.to_string().contains("asks a port, and the service has none"), "{portless}");
}

#[test]
fn a_late_smoke_test_fits_the_watch() {
    // Tries of 5 s each with 2 s between them, and a `min_ready` of 10 s.
    let late = |soak: &str| reasons(&format!("soak: {soak}\nsmoke: [{{ http: /, after: 60s }}]"));
    let [reason] = late("68s").try_into().unwrap();
    assert!(reason.starts_with("smoke.0.after: with its tries it may take until 1m19s after"), "{reason}");
    assert_eq!(late("69s"), [""; 0]);
    let Err(problems) = try_load(&format!("{SERVICE}soak: 60s\nsmoke: [{{ http: /, after: 60s }}]")) else {
        panic!("it is refused")
    };
    assert!(problems.to_string().contains("make `soak` longer: `soak: 1m10s`"), "{problems}");
}

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

fn signed(text: &str) -> crate::release::Release {
    let spec = load_one(&format!("{SERVICE}{text}")).into_spec(image(), |path| match path {
        "ca.pem" => Ok(PEM.as_bytes().to_vec()),
        "key.pem" => Ok(b"secret".to_vec()),
        _ => Err(format!("no file `{path}`")),
    });
    let spec = spec.unwrap();
    crate::release::Release {
        version: spec.version(),
        fleet: "demo".parse().unwrap(),
        environment: "production".parse().unwrap(),
        service: "web".parse().unwrap(),
        counter: crate::id::Counter(1),
        created_at: crate::time::Timestamp::ZERO,
        author: "ann".to_owned(),
        spec,
    }
}

#[test]
fn a_probe_says_of_its_answer_what_a_smoke_test_does() {
    let release = signed(
        "health:
  startup: { http: /s }
  readiness:
    http: /health
    headers: { Host: api.internal:8443, X-Probe: 1 }
    tls: { ca: ca.pem }
    expect: { json: { /gpu: true } }
  liveness: { http: /live, method: head, expect: { status: [200-204, 401] } }
smoke: [{ http: /health, tls: { verify: off }, expect: { json: { /gpu: true } } }]
checks: [{ name: models, http: 'https://models.internal/v1', method: post, body: x, expect: { status: 200-299 } }]
",
    );
    let health = serde_json::to_value(&release.spec.health).unwrap();
    assert_eq!(
        health["startup"]["check"],
        serde_json::json!({"http": {"path": "/s", "port": "http"}}),
        "as before"
    );
    assert_eq!(
        health["readiness"]["check"]["request"],
        serde_json::json!({
            "request": {
                "path": "/health", "port": "http", "method": "GET",
                "headers": {"Host": "api.internal:8443", "X-Probe": "1"},
                "tls": {"name": "api.internal", "ca": PEM},
            },
            "expect": {"status": ["200-399"], "json": {"/gpu": true}},
        })
    );
    assert_eq!(health["liveness"]["check"]["request"]["request"]["method"], "HEAD");
    assert_eq!(
        health["liveness"]["check"]["request"]["expect"]["status"],
        serde_json::json!(["200-204", 401])
    );
    let smoke = serde_json::to_value(&release.spec.smoke[0]).unwrap();
    assert_eq!(smoke["request"]["tls"], serde_json::json!({"unverified": true}));
    let check = serde_json::to_value(&release.spec.checks[0].ask).unwrap();
    assert_eq!(
        check["request"],
        serde_json::json!({
            "url": "https://models.internal/v1", "method": "POST", "body": "x",
            "expect": {"status": ["200-299"]},
        })
    );
    assert_eq!(release.version, 6, "an older agent refuses it");
    crate::verify::check_release(&release).unwrap();
    let old = crate::release::Release { version: 5, ..release };
    crate::verify::check_release(&old).unwrap_err();
}

#[test]
fn certificates_are_read_when_a_release_is_signed() {
    let wrong = |file: &str| {
        let text = format!("{SERVICE}smoke: [{{ http: /, tls: {{ name: a, ca: {file} }} }}]");
        let read = |path: &str| {
            if path == "key.pem" { Ok(b"secret".to_vec()) } else { Err(format!("no file `{path}`")) }
        };
        load_one(&text).into_spec(image(), read).unwrap_err().to_string()
    };
    assert!(wrong("key.pem").contains("`smoke.0.tls.ca`: `key.pem` is not a file of certificates (PEM)"));
    assert!(wrong("none.pem").contains("`smoke.0.tls.ca`: no file `none.pem`"));
}

#[test]
fn what_needs_a_newer_agent_says_so_by_its_version() {
    for (text, version) in [
        ("smoke: [{ http: /, expect: { status: 200 } }]", 3),
        ("smoke: [{ http: /, expect: { status: 200-204 } }]", 6),
        ("warm_up: [{ http: /, tls: { name: a } }]", 6),
        ("health: { readiness: { http: / } }", 1),
        ("health: { readiness: { http: /, expect: {} } }", 6),
        ("checks: [{ http: 'http://a/', expect: { status: [200, 401] } }]", 3),
        ("checks: [{ http: 'http://a/', expect: { status: 200-204 } }]", 6),
        ("checks: [{ http: 'https://a/' }]", 6),
        ("resources: { gpus: 1 }\nrollback_on: { gpu_errors: 1 }", 6),
    ] {
        let release = signed(text);
        assert_eq!(release.version, version, "{text}");
        crate::verify::check_release(&release).unwrap();
    }
}
