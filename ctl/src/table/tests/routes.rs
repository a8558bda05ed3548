//! Screens of the traffic.

use windlass_core::view::{ConditionView, RoutesView};

use super::*;

#[test]
fn routes_with_their_endpoints_and_ingresses() {
    let endpoint = |host: &str, release: Value, state: &str| {
        json!({
            "host": host, "address": "10.0.0.11:20000", "port": "http", "release": release, "state": state,
            "in_flight": 3,
        })
    };
    let views: Vec<RoutesView> = vec![view(json!({
        "environment": "production", "seq": 17, "issued_at": "2026-11-22T12:09:00.000Z",
        "services": [
            {
                "service": "web", "names": [{ "host": "shop.example", "path": "/", "port": "http" }],
                "releases": [{ "release": "r1", "weight": 900 }, { "release": "r2", "weight": 100 }],
                "endpoints": [
                    endpoint("web-1", json!("r1"), "draining"), endpoint("web-2", json!("r2"), "serving"),
                    endpoint("web-3", Value::Null, "ejected"),
                ],
            },
            { "service": "api", "names": [], "releases": [], "endpoints": [] },
        ],
        "ingresses": [
            { "host": "edge-1", "wanted": 17, "desired": 17, "acknowledged": 17, "in_flight": 6 },
            { "host": "edge-2", "wanted": 17, "desired": 17, "acknowledged": 15, "in_flight": 0, "refused": "expired: 2h ago" },
            { "host": "edge-3", "wanted": 17, "desired": 17, "acknowledged": null, "in_flight": 0 },
        ],
    }))];
    insta::assert_snapshot!("routes", routes(&views, now(), Colour::Off));
    let soon = routes(&views, views[0].issued_at + std::time::Duration::from_secs(2), Colour::Off);
    let states: Vec<&str> =
        ["current", "updating", "behind"].into_iter().filter(|word| soon.contains(word)).collect();
    assert_eq!(
        states,
        ["current", "updating", "behind"],
        "one that refuses a table is behind at once: {soon}"
    );
    let unseen: Vec<RoutesView> = vec![RoutesView { ingresses: Vec::new(), ..views[0].clone() }];
    assert!(routes(&unseen, now(), Colour::Off).contains("start one with `windlass-agent ingress`"));
    assert!(routes(&[], now(), Colour::Off).contains("no service has a port"));
}

#[test]
fn routes_mark_endpoints_of_hosts_that_are_silent() {
    let endpoint = |host: &str, liveness: &str| {
        json!({
            "host": host, "address": "10.0.0.11:20000", "port": "http", "release": "r1", "state": "serving",
            "in_flight": 0, "host_state": liveness, "as_of": "2026-11-22T12:09:20.000Z",
        })
    };
    let mut unseen = endpoint("web-3", "lost");
    unseen["as_of"] = Value::Null;
    let views: Vec<RoutesView> = vec![view(json!({
        "environment": "production", "seq": 17, "issued_at": "2026-11-22T12:09:00.000Z", "ingresses": [],
        "services": [{
            "service": "web", "names": [], "releases": [],
            "endpoints": [endpoint("web-1", "lost"), endpoint("web-2", "suspect"), unseen],
        }],
    }))];
    let said = routes(&views, now(), Colour::Off);
    for words in [
        "host lost, last seen 40s ago",
        "serving? host suspect, last seen 40s ago",
        "host lost, not seen since the coordinator started",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn what_is_wrong_with_traffic_is_said_in_the_status() {
    let condition = |code: &str, host: &str, message: &str| -> ConditionView {
        view(json!({ "code": code, "message": message, "host": host, "since": "2026-11-22T12:09:00.000Z" }))
    };
    let found = [
        condition("no_endpoint", "web-1", "no instance takes requests for shop.example"),
        condition("ingress_behind", "edge-2", "its ingress has table 15 of 17"),
    ];
    insta::assert_snapshot!("traffic_conditions", conditions(&found, now()));
}
