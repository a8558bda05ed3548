//! Hints: what a hint says to write is no longer refused for the same reason.

use super::*;
use crate::manifest::schema;
use crate::manifest::shape::EXAMPLES;

/// The manifest with a value, written as YAML, at a path; `0` stands for the first item of a list.
fn with(path: &[&str], value: &str) -> String {
    let inner = path[1..].iter().rev().fold(value.to_owned(), |inner, key| match *key {
        "0" => format!("[{inner}]"),
        key => format!("{{ {key}: {inner} }}"),
    });
    format!("service: web\nimage: nginx:1\n{}: {inner}\n", path[0])
}

/// The problem with the value at the path itself.
fn problem(path: &[&str], value: &str) -> Option<Problem> {
    let Err(Errors(problems)) = try_load(&with(path, value)) else { return None };
    problems.into_iter().find(|problem| problem.path == display_path(path))
}

/// Whether a problem is about the form of the value, and not about what else the manifest says or leaves out.
fn is_of_form(problem: &Problem) -> bool {
    let reason = problem.reason.as_str();
    let starts = ["expected ", "unknown key", "has no value", "not supported yet"];
    starts.iter().any(|start| reason.starts_with(start))
        || (reason.starts_with('`') && (reason.contains("` is not ") || reason.contains("` is out of range")))
}

/// The value that a hint says to write at a key, if it says one.
fn advised(key: &str, hint: &str) -> Option<String> {
    let quoted: Vec<&str> = hint.split('`').skip(1).step_by(2).collect();
    // A hint about another place does not change this value.
    let first = *quoted.first().filter(|_| !hint.ends_with("at the top of the manifest"))?;
    if let Some(value) = first.strip_prefix(&format!("{key}: ")) {
        return Some(value.to_owned());
    }
    let is_value = ["write `", "with a unit: `", "without quotes: `", "one of `", "did you mean `"];
    if is_value.iter().any(|start| hint.starts_with(start)) && !hint.ends_with("below it") {
        return Some(first.to_owned());
    }
    if hint.ends_with("below it") {
        return Some(format!("{{ {first} }}"));
    }
    None
}

/// Every place of a manifest, with a key where any may stand.
fn places(schema: &serde_json::Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    if path.len() > 4 {
        return;
    }
    let choices = ["anyOf", "oneOf"].iter().filter_map(|word| schema.get(*word)?.as_array()).flatten();
    for schema in choices.chain([schema]) {
        let properties = schema.get("properties").and_then(serde_json::Value::as_object);
        let named = properties.into_iter().flatten().map(|(key, below)| (key.clone(), below));
        let key = match path.first().map(String::as_str) {
            Some("files") => "/x",
            Some("ulimits") => "nofile",
            _ => "abc",
        };
        let any = schema.get("additionalProperties").filter(|any| any.is_object());
        let item = schema.get("items");
        let all = named
            .chain(any.map(|below| (key.to_owned(), below)))
            .chain(item.map(|below| ("0".to_owned(), below)));
        for (key, below) in all.collect::<Vec<_>>() {
            path.push(key);
            if !found.contains(path) {
                found.push(path.clone());
            }
            places(below, path, found);
            path.pop();
        }
    }
}

#[test]
fn a_hint_that_is_followed_removes_its_problem() {
    let mut found = Vec::new();
    places(&schema(), &mut Vec::new(), &mut found);
    found.retain(|path| !matches!(path[0].as_str(), "service" | "image"));
    assert!(found.len() > 150, "{}", found.len());
    #[rustfmt::skip]
    let wrong = [
        "5", "\"5\"", "true", "yes", "no", "word", "/path", "a.example.com", "8080:80", "data:/data", "\"300\"", "0.5",
        "[a]", "[a=b, c=d]", "[5]", "[\"8080:80\"]", "{ a: b }", "[{ a: b }]", "{ run: [x] }", "{ http: / }", "{}", "udp", "QUIT",
    ];
    let mut followed = 0;
    for path in &found {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let key = *path.last().unwrap();
        for value in wrong {
            let Some(before) = problem(&path, value) else { continue };
            let Some(advice) = before.hint.as_deref().and_then(|hint| advised(key, hint)) else { continue };
            followed += 1;
            let after = problem(&path, &advice).filter(is_of_form);
            assert!(
                after.is_none(),
                "{}: {value} -> {before}\n{advice} -> {}",
                path.join("."),
                after.unwrap()
            );
        }
    }
    assert!(followed > 500, "{followed}");
}

#[test]
fn examples_of_hints_are_taken_at_their_place() {
    for (place, value) in EXAMPLES {
        let key = |part: &str, at: usize| match (part, at) {
            ("*", _) if place.starts_with("strategy") => "recreate".to_owned(),
            ("*", _) if place.starts_with("health") => "readiness".to_owned(),
            ("*", _) if place.starts_with("files") => "/x".to_owned(),
            ("*", _) if place.starts_with("ulimits") => "nofile".to_owned(),
            ("*", 1) if place.starts_with("hooks") => "before".to_owned(),
            ("*", _) if ["ports", "volumes", "gates"].iter().any(|of| place.starts_with(of)) => {
                "abc".to_owned()
            }
            ("*" | "#", _) => "0".to_owned(),
            (part, _) => part.to_owned(),
        };
        let path: Vec<String> = place.split('.').enumerate().map(|(at, part)| key(part, at)).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let found = problem(&path, value).filter(is_of_form);
        assert!(found.is_none(), "{place}: {}", found.unwrap());
    }
}

#[test]
fn short_forms_are_told_in_the_form_that_is_taken() {
    #[rustfmt::skip]
    let table = [
        ("ports: { http: \"8080:80\" }", "hint: write `http: { container: 80, host: 8080 }`"),
        ("ports: { dns: \"53:53/udp\" }", "hint: ports are TCP"),
        ("ports: { dns: { container: 53, protocol: udp } }", "hint: ports are TCP"),
        ("volumes: { d: /y }", "hint: write `d: { mount: /y }`"),
        ("volumes: { d: \"./x:/y:ro\" }", "`d: { mount: /y, host_path: /srv/…, read_only: true }`"),
        ("files: { /etc/a: ./a.conf }", "hint: write `/etc/a: { from: \"./a.conf\" }`"),
        ("labels: [a=b]", "hint: write a map by name: `labels: { a: b }`"),
        ("placement: { require: [role=app] }", "hint: write a map by name: `require: { role: app }`"),
        ("hooks: { before: { run: [./migrate] } }", "hint: write `before: [{ run: [\"./migrate\"] }]`"),
        ("hooks: { before: [\"./migrate --all\"] }", "hint: write `{ run: [\"./migrate\", \"--all\"] }`"),
        ("ports: { http: 80 }\nsmoke: { http: /health }", "hint: write `smoke: [{ http: /health }]`"),
        ("ports: { http: 80 }\nwarm_up: [/]", "hint: write `{ http: / }`"),
        ("ports: { http: 80 }\nsmoke: [{ http: /, expect: 200 }]", "hint: write `expect: { status: 200 }`"),
        ("gates: { x: { p95: 300ms } }", "hint: write `p95: { max: 300ms }`"),
        ("gates: { x: { p95: { max: 300 } } }", "hint: with a unit: `300ms`"),
        ("rollback_on: { p95: 300 }", "hint: with a unit: `300ms`"),
        ("init: no", "hint: write `init: false`"),
        ("ports: { http: 80 }\nroute: a.com", "hint: write `route: { host: a.com }`"),
        ("ports: { http: 80 }\nroute: \"https://a.com/api/\"", "hint: write `route: { host: a.com, path: /api }`"),
        ("ports: { db: 5432 }\nhealth: { readiness: { tcp: 5432 } }", "hint: write `tcp: db`: a port goes by its name"),
        ("ports: { db: 5432 }\nhealth: { readiness: { tcp: \"5432\" } }", "hint: a port goes by its name: `tcp: db`"),
        ("ports: { web: 80 }\nhealth: { readiness: { tcp: 5432 } }", "`ports: { main: 5432 }`, and `tcp: main`"),
        ("ports: { db: 5432 }\nsmoke: [{ http: /, port: \"5432\" }]", "hint: a port goes by its name: `port: db`"),
        ("jobs: {}", "hint: `job` is not supported yet: jobs come later"),
        ("strategy: { type: canary }", "hint: write `canary: {}` in its place"),
        ("strategy: { type: fast }", "`strategy: { rolling: {} }`, `recreate`, `blue_green` or `canary`"),
        ("replicas: \"3\"", "hint: without quotes: `3`"),
        ("health: { image: on }", "`health.image`: `on` is not one of `off`"),
        ("health: { image: false }", "hint: one of `off`"),
        ("checks: [{ http: \"https://a.b/\", tls: { verify: none } }]", "`none` is not one of `off`"),
    ];
    for (rest, want) in table {
        let said = match try_load(&format!("service: web\nimage: nginx:1\n{rest}\n")) {
            Ok(_) => "fine".to_owned(),
            Err(errors) => errors.to_string(),
        };
        assert!(said.contains(want), "{rest}: {said}");
    }
}

#[test]
fn a_missing_key_is_written_with_a_value_that_works() {
    #[rustfmt::skip]
    let table = [
        ("image: nginx:1\n", "`service` is missing\n  hint: add `service: web`"),
        ("service: web\n", "`image` is missing\n  hint: add `image: registry.example.com/team/web:1.5.2`"),
        ("service: web\nimage: nginx:1\nreplicas: { min: 2 }\n", "`max` is missing\n  hint: add `max: 10`"),
        ("service: web\nimage: nginx:1\nvolumes: { data: {} }\n", "`mount` is missing\n  hint: add `mount: /data`"),
        ("service: web\nimage: nginx:1\nhooks: { before: [{ timeout: 5s }] }\n", "`run` is missing\n  hint: add `run: [./migrate]`"),
        ("service: web\nimage: nginx:1\nroute: { path: / }\n", "`host` is missing\n  hint: add `host: api.example.com`"),
    ];
    for (text, want) in table {
        let said = try_load(text).unwrap_err().to_string();
        assert!(said.contains(want), "{text}: {said}");
    }
}

#[test]
fn every_key_that_must_be_there_has_an_example() {
    let mut all = Vec::new();
    places(&schema(), &mut Vec::new(), &mut all);
    let without: Vec<String> = all
        .iter()
        .filter(|path| path[0] != "secrets")
        .filter_map(|path| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let Err(Errors(problems)) = try_load(&with(&path, "{}")) else { return None };
            let missing =
                problems.into_iter().find(|of| of.reason.ends_with("` is missing") && of.hint.is_none())?;
            Some(missing.to_string())
        })
        .collect();
    assert_eq!(without, [""; 0]);
}

#[test]
fn a_slip_of_the_pen_is_told_as_it_was_meant() {
    #[rustfmt::skip]
    let table = [
        ("replicas: -1", "`-1` is out of range, expected at least 0"),
        ("replicas: 5000000000", "`5000000000` is out of range, expected at most 4294967295"),
        ("strategy: { rolling: { max_surge: 200% } }", "`200%` is not a number or percentage (like `3` or `25%`, at most `100%`)"),
        ("volumes: { data: { mount: data } }", "`data` is not an absolute path\n  hint: did you mean `/data`?"),
        ("workdir: ./app", "hint: did you mean `/app`?"),
        ("resources: { memory: 100 GB }", "hint: `100GiB`, or with units of 1000 `100GB`"),
        ("ports: { http: 80 }\nhealth: { readiness: { http: healthz } }", "hint: did you mean `/healthz`?"),
        ("ports: { http: 80 }\nhealth: { readiness: { http: \"http://localhost/up\" } }", "hint: did you mean `/up`?"),
        ("ports: { http: 80 }\nhealth: { readiness: { http: \"http://localhost\" } }", "hint: did you mean `/`?"),
        ("ports: { http: 80 }\nhealth: { readiness: { http: a b } }", "hint: begins with `/`, like `/health`"),
        ("hooks: { before: [{ command: [./migrate] }] }", "`hooks.before.0.command`: unknown key\n  hint: `run: [./migrate]`"),
        ("app: web", "hint: `service: web` is its name"),
        ("capabilities: [NET_ADMIN]", "hint: `security: { capabilities: [NET_ADMIN] }`"),
        ("canary: 1", "hint: `strategy: { canary: { steps: [10%, 50%, 100%] } }`"),
        ("health: { readinessProbe: { path: /x } }", "hint: `health: { readiness: { http: /health } }`"),
        ("autoscale: { max: 3 }", "hint: `replicas: { min: 2, max: 10 }` with `windlass scale`; autoscaling comes later"),
        ("rollback_on: { http_5xx: 5% }", "hint: `status_5xx: { count: 10, within: 1m }`"),
        ("mode: global", "one instance per host is `per_host: true`"),
    ];
    for (rest, want) in table {
        let said = match try_load(&format!("service: web\nimage: nginx:1\n{rest}\n")) {
            Ok(_) => "fine".to_owned(),
            Err(errors) => errors.to_string(),
        };
        assert!(said.contains(want), "{rest}: {said}");
    }
    let image = |text: &str| try_load(&format!("service: web\nimage: {text}\n")).unwrap_err().to_string();
    assert!(image("nginx:$TAG").contains("variables are not replaced; give the image with `--set image=…`"));
    assert!(
        image("http://registry.internal/web:1").contains("hint: did you mean `registry.internal/web:1`?")
    );
}

#[test]
fn a_second_service_of_a_name_names_the_first_one() {
    let said = try_load("service: a\nimage: x:1\n---\nservice: a\nimage: x:1\n").unwrap_err().to_string();
    assert!(
        said.contains(
            "web.yaml:4:10: `service`: the service `a` stands here a second time; first in web.yaml:1:10"
        ),
        "{said}"
    );
}
