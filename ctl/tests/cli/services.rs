//! Scale, stop and rm: what is asked, what is printed, which code.

use serde_json::{Value, json};
use windlass_proto::pb;

use crate::Desk;
use crate::coordinator::Script;
use crate::rollouts::run;

fn status(state: &str, available: u32, edit: impl FnOnce(&mut Value)) -> Value {
    let mut view = json!({
        "service": "web", "environment": "default", "release": "r1", "image": "web:1", "good": "r1", "rollout": null,
        "state": state, "replicas": 3, "waiting": [], "wanted": 3, "available": available, "healthy": available,
        "serving": {}, "instances": [],
    });
    edit(&mut view);
    json!([view])
}

fn told(unchanged: bool, statuses: impl IntoIterator<Item = Value>) -> Script {
    let volumes = br#"[{"host":"h1","volume":"windlass.default.web.data"}]"#.to_vec().into();
    let heard =
        pb::SteerServiceResponse { unchanged, release: "r1".to_owned(), rollout: String::new(), volumes };
    Script { heard: Some(heard), statuses: statuses.into_iter().collect(), ..Script::default() }
}

fn waiting(text: &str) -> impl FnOnce(&mut Value) {
    move |view| view["waiting"] = json!([text])
}

#[test]
fn scaling_follows_until_the_count_is_available() {
    let steps = || {
        [status("degraded", 1, waiting("room")), status("degraded", 2, |_| {}), status("steady", 3, |_| {})]
    };
    let (code, stdout, stderr, coordinator) = run(told(false, steps()), &["scale", "default/web", "3"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("default/web: 3 of 3 available after "), "{stdout}");
    insta::assert_snapshot!(stderr, @r"
    default/web: 1 of 3 available; waiting: room
    default/web: 2 of 3 available
    ");
    let asked = coordinator.script.lock().unwrap().told.remove(0);
    let want = pb::SteerServiceRequest {
        service: "default/web".to_owned(),
        action: pb::ServiceAction::Scale.into(),
        replicas: 3,
        supersede: false,
        force: false,
    };
    assert_eq!(asked, want);
    let (code, stdout, _, _) = run(told(false, steps()), &["scale", "default/web", "3", "-o", "json"]);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len()), (0, 3), "{stdout}");
    let end = &lines[2];
    assert_eq!(
        (&end["outcome"], &end["verb"], &end["replicas"]),
        (&json!("succeeded"), &json!("scale"), &json!(3))
    );
}

#[test]
fn the_exit_code_says_how_a_change_ended() {
    #[rustfmt::skip]
    let table: [(&str, Script, &[&str], i32, Value); 7] = [
        ("so already",       told(true, [status("steady", 3, |_| {})]),       &["scale", "default/web", "3"], 0, json!("unchanged")),
        ("not followed",     told(false, [status("steady", 3, |_| {})]),      &["scale", "default/web", "3", "--detach"], 0, Value::Null),
        ("time is up",       told(false, [status("degraded", 1, |_| {})]),    &["scale", "default/web", "3", "--timeout", "1s"], 5, json!("timeout")),
        ("somebody deploys", told(false, [status("advancing", 1, |_| {})]),   &["scale", "default/web", "3"], 6, json!("superseded")),
        ("stopped",          told(false, [status("stopping", 1, |_| {}), status("stopped", 0, |_| {})]), &["stop", "default/web"], 0, json!("succeeded")),
        ("removed",          told(false, [status("removing", 1, |v| v["leaving"] = json!({ "h1": "connected" })), Value::Null]), &["rm", "default/web", "--yes"], 0, json!("succeeded")),
        ("a host is lost",   told(false, [status("removing", 0, |v| v["leaving"] = json!({ "h1": "lost" }))]), &["rm", "default/web", "--yes"], 0, json!("succeeded")),
    ];
    for (case, script, args, want, outcome) in table {
        let (code, stdout, stderr, _) = run(script, &[args, &["-o", "json"]].concat());
        let end: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
        assert_eq!((code, &end["outcome"]), (want, &outcome), "{case}: {stdout}{stderr}");
    }
    let (code, _, stderr, _) = run(Script::default(), &["scale", "default/web", "3"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(stderr, @r"
    error: failed to scale the service
      caused by: a rollout of this service is active
    ");
}

#[test]
fn what_is_said_at_the_end_tells_what_to_do_next() {
    let (_, stdout, _, _) = run(told(false, [status("stopped", 0, |_| {})]), &["stop", "default/web"]);
    insta::assert_snapshot!(stdout, @r"
    default/web: stopped; `windlass restart default/web` starts it again, and so does a deploy
    kept on h1: volume windlass.default.web.data
    ");
    let lost = told(false, [status("removing", 0, |v| v["leaving"] = json!({ "h2": "lost" }))]);
    let (_, stdout, _, _) = run(lost, &["rm", "default/web", "--yes"]);
    let (_, rest) = stdout.split_once('\n').unwrap();
    insta::assert_snapshot!(rest, @r"
    lost, and told when they return: h2
    kept on h1: volume windlass.default.web.data
    ");
    let slow = told(false, [status("degraded", 1, waiting("a host that takes one more (h1: no room)"))]);
    let (code, _, stderr, _) = run(slow, &["scale", "default/web", "3", "--timeout", "1s"]);
    assert_eq!(code, 5);
    insta::assert_snapshot!(stderr, @r"
    default/web: 1 of 3 available; waiting: a host that takes one more (h1: no room)
    default/web: the timeout passed; the coordinator goes on; look with `windlass status default/web`
    waiting: a host that takes one more (h1: no room)
    kept on h1: volume windlass.default.web.data
    ");
}

#[test]
fn a_name_is_completed_behind_its_environment() {
    let desk = Desk::with_fleet();
    for (word, want) in
        [("", "web"), ("def", "web"), ("default/", "default/web"), ("default/w", "default/web")]
    {
        let coordinator =
            crate::coordinator::Coordinator::start(&desk, told(false, [status("steady", 3, |_| {})]));
        let output = desk.run(&["--server", &coordinator.address, "__complete", "for", "status", word]);
        assert_eq!(crate::stdout(&output).trim(), want, "{word}: {}", crate::stderr(&output));
    }
}

#[test]
fn removing_asks_first() {
    let desk = Desk::with_fleet();
    let coordinator = crate::coordinator::Coordinator::start(&desk, told(false, [Value::Null]));
    let error = desk.error(&["rm", "default/web", "-o", "json", "--server", &coordinator.address]);
    assert!(error["error"].as_str().unwrap().contains("this needs a confirmation"), "{error}");
    assert!(coordinator.script.lock().unwrap().told.is_empty(), "nothing was asked of the coordinator");
}
