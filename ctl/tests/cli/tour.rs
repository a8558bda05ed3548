//! The commands of a first hour: lists, names, several services at once.

use serde_json::{Value, json};
use windlass_proto::pb;

use crate::coordinator::{Coordinator, ROLLOUT, Script, Watch, registry, view};
use crate::rollouts::run;
use crate::{Desk, stderr, stdout};

fn succeeding() -> Script {
    Script {
        last_counter: 1,
        watches: [Watch::Views(vec![view("succeeded", true)])].into(),
        ..Script::default()
    }
}

fn submitted(coordinator: &Coordinator) -> Vec<String> {
    let script = coordinator.script.lock().unwrap();
    script.submitted.iter().map(|release| release.service.to_string()).collect()
}

#[test]
fn a_manifest_is_named_with_and_without_a_flag() {
    for args in [&["deploy", "web.yaml"][..], &["deploy", "-f", "web.yaml"]] {
        let (code, _, stderr, coordinator) = run(succeeding(), args);
        assert_eq!(code, 0, "{args:?}: {stderr}");
        assert_eq!(submitted(&coordinator), ["web"], "{args:?}");
    }
    let (code, stdout, stderr, coordinator) =
        run(succeeding(), &["deploy", "third.yaml", "-f", "web.yaml", "other.yaml"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(submitted(&coordinator), ["web", "third", "other"], "those with the flag first");
    assert!(
        stdout.ends_with(
            "3 of 3 services done\n  default/web    done\n  default/third  done\n  default/other  done\n"
        ),
        "{stdout}"
    );
    let (code, _, stderr, _) = run(succeeding(), &["deploy", "web.yaml", "--plan", "x.plan"]);
    assert_eq!(code, 2, "{stderr}");
}

#[test]
fn a_folder_stands_for_every_manifest_in_it() {
    let desk = Desk::with_fleet();
    let coordinator = Coordinator::start(&desk, succeeding());
    let image = format!("{}/web:1", registry());
    for (file, service) in [("b.yaml", "two"), ("a.yml", "one"), (".hidden.yaml", "three"), ("c.txt", "four")]
    {
        desk.write(&format!("services/{file}"), &format!("service: {service}\nimage: {image}\n"));
    }
    desk.write("services/environments/default.yaml", "replicas: 2\n");
    let args =
        |folder: &'static str| ["deploy", "-f", folder, "--server", &coordinator.address].map(str::to_owned);
    let output = desk.run(&args("services").each_ref().map(String::as_str));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(submitted(&coordinator), ["one", "two"], "by name; hidden files and others are no manifests");
    let script = coordinator.script.lock().unwrap();
    let counts = serde_json::to_value(script.submitted[0].spec.scale).unwrap();
    assert_eq!(counts["replicas"]["min"], 2, "the overlay lies beside them");
    drop(script);
    std::fs::create_dir(desk.path("empty")).unwrap();
    let output = desk.run(&args("empty").each_ref().map(String::as_str));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no `*.yaml` in `empty`"), "{}", stderr(&output));
}

#[test]
fn a_series_says_what_was_not_submitted() {
    let failing = Script { watches: [Watch::Views(vec![view("rolled_back", true)])].into(), ..succeeding() };
    let (code, _, stderr, _) = run(failing, &["deploy", "web.yaml", "other.yaml"]);
    assert_eq!(code, 3);
    assert!(
        stderr.ends_with(
            "0 of 2 services done\n  default/web    back at the release before\n  default/other  not submitted\n"
        ),
        "{stderr}"
    );
}

fn gone() -> Script {
    let heard = pb::SteerServiceResponse {
        release: "r1".to_owned(),
        volumes: b"[]".to_vec().into(),
        ..Default::default()
    };
    Script { heard: Some(heard), statuses: [Value::Null].into(), ..Script::default() }
}

#[test]
fn several_services_are_removed_at_once() {
    let names = |coordinator: &Coordinator| {
        let script = coordinator.script.lock().unwrap();
        script.told.iter().map(|told| told.service.clone()).collect::<Vec<_>>()
    };
    let (code, stdout, stderr, coordinator) =
        run(gone(), &["rm", "default/web", "staging/db", "default/web", "--yes"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(names(&coordinator), ["default/web", "staging/db"]);
    assert_eq!(stdout.lines().filter(|line| line.contains(": removed")).count(), 2, "{stdout}");
    let script = Script { unknown: vec!["default/wbe".to_owned()], ..gone() };
    let (code, stdout, stderr, coordinator) = run(script, &["rm", "default/wbe", "staging/db", "--yes"]);
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(names(&coordinator), ["staging/db"], "a typo keeps none of the others");
    assert!(
        stdout.contains("staging/db: removed") && stderr.contains("`default/wbe` is not removed"),
        "{stderr}"
    );
}

fn service(environment: &str, name: &str, hosts: &[&str]) -> Value {
    let instance = |(n, host): (usize, &&str)| {
        json!({ "id": format!("{name}-{n}"), "slot": format!("{environment}/{name}/{n}"), "host": host,
            "host_state": "connected", "state": "healthy", "release": "r2", "endpoints": { "http": "127.0.0.1:4915" },
            "restarts": n, "since": null, "refused": null })
    };
    let instances: Vec<Value> = hosts.iter().enumerate().map(instance).collect();
    json!({ "service": name, "environment": environment, "release": "r2", "image": "web:1", "good": "r2", "rollout": null,
        "state": "steady", "wanted": hosts.len(), "healthy": hosts.len(), "serving": {}, "instances": instances })
}

#[test]
fn instances_of_all_services_are_listed_in_one_table() {
    let script = || Script {
        status: json!([service("default", "web", &["h1", "h2"]), service("staging", "db", &["h1"])]),
        ..Script::default()
    };
    let (code, stdout, stderr, _) = run(script(), &["ps"]);
    assert_eq!(code, 0, "{stderr}");
    insta::assert_snapshot!(stdout, @r"
    INSTANCE   SERVICE       SLOT   HOST   RELEASE   STATE     PROBE   SINCE   RESTARTS   ENDPOINTS
    web-0      default/web   0      h1     r2        healthy   -       -       0          http=127.0.0.1:4915
    web-1      default/web   1      h2     r2        healthy   -       -       1          http=127.0.0.1:4915
    db-0       staging/db    0      h1     r2        healthy   -       -       0          http=127.0.0.1:4915
    ");
    let (_, stdout, _, _) = run(script(), &["ps", "--host", "h1", "-e", "staging", "-o", "json"]);
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1, "{stdout}");
    assert_eq!((&found[0]["service"], &found[0]["id"]), (&json!("db"), &json!("db-0")));
    let (code, ls, _, _) = run(script(), &["ls"]);
    assert!(code == 0 && ls.contains("default/web") && ls.contains("staging/db"), "{ls}");
}

#[test]
fn a_rollout_is_named_by_service_and_release() {
    let script = || {
        let (mut new, mut old) = (view("succeeded", true), view("rolled_back", true));
        (new["release"], old["release"]) = (json!("r7"), json!("r6"));
        old["rollout"] = json!("0193ab00-0000-7000-8000-000000000009");
        Script { rollouts: json!([new, old]), ..Script::default() }
    };
    for (name, want) in
        [("default/web@r6", "0193ab00-0000-7000-8000-000000000009"), ("default/web@r7", ROLLOUT)]
    {
        let (code, _, stderr, coordinator) = run(script(), &["rollout", "show", name]);
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(coordinator.script.lock().unwrap().asked, [want]);
    }
    let (code, _, stderr, _) = run(script(), &["rollout", "show", "default/web@r5"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(stderr, @r"
    error: no rollout of `default/web` to r5 is remembered

    hint: `windlass rollout ls default/web` shows those that are
    ");
    let script = || Script { unchanged: true, last_counter: 5, ..Script::default() };
    let (code, _, stderr, coordinator) = run(script(), &["rollback", "default/web@r5"]);
    assert_eq!(code, 0, "{stderr}");
    let asked = coordinator.script.lock().unwrap().rolled_back.remove(0);
    assert_eq!((asked.service.as_str(), asked.to.as_str()), ("default/web", "r5"));
    assert_eq!(run(script(), &["rollback", "default/web@r5", "--to", "r4"]).0, 2);
}

#[test]
fn contexts_are_renamed_and_forgotten() {
    let desk = Desk::with_fleet();
    let names = || -> Vec<(String, bool)> {
        let listed = desk.json(&["context", "ls", "-o", "json"]);
        let of = |view: &Value| (view["name"].as_str().unwrap().to_owned(), view["current"] == true);
        listed.as_array().unwrap().iter().map(of).collect()
    };
    let second = ["init", "--fleet", "two", "--server", "127.0.0.1:2", "--server-dir", "other"];
    assert!(desk.run(&second).status.success());
    assert!(desk.run(&["context", "rename", "two", "staging"]).status.success());
    assert_eq!(
        names(),
        [("demo".to_owned(), false), ("staging".to_owned(), true)],
        "the current one stays current"
    );
    insta::assert_snapshot!(desk.screen(&["context", "rename", "staging", "demo"]), @r"
    $ windlass context rename staging demo
    error: there is a context `demo` already

    hint: forget that one first: windlass context rm demo
    exit 2
    ");
    assert_eq!(desk.run(&["context", "rename", "staging", "a b"]).status.code(), Some(2));
    insta::assert_snapshot!(desk.screen(&["context", "rm", "staging"]), @r"
    $ windlass context rm staging
    `staging` is forgotten; the keys of fleet `two` stay in DESK/home/fleets/two
    to have it back: windlass context add staging --fleet two --server 127.0.0.1:2
    no context is current now; choose one with: windlass context use NAME
    exit 0
    ");
    assert_eq!(names(), [("demo".to_owned(), false)]);
    assert!(desk.path("home/fleets/two/release.key").exists(), "keys are never removed");
    let gone = desk.screen(&["context", "rm", "staging"]);
    assert!(gone.contains("there are: demo") && gone.ends_with("exit 1"), "{gone}");
}

#[test]
fn versions_of_client_and_coordinator_are_shown() {
    let own = env!("CARGO_PKG_VERSION");
    let told = |version: Option<&str>| Script { version: version.map(str::to_owned), ..Script::default() };
    let (code, text, _, _) = run(told(Some("9.8.7")), &["version"]);
    assert_eq!((code, text), (0, format!("windlass         {own}\nwindlass-server  9.8.7 (fleet demo)\n")));
    let (code, text, _, _) = run(told(None), &["version", "-o", "json"]);
    let view: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &view["client"], &view["coordinator"]),
        (0, &json!(own), &json!("older than this program"))
    );
    let desk = Desk::with_fleet();
    let output = desk.run(&["version", "--timeout", "2s", "-o", "json"]);
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &view["client"]), (Some(1), &json!(own)), "nobody answers");
    assert!(view["reason"].as_str().unwrap().len() > 10 && view["coordinator"].is_null(), "{view}");
    let output = Desk::new().run(&["version"]);
    assert!(output.status.success() && stdout(&output).contains(own), "no context is no error");
    assert_eq!(stdout(&desk.run(&["version", "--client"])), format!("windlass         {own}\n"));
}

#[test]
fn the_quarantine_is_listed_and_cleared() {
    let found = json!([{ "service": "web", "environment": "default", "release": "r6", "rollout": ROLLOUT,
        "content": "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "hosts": ["h1", "h2"],
        "since": "2020-11-22T12:00:00.000Z", "reason": "exited with 101" }]);
    let script = || Script { quarantine: found.clone(), ..Script::default() };
    let (code, stdout, stderr, _) = run(script(), &["quarantine", "ls"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("default/web") && stdout.contains("h1,h2") && stdout.contains("exited with 101"),
        "{stdout}"
    );
    let (code, stdout, _, coordinator) = run(script(), &["quarantine", "clear", "default/web@r6"]);
    let asked = coordinator.script.lock().unwrap().cleared.remove(0);
    assert_eq!((code, asked.service.as_str(), asked.release.as_str()), (0, "default/web", "r6"));
    assert_eq!(stdout, "default/web: the content of r6 may start again with its next deploy\n");
    let none = Script { quarantine: json!([]), ..Script::default() };
    let (code, stdout, _, _) = run(none, &["quarantine", "clear", "default/web"]);
    assert_eq!((code, stdout.as_str()), (0, "default/web: nothing is quarantined\n"));
}

fn entries(count: u64) -> Vec<Vec<u8>> {
    use windlass_core::Timestamp;
    use windlass_core::audit::{Fact, Head};
    let mut head = Head::default();
    let entry = |n: u64| {
        let actor = if n.is_multiple_of(2) { "operator/alice" } else { "agent/web-1" }.to_owned();
        let fact = Fact {
            actor,
            verb: "test.it",
            subject: format!("thing {n}"),
            digest: None,
            outcome: "ok".to_owned(),
        };
        head.append(fact, Timestamp::from_millis(i64::try_from(n).unwrap() * 1000))
    };
    (0..count).map(entry).collect()
}

#[test]
fn the_audit_log_is_listed_page_by_page() {
    let script = || Script { audit: entries(120), ..Script::default() };
    let list = |args: &[&str]| -> Value {
        let (code, stdout, stderr, _) = run(script(), &[&["audit", "ls", "-o", "json"], args].concat());
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    };
    let numbers = |view: &Value| -> Vec<u64> {
        view["entries"].as_array().unwrap().iter().map(|entry| entry["n"].as_u64().unwrap()).collect()
    };
    let newest = list(&[]);
    assert_eq!(numbers(&newest), (70..120).collect::<Vec<_>>(), "the newest ones");
    assert!(newest["next"].is_null());
    let page = list(&["--from", "10", "--limit", "3"]);
    assert_eq!((numbers(&page), &page["next"]), (vec![10, 11, 12], &json!(13)));
    let last = list(&["--from", "117", "--limit", "3"]);
    assert_eq!((numbers(&last), &last["next"]), (vec![117, 118, 119], &Value::Null));
    assert_eq!(numbers(&list(&["--actor", "alice", "--limit", "2"])), [116, 118]);
    assert_eq!(numbers(&list(&["--subject", "thing 11", "--verb", "test", "--limit", "2"])), [118, 119]);
    assert_eq!(numbers(&list(&["--verb", "release"])), [0; 0]);
    let (_, stdout, stderr, _) = run(script(), &["audit", "ls", "--from", "0", "--limit", "1"]);
    assert!(stdout.contains("1970-01-01") && stdout.contains("thing 0"), "{stdout}");
    assert_eq!(stderr, "more: --from 1\n");
}

#[test]
fn labels_of_a_host_are_shown_with_the_way_to_others() {
    let host = json!({ "name": "web-1", "state": "connected", "scheduling": "ready", "labels": { "role": "app" },
        "address": "127.0.0.1", "last_seen": null, "agent_version": "1", "engine_version": "1", "engine": "available", "os": "", "kernel": "",
        "platform": "linux/amd64", "cpu_millis": 0, "memory": 0, "memory_reserved": 0, "gpus": [], "slots": 0, "issued_seq": 0,
        "seq": 0, "plan_refusal": null, "stats": null });
    let script = || Script { host: host.clone(), ..Script::default() };
    let (code, stdout, stderr, _) = run(script(), &["host", "label", "web-1"]);
    assert_eq!((code, stdout.as_str()), (0, "role=app\n"), "{stderr}");
    assert_eq!(run(script(), &["host", "label", "web-1", "role=app"]).0, 0, "it has it already");
    let (code, _, stderr, _) = run(script(), &["host", "label", "web-1", "zone=a b"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(stderr, @r"
    error: the labels of `web-1` are pinned on the host: it has those it joined with

    hint: let it join again in place: windlass host token web-1 --label role=app --label 'zone=a b'; then on the host stop the agent, and into a new folder: windlass-agent join --token TOKEN --data NEW_FOLDER; start the agent there. What runs on it stays where placements still match; move away first what may not stay: windlass host drain web-1, and at last: windlass host uncordon web-1
    ");
    let (code, _, stderr, _) = run(script(), &["host", "label", "web-1", "role="]);
    assert_eq!(code, 2);
    assert!(stderr.contains("expected `key=value`"), "no label is empty, here as in a token: {stderr}");
}

const COMPOSE: &str = "services:\n  web:\n    image: registry.example.com/web:1\n    user: app\n    cpus: 1\n    mem_limit: 1g\n    depends_on: [db]\n    volumes: \
    ['./app.conf:/etc/app.conf:ro']\n  db:\n    image: registry.example.com/db:1\n    user: app\n    cpus: 1\n    mem_limit: 1g\n    ports: ['5432']\n";

#[test]
fn a_compose_file_becomes_manifests_that_plan_reads() {
    let desk = Desk::new();
    desk.write("stack/compose.yaml", COMPOSE);
    desk.write("stack/app.conf", "x");
    let output = desk.run(&["import", "compose", "stack/compose.yaml"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("service: db\n") && text.contains("---\nservice: web\n"), "{text}");
    assert!(
        stderr(&output)
            .starts_with("2 manifests; not carried over, or different:\n  services.web.depends_on: ")
    );
    desk.write("stack/services.yaml", &text);
    let rendered = desk.run(&["render", "stack/services.yaml", "--plain"]);
    assert!(
        rendered.status.success() && stdout(&rendered).contains("protocol: tcp"),
        "{}",
        stderr(&rendered)
    );

    let output = desk.run(&["import", "compose", "stack/compose.yaml", "--out", "services", "-o", "json"]);
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(view["manifests"].as_array().unwrap().len(), 2, "{view}");
    assert_eq!(view["notes"][0]["key"], "services.web.depends_on");
    assert_eq!(stderr(&output), "", "notes stand in the document");
    assert!(desk.run(&["render", "services"]).status.success());
    let text = std::fs::read_to_string(desk.path("services/web.yaml")).unwrap();
    let from = desk.path("stack/app.conf").display().to_string();
    assert!(text.contains(&from), "the file is found from the other folder: {text}");
    let again = desk.screen(&["import", "compose", "stack/compose.yaml", "--out", "services"]);
    assert!(again.contains("failed to write `services/db.yaml`") && again.ends_with("exit 1"), "{again}");

    desk.write("empty.yaml", "services: { a: { image: 'not an image' } }\n");
    let nothing = desk.screen(&["import", "compose", "empty.yaml"]);
    assert!(
        nothing.contains("no manifest could be made of a of `empty.yaml`") && nothing.ends_with("exit 1"),
        "{nothing}"
    );
    desk.write("half.yaml", "services: { a: { image: 'not an image' }, b: { image: 'b:1', user: app } }\n");
    let half = desk.run(&["import", "compose", "half.yaml", "-o", "json"]);
    let view: Value = serde_json::from_slice(&half.stdout).unwrap();
    assert_eq!((half.status.code(), &view["failed"]), (Some(1), &serde_json::json!(["a"])));
    desk.write("other.yaml", "service: web\nimage: a:1\n");
    let other = desk.screen(&["import", "compose", "other.yaml"]);
    assert!(other.contains("there are no `services` in it") && other.ends_with("exit 1"), "{other}");
}

#[test]
fn the_log_of_the_program_has_a_filter() {
    let desk = Desk::with_fleet();
    let quiet = desk.run(&["context", "ls"]);
    assert!(quiet.status.success() && stderr(&quiet).is_empty(), "{}", stderr(&quiet));
    let loud = desk.run(&["--log", "trace", "status"]);
    assert!(stderr(&loud).contains("TRACE") || stderr(&loud).contains("DEBUG"), "{}", stderr(&loud));
    let wrong = desk.run(&["--log", "windlass_ctl=loud", "context", "ls"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        stderr(&wrong).contains("windlass_ctl=loud") && stderr(&wrong).contains("hint: a filter is"),
        "{}",
        stderr(&wrong)
    );
}

#[test]
fn contexts_are_completed_without_a_coordinator() {
    let desk = Desk::with_fleet();
    for words in [&["context", "use", ""][..], &["context", "rename", "d"], &["status", "--context", ""]] {
        let output = desk.run(&[&["__complete", "for"][..], words].concat());
        assert_eq!(stdout(&output).trim(), "demo", "{words:?}: {}", stderr(&output));
    }
    // bash splits a word at `@`.
    let silent = desk.run(&["__complete", "for", "release", "show", "web", "@"]);
    assert!(silent.status.success() && silent.stdout.is_empty(), "{}", stdout(&silent));
}
