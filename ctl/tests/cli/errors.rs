//! Errors: what failed, why, what to do next; the same as JSON.

use crate::{Desk, PINNED};

#[test]
fn without_a_fleet_the_way_to_one_is_named() {
    let desk = Desk::new();
    insta::assert_snapshot!(desk.screen(&["status"]), @"
    $ windlass status
    error: there is no fleet yet: `DESK/home` has no context

    hint: make one with `windlass init --fleet NAME --server HOST:PORT --server-dir DIR`, try it with `windlass dev`, or set WINDLASS_HOME
    exit 1
    ");
}

#[test]
fn a_coordinator_that_is_not_there() {
    let desk = Desk::with_fleet();
    insta::assert_snapshot!(desk.screen(&["host", "ls"]), @"
    $ windlass host ls
    error: failed to reach the coordinator at `127.0.0.1:1`
      caused by: Connection refused (os error 111)

    hint: is `windlass-server` running there, and is the address the one it listens on?
    exit 1
    ");
    let error = desk.error(&["status", "web", "-o", "json"]);
    assert_eq!(error["error"], "failed to reach the coordinator at `127.0.0.1:1`");
    assert_eq!(error["causes"][0], "Connection refused (os error 111)");
    assert!(error["hint"].as_str().unwrap().contains("windlass-server"));
}

#[test]
fn wait_ends_at_its_timeout_and_says_for_what() {
    let desk = Desk::with_fleet();
    insta::assert_snapshot!(desk.screen(&["wait", "web-1", "--timeout", "1s"]), @"
    $ windlass wait web-1 --timeout 1s
    error: the coordinator at `127.0.0.1:1` did not answer within 1s
      caused by: failed to reach the coordinator at `127.0.0.1:1`
      caused by: Connection refused (os error 111)

    hint: its log says why it does not run; wait longer with `--timeout 2m`
    exit 5
    ");
}

#[test]
fn every_problem_of_a_manifest_is_told_at_once() {
    let desk = Desk::with_fleet();
    let file = desk.write("web.yaml", "service: web\nimagee: x\nreplicas: many\n");
    let screen = desk.screen(&["deploy", "-f", &file]);
    insta::assert_snapshot!("manifest_problems", screen);
    let error = desk.error(&["plan", "-f", &file, "-o", "json"]);
    assert_eq!(error["error"], "the manifest is not valid");
    assert!(error["causes"][0].as_str().unwrap().starts_with("web.yaml:"), "{error}");
    assert_eq!(error["hint"], serde_json::Value::Null, "one for all would be that of another");
    let problem = &error["problems"][0];
    assert_eq!((&problem["at"], &problem["path"]), (&"web.yaml:2:1".into(), &"imagee".into()));
    assert_eq!(problem["hint"], "did you mean `image`?");
    assert_eq!(error["problems"][1]["hint"], "write `replicas: 3`");
    let text = format!(
        "service: web\nimage: a@sha256:{}\nfiles: {{ /x: {{ from: ./nothere.conf }} }}\n",
        "a".repeat(64)
    );
    desk.write("files.yaml", &text);
    let said = desk.screen(&["release", "sign", "-f", "./files.yaml", "--counter", "1", "--out", "r.json"]);
    assert!(said.contains("failed to read `nothere.conf`"), "{said}");
}

#[test]
fn a_registry_that_is_not_there() {
    let desk = Desk::with_fleet();
    let file = desk.write("web.yaml", "service: web\nimage: 127.0.0.1:1/web:v1\nports: { http: 80 }\n");
    insta::assert_snapshot!(desk.screen(&["deploy", "-f", &file]), @"
    $ windlass deploy -f web.yaml
    warning: the registry `127.0.0.1:1` refused the connection; trying again in 1 s
    warning: the registry `127.0.0.1:1` refused the connection; trying again in 2 s
    warning: the registry `127.0.0.1:1` refused the connection; trying again in 4 s
    error: failed to reach the registry `127.0.0.1:1`
      caused by: Connection refused (os error 111)

    hint: is the registry running, and is the port right?
    exit 1
    ");
}

#[test]
fn dev_asks_for_the_engine_before_it_makes_anything() {
    let desk = Desk::new();
    let ports = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [port, http] = ports.map(|listener| listener.local_addr().unwrap().port().to_string());
    let engine = format!("unix://{}", desk.path("none.sock").display());
    let screen =
        desk.screen(&["dev", "--dir", "try", "--engine", &engine, "--port", &port, "--http-port", &http]);
    assert!(screen.contains("error: no engine answers at `unix://DESK/none.sock`"), "{screen}");
    assert!(screen.contains("No such file or directory") && screen.ends_with("exit 1"), "{screen}");
    assert!(!screen.contains("containers"), "{screen}");
    assert!(!desk.path("try").exists(), "nothing was made");
}

#[test]
fn a_restart_without_a_dev_says_what_to_start() {
    let desk = Desk::new();
    insta::assert_snapshot!(desk.screen(&["dev", "restart", "--dir", "try"]), @"
    $ windlass dev restart --dir try
    error: no `windlass dev` answers in `try`
      caused by: No such file or directory (os error 2)

    hint: start it with `windlass dev`; of one that runs, name the folder with `--dir DIR`, or set WINDLASS_HOME as it said
    exit 1
    ");
    // Without a folder it is that of the home: DESK/home is of a fleet under DESK.
    let screen = desk.screen(&["dev", "restart"]);
    assert!(screen.contains("no `windlass dev` answers in `DESK`"), "{screen}");
}

#[test]
fn a_question_that_nobody_can_answer_is_an_error() {
    let desk = Desk::with_fleet();
    insta::assert_snapshot!(desk.screen(&["host", "ban", "web-1"]), @"
    $ windlass host ban web-1
    error: this needs a confirmation: Revoke the certificate of `web-1`? Its containers keep running until somebody stops them, and replacements start elsewhere at once. It may never join again.

    hint: add --yes to say yes beforehand
    exit 1
    ");
    // With --yes it goes on, as far as to the coordinator.
    assert!(desk.screen(&["host", "ban", "web-1", "--yes"]).contains("failed to reach the coordinator"));
}

#[test]
fn usage_is_exit_2_with_a_suggestion() {
    let desk = Desk::new();
    let screen = desk.screen(&["statsu"]);
    assert!(screen.contains("'status'") && screen.ends_with("exit 2"), "{screen}");
    let screen = desk.screen(&["status", "-o", "jsn"]);
    assert!(screen.contains("'json'") && screen.ends_with("exit 2"), "{screen}");
    let error = desk.error(&["deploy", "--supersed", "-o", "json"]);
    assert!(error["error"].as_str().unwrap().contains("--supersed"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--supersede"), "{error}");
    let screen = desk.screen(&["rollback", "web", "--to", "1"]);
    assert!(
        screen.contains("`1` is not a release: write it like `r7`") && screen.ends_with("exit 2"),
        "{screen}"
    );
    let screen = desk.screen(&["deploy", "-f", "x", "--timeout", "2"]);
    assert!(screen.contains("is not a duration (like `10s`"), "{screen}");
    assert!(screen.contains("tip: with a unit: `2s`"), "{screen}");
    let error = desk.error(&["deploy", "-f", "x", "--timeout", "2", "-o", "json"]);
    assert_eq!(error["hint"], "with a unit: `2s`", "{error}");
    assert!(!desk.screen(&["deploy", "-f", "x", "--timeout", "soon"]).contains("with a unit"));
}

#[test]
fn a_missing_file_is_named() {
    let desk = Desk::with_fleet();
    insta::assert_snapshot!(desk.screen(&["deploy", "-f", "web.yaml"]), @"
    $ windlass deploy -f web.yaml
    error: failed to read `web.yaml`
      caused by: No such file or directory (os error 2)
    exit 1
    ");
    desk.write("shop/web.yaml", PINNED);
    let said = desk.screen(&["deploy", "-f", "shop/wbe.yaml"]);
    assert!(said.contains("hint: did you mean `shop/web.yaml`?"), "{said}");
    assert!(!desk.screen(&["deploy", "-f", "shop/other.yaml"]).contains("did you mean"));
    insta::assert_snapshot!(desk.screen(&["deploy"]), @r"
    $ windlass deploy
    error: no manifest was named

    hint: name one: `web.yaml`, or a folder of them
    exit 2
    ");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::with_fleet();
    let key = desk.path("home/fleets/demo/release.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = desk.write("web.yaml", PINNED);
    insta::assert_snapshot!(
        desk.screen(&["release", "sign", "-f", &file, "--counter", "1", "--out", "r.json"]),
        @"
    $ windlass release sign -f web.yaml --counter 1 --out r.json
    error: failed to load the release key
      caused by: `DESK/home/fleets/demo/release.key` has mode 0644, a key file must have 0600 or stricter

    hint: run `chmod 600 DESK/home/fleets/demo/release.key`; if others could read it, replace the key instead
    exit 1
    "
    );
}
