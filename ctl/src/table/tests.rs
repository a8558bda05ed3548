//! Screens for people. Accept a new screen with `INSTA_UPDATE=always`, and read the diff.

mod fixture;
mod instances;
mod routes;

use serde_json::{Value, json};
use windlass_core::view::{HostView, PreviewView, RecoveryView, ReleaseView, StatusView};

use super::*;
use crate::printer::Colour;
use fixture::digest;
pub(crate) use fixture::{host_view, now, rollout_view, stats, status_view, view};

#[test]
fn conditions_of_a_host_stand_below_each_other() {
    let mut seen = host_view("web-1", "connected");
    seen["engine_version"] = json!("");
    let shown = |value: Value| host(&view(value), now());
    assert!(shown(seen.clone()).contains("engine         Docker, of a version not told yet\n"));
    let cordoned = json!({ "problem": "cordoned", "text": "cordoned: it gets no new slots" });
    seen["problems"] = json!([cordoned, cordoned]);
    let text = shown(seen);
    let want =
        "conditions     cordoned: it gets no new slots\n               cordoned: it gets no new slots\n";
    assert!(text.contains(want), "{text}");
}

#[test]
fn hosts_in_a_table_and_one_in_full() {
    let mut lost = host_view("web-2", "lost");
    lost["labels"] = json!({});
    lost["gpus"] = json!([]);
    lost["last_seen"] = Value::Null;
    lost["scheduling"] = json!("cordoned");
    let mut busy = host_view("web-3", "connected");
    busy["stats"] = stats("2026-11-22T12:09:58.000Z");
    let mut old = host_view("web-4", "connected");
    old["stats"] = stats("2026-11-22T12:09:00.000Z");
    let views: Vec<HostView> = vec![view(host_view("web-1", "connected")), view(lost), view(busy), view(old)];
    insta::assert_snapshot!("hosts", hosts(&views, now(), Colour::Off));
    insta::assert_snapshot!("host_measured", host(&views[2], now()));
    let old = host(&views[3], now());
    assert!(old.contains("measured: stale, 1m ago") && !old.contains("busy"), "{old}");
    insta::assert_snapshot!("host", host(&views[0], now()));
    let mut gpus = host_view("web-3", "connected");
    gpus["gpus"] = json!([
        { "uuid": "GPU-1", "name": "L4", "memory": 25_769_803_776_u64, "strangers": 268_435_456 },
        { "uuid": "MIG-2", "name": "A30 MIG", "memory": 0, "parent": "GPU-2" },
    ]);
    gpus["gpus_lost"] = json!([{ "uuid": "GPU-3", "name": "L4", "since": "2026-11-22T12:09:00.000Z", "why": "it has fallen off the bus" }]);
    gpus["gpu_access"] = json!({ "no": "the engine has no hook" });
    gpus["gpu_holders"] = json!({ "GPU-1": [
        { "slot": "production/ml/0", "memory": 6_442_450_944_u64 }, { "slot": "production/web/1", "memory": 1_073_741_824 },
    ] });
    gpus["gpu_holders"]["GPU-3"] = json!([{ "slot": "production/ml/1", "standby": true }]);
    gpus["gpus"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "uuid": "GPU-4", "name": "L4", "memory": 1, "health": "errors" }));
    insta::assert_snapshot!("host_with_gpus", host(&view(gpus), now()));
    let mut ill = host_view("web-1", "connected");
    let found = |code: &str, message: &str| json!({ "code": code, "message": message, "host": "web-1" });
    ill["conditions"] =
        json!([found("gpu_lost", "GPU-3 L4 is lost"), found("gpu_errors", "GPU-1 reported XID 48")]);
    let note = hosts(&[view(ill)], now(), Colour::Off);
    assert!(note.contains("GPU-3 L4 is lost (and 1 more)"), "{note}");
    assert!(hosts(&[], now(), Colour::Off).contains("windlass host token"));
}

#[test]
fn what_hosts_hold_and_a_restored_store_does_not() {
    let side = |release: &str| json!({ "release": release, "digest": digest(release), "phase": "running", "good": true, "kept": null });
    let host = |name: &str, state: &str| {
        json!({
            "host": name, "state": state, "seq": 7, "known_seq": 5, "issued_at": "2026-11-22T12:00:00.000Z",
            "receipt": null, "differences": [], "obstacles": [],
        })
    };
    let mut ahead = host("web-1", "keep_host");
    ahead["receipt"] = json!("2026-11-22T12:00:02.000Z");
    ahead["differences"] = json!([{ "slot": "default/web/0", "host": side("r3"), "store": side("r1") },
        { "slot": "default/api/0", "host": side("r1"), "store": null }]);
    let mut stuck = host("web-2", "stuck");
    stuck["obstacles"] = json!(["default/web/1 was given to host web-1 meanwhile"]);
    let mut unheard = host("web-3", "unheard");
    unheard["issued_at"] = Value::Null;
    let service = |name: &str, before: Value, paused: bool| json!({ "environment": "default", "service": name, "before": before, "after": "r3", "good": "r3", "paused": paused, "next": "r4" });
    let seen: RecoveryView = view(json!({
        "open": true, "cause": "a backup was restored, its newest entry is of 2026-11-22T11:00:00.000Z",
        "since": "2026-11-22T12:09:00.000Z", "lost_audit_entries": 22, "digest": digest("preview"),
        "hosts": [ahead, stuck, unheard, host("web-4", "keep_store")],
        "services": [service("web", json!("r1"), false), service("api", Value::Null, true)],
    }));
    insta::assert_snapshot!("recovery", recovery(&seen, now(), Colour::Off));
    let nothing = RecoveryView { open: false, hosts: Vec::new(), ..seen };
    assert!(recovery(&nothing, now(), Colour::Off).starts_with("nothing to recover"));
    let mut shown = host_view("web-1", "recovering");
    shown["recovery"] = json!(["holds plan 7, the store knows 5", "default/web/0: r3 (the store: r1)"]);
    let text = super::host(&view(shown), now());
    assert!(text.contains("holds plan 7, the store knows 5\n"), "{text}");
}

#[test]
fn services_in_a_table_and_one_in_full() {
    let status: StatusView = view(status_view());
    insta::assert_snapshot!("services", services(std::slice::from_ref(&status), None, Colour::Off));
    insta::assert_snapshot!("service", service(&status, None, now(), Colour::Off));
    let coloured = service(&status, None, now(), Colour::On);
    assert!(coloured.contains("\u{1b}["), "colour where it is asked for");
    assert!(!service(&status, None, now(), Colour::Off).contains('\u{1b}'));
}

#[test]
fn the_printer_lets_the_colours_of_tables_through() {
    let status: StatusView = view(status_view());
    let hosts_seen: Vec<HostView> =
        ["connected", "lost", "suspect"].iter().map(|state| view(host_view("web-1", state))).collect();
    let screens = [
        services(std::slice::from_ref(&status), None, Colour::On),
        service(&status, None, now(), Colour::On),
        hosts(&hosts_seen, now(), Colour::On),
    ];
    for screen in screens {
        assert!(screen.contains("\u{1b}["), "{screen:?}");
        assert_eq!(crate::printer::safe::safe(&screen), screen);
    }
}

#[test]
fn why_names_a_host_and_then_what_is_waited_for() {
    let mut status = status_view();
    status["waiting"] = json!(["host web-1 to pull the image"]);
    let why = |status: &Value| services(&[view(status.clone())], None, Colour::Off);
    assert!(why(&status).contains("host web-1 to pull the image"), "{}", why(&status));
    let engine = json!({ "problem": "engine_unavailable", "reason": "no answer", "text": "engine unavailable: no answer" });
    let cordoned = json!({ "problem": "cordoned", "text": "cordoned: no new slots" });
    status["problems"] = json!([{ "host": "web-1", "problems": [cordoned, engine] }]);
    assert!(why(&status).contains("host web-1: engine unavailable: no answer"), "{}", why(&status));
    status["state"] = json!("paused");
    let text = service(&view(status), None, now(), Colour::Off);
    assert!(
        text.contains("windlass rollout resume 0193ab00-") && text.contains("windlass rollout abort"),
        "{text}"
    );
}

#[test]
fn a_service_that_nothing_runs_says_so() {
    let mut gone = status_view();
    gone["state"] = json!("steady");
    gone["rollout"] = Value::Null;
    gone["desired"] = json!(0);
    gone["healthy"] = json!(0);
    gone["serving"] = json!({});
    gone["instances"] = json!([]);
    let gone: StatusView = view(gone);
    let elsewhere = services(&[], Some((&"staging".parse().unwrap(), 3)), Colour::Off);
    assert_eq!(elsewhere, "no services in staging; 3 in other environments\n");
    assert!(
        services(&[], Some((&"staging".parse().unwrap(), 0)), Colour::Off)
            .starts_with("no services yet, or none that you may see")
    );
    let ended = StatusView { ended: Some("r2 failed: no host takes it".to_owned()), ..gone.clone() };
    let said = services(std::slice::from_ref(&ended), None, Colour::Off);
    assert!(said.contains("r2 failed: no host takes it"), "{said}");
    let last: windlass_core::view::RolloutView = rollout_view("failed");
    let said = service(&gone, Some(&last), now(), Colour::Off);
    assert!(said.contains("see `windlass rollout show ") && said.contains(" failed"), "{said}");
    insta::assert_snapshot!("services_gone", services(std::slice::from_ref(&gone), None, Colour::Off));
    insta::assert_snapshot!("service_gone", service(&gone, None, now(), Colour::Off));
}

#[test]
fn a_pull_and_a_refusal_say_what_to_look_at() {
    let mut rollout = rollout_view("failed");
    rollout.failures[0].message = "the image could not be pulled: manifest unknown".to_owned();
    rollout.failures[1].message = "refused by the host: policy: registry docker.io is not allowed".to_owned();
    rollout.failures[1].refused =
        Some(view(json!({ "code": "policy", "detail": "registry docker.io is not allowed" })));
    if let Some(evidence) = &mut rollout.failures[0].evidence {
        evidence.instance = None;
        evidence.log.clear();
        evidence.probes.clear();
        (evidence.exit_code, evidence.restarts) = (None, 0);
        evidence.clock = windlass_core::observation::Clock::Pull;
    }
    insta::assert_snapshot!("failures_before_anything_ran", failures(&rollout, Colour::Off));
}

#[test]
fn a_log_that_nobody_read_is_not_called_empty() {
    let mut rollout = rollout_view("rolled_back");
    let shown = failures(&rollout, Colour::Off);
    assert!(shown.contains("--instance default.web.1.r3.4"), "{shown}");
    if let Some(evidence) = &mut rollout.failures[0].evidence {
        (evidence.log, evidence.log_unread) = (Vec::new(), true);
    }
    let shown = failures(&rollout, Colour::Off);
    assert!(shown.contains("log           not read:") && !shown.contains("nothing was written"), "{shown}");
    assert!(!shown.contains("windlass logs"), "its instance is gone: {shown}");
}

#[test]
fn a_failed_rollout_shows_its_evidence() {
    let view = rollout_view("rolled_back");
    insta::assert_snapshot!("rollout", rollout(&view, now(), Colour::Off));
    let mut overtaken = rollout_view("succeeded");
    (overtaken.total, overtaken.available) = (0, 0);
    let all = [rollout_view("advancing"), view, overtaken];
    insta::assert_snapshot!("rollouts", rollouts(&all, now(), Colour::Off));
}

#[test]
fn a_rollout_without_a_slot_counts_none() {
    let mut paused = rollout_view("paused");
    (paused.total, paused.available) = (0, 0);
    let shown = rollout(&paused, now(), Colour::Off);
    assert!(!shown.contains("0 of 0") && !shown.contains("available  "), "{shown}");
    let listed = rollouts(&[paused], now(), Colour::Off);
    assert!(!listed.contains("0/0") && listed.contains("paused"), "{listed}");
}

#[test]
fn a_rollback_shows_the_release_that_it_left() {
    let mut back = rollout_view("succeeded");
    (back.kind, back.from, back.left) =
        (windlass_core::rollout::Kind::Rollback, Some(back.release), Some("r4".parse().unwrap()));
    let said = rollouts(std::slice::from_ref(&back), now(), Colour::Off);
    assert!(said.contains("r4 → r3"), "{said}");
    assert!(rollout(&back, now(), Colour::Off).contains("r4 → r3"));
    back.left = None;
    assert!(rollout(&back, now(), Colour::Off).contains("r3 → r3"), "of a coordinator of the version before");
    let mut deploy = rollout_view("succeeded");
    deploy.left = Some("r9".parse().unwrap());
    assert!(rollout(&deploy, now(), Colour::Off).contains("r2 → r3"), "a deploy shows its fallback");
}

#[test]
fn a_plan_says_what_happens_where_and_why() {
    let plan_view: PreviewView = view(json!({
        "service": "web", "environment": "default", "release": "r2", "current": "r1", "unchanged": false,
        "slots": [
            { "slot": "default/web/0", "host": "web-0", "action": "replace", "order": "start_first", "reason": null },
            { "slot": "default/web/1", "host": "web-1", "action": "replace", "order": "stop_first",
              "reason": "port 80 of the host is fixed" },
            { "slot": "default/web/2", "host": "web-2", "action": "create", "order": null, "reason": null },
        ],
        "refused": [{ "host": "db-1", "reason": "it has not the label role=app" }],
        "changes": [
            { "path": "env.MODE", "old": null, "new": "fast" },
            { "path": "image.reference", "old": "web:1", "new": "web:2" },
            { "path": "workdir", "old": "/app", "new": null },
        ],
        "warnings": ["a person rolled back from this content before"], "error": "no host takes slot 3",
        "digest": digest("plan"),
    }));
    let text = plan(&plan_view, Colour::Off);
    assert!(!text.contains("GPUS"), "{text}");
    insta::assert_snapshot!("plan", text);
    let mut with_gpus = plan_view.clone();
    with_gpus.slots[0].gpus = vec!["GPU-1".to_owned(), "GPU-2".to_owned()];
    let text = plan(&with_gpus, Colour::Off);
    assert!(text.contains("GPUS") && text.contains("GPU-1 GPU-2"), "{text}");
    let mut troubled = plan_view.clone();
    let problem = json!({ "problem": "engine_unavailable", "reason": "no answer", "text": "engine unavailable: no answer" });
    troubled.problems = view(json!([{ "host": "web-2", "problems": [problem] }]));
    let text = plan(&troubled, Colour::Off);
    assert!(text.contains("warning: host web-2: engine unavailable: no answer"), "{text}");
    let unchanged = PreviewView { unchanged: true, ..plan_view };
    assert_eq!(plan(&unchanged, Colour::Off), "default/web: nothing to change, it is at r1\n");
}

#[test]
fn releases_in_a_table() {
    let release_view = |number: u32, current: bool| -> ReleaseView {
        view(json!({
            "release": format!("r{number}"), "environment": "default", "service": "web", "digest": digest("release"),
            "image": "registry.example.com/web:2", "image_digest": digest("image"), "author": "alice",
            "created_at": "2026-11-20T12:00:00.000Z", "good": true, "current": current, "signed_by": ["a", "b"],
        }))
    };
    let failed: ReleaseView = view(json!({
        "release": "r3", "environment": "default", "service": "web", "digest": digest("r3"), "image": "web:3",
        "image_digest": digest("image"), "author": "alice", "created_at": "2026-11-20T12:00:00.000Z", "good": false,
        "current": true, "outcome": "rolled_back", "signed_by": ["a"],
    }));
    let said = releases(&[failed, release_view(1, false)], now(), Colour::Off);
    assert!(said.contains("current, rolled back") && said.contains("good"), "{said}");
    let left = ReleaseView { held: true, ..release_view(2, false) };
    let said = releases(&[left, release_view(1, true)], now(), Colour::Off);
    assert!(said.contains(" good, rolled back from ") && said.contains(" current, good "), "{said}");
    insta::assert_snapshot!(
        "releases",
        releases(&[release_view(2, true), release_view(1, false)], now(), Colour::Off)
    );
}
