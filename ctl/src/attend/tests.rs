//! One look at a service after a command.

use serde_json::{Value, json};
use windlass_core::view::StatusView;

use super::{Goal, Look};

fn status(state: &str, edit: impl FnOnce(&mut Value)) -> StatusView {
    let mut view = json!({
        "service": "web", "environment": "default", "release": "r1", "image": null, "good": "r1", "rollout": null,
        "state": state, "replicas": 3, "waiting": [], "wanted": 3, "desired": 3, "available": 3, "healthy": 3, "serving": {},
        "instances": [],
    });
    edit(&mut view);
    serde_json::from_value(view).unwrap()
}

#[test]
fn a_look_tells_reached_from_going_on_and_from_overtaken() {
    use Goal::{Count, Gone, Stopped};
    let plain = |state| Some(status(state, |_| {}));
    #[rustfmt::skip]
    let table = [
        ("it is so",                     Count(3), plain("steady"), Look::Reached),
        ("one is not available",         Count(3), Some(status("degraded", |v| v["available"] = 2.into())), Look::GoesOn),
        ("too many still",               Count(3), Some(status("steady", |v| v["desired"] = 5.into())), Look::GoesOn),
        ("another count was asked for",  Count(5), plain("steady"), Look::Overtaken),
        ("somebody deploys",             Count(3), plain("advancing"), Look::Overtaken),
        ("somebody stops it",            Count(3), plain("stopping"), Look::Overtaken),
        ("somebody removed it",          Count(3), None, Look::Overtaken),
        ("it stops",                     Stopped,  plain("stopping"), Look::GoesOn),
        ("it stands still",              Stopped,  plain("stopped"), Look::Reached),
        ("somebody started it",          Stopped,  plain("degraded"), Look::Overtaken),
        ("it goes",                      Gone,     Some(status("removing", |v| v["terminating"] = json!({ "a": "connected" }))), Look::GoesOn),
        ("only lost hosts are missing",  Gone,     Some(status("removing", |v| v["terminating"] = json!({ "a": "lost" }))), Look::Reached),
        ("a silent host is not lost",    Gone,     Some(status("removing", |v| v["terminating"] = json!({ "a": "suspect" }))), Look::GoesOn),
        ("it has gone",                  Gone,     None, Look::Reached),
        ("somebody deployed it again",   Gone,     plain("preparing"), Look::Overtaken),
    ];
    for (case, goal, seen, want) in table {
        assert_eq!(goal.look(seen.as_ref()), want, "{case}");
    }
}
