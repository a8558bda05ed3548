use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::digest::Digest;
use crate::slot::{Transition, apply};
use crate::traffic::{Ingress, Processes};

const HOUR: i64 = 3_600_000;

/// The traffic of `production`: table 17, made an hour after the beginning of time, with web-1 as the only endpoint of `web`,
/// and ingresses by the number of their table and the requests under way there.
fn traffic(draining: bool, named: bool, ingresses: &[(&str, Option<(u64, u64)>)]) -> Traffic {
    let release = Digest::of(b"r1");
    let names: &[Value] = if named {
        &[json!({ "host": "shop.example", "path": "/", "service": "web", "port": "http" })]
    } else {
        &[]
    };
    let routes = json!({
        "version": 1, "fleet": "demo", "environment": "production", "epoch": 1, "seq": 17,
        "issued_at": Timestamp::from_millis(HOUR), "names": names,
        "services": [{
            "service": "web", "ports": { "http": { "container": 80 } }, "drain": "30s",
            "releases": [{ "release": release, "counter": "r1" }],
            "endpoints": [{
                "host": "web-1", "address": "10.0.0.1", "port": "http", "number": 20_000, "side": "a",
                "release": release, "draining": draining,
            }],
        }],
    });
    let routes = serde_json::from_value(routes).unwrap();
    let table = Table::next(None, routes, Digest::of(b"17"));
    let ingress = |said: Option<(u64, u64)>| {
        let mut processes = Processes::default();
        if let Some((seq, in_flight)) = said {
            let report = json!({
                "process": 1, "started_at": Timestamp::ZERO, "at": Timestamp::ZERO, "program": "1.0.0",
                "tables": { "production": {
                    "epoch": 1, "seq": seq, "digest": Digest::of(b"17"), "applied_at": Timestamp::ZERO,
                } },
                "services": { "production/web": { "endpoints": [{
                    "address": "10.0.0.1:20000", "release": release, "state": "ejected", "in_flight": in_flight,
                }] } },
            });
            processes.take(Arc::new(serde_json::from_value(report).unwrap()), Timestamp::from_millis(HOUR));
        }
        Ingress { processes, since: Timestamp::ZERO, serves: ["production".parse().unwrap()].into() }
    };
    let ingresses = ingresses.iter().map(|(host, said)| (host.parse().unwrap(), ingress(*said)));
    Traffic {
        tables: [("production".parse().unwrap(), Arc::new(table))].into(),
        ingresses: ingresses.collect(),
    }
}

fn found(traffic: &Traffic, after: Duration) -> Vec<(String, String, String)> {
    let service = Service::new("production/web".parse().unwrap());
    let id = crate::id::SlotId::new(service.id.clone(), 0);
    let create = Transition::Create {
        id: id.clone(),
        host: "web-1".parse().unwrap(),
        release: Digest::of(b"r1"),
        runs: true,
        good: true,
        retry: false,
        gpus: Vec::new(),
        stands_in_for: None,
    };
    let slots: Slots = BTreeMap::from([(id, apply(None, &create).unwrap())]);
    let found = routes_conditions(&service, &slots, traffic, Timestamp::from_millis(HOUR) + after);
    found.into_iter().map(|found| (found.code, found.host.to_string(), found.message)).collect()
}

#[test]
fn a_service_that_nobody_answers_for_is_said() {
    let draining = traffic(true, true, &[]);
    let wanted = (
        "no_endpoint".to_owned(),
        "web-1".to_owned(),
        "no instance takes requests for shop.example/".to_owned(),
    );
    assert_eq!(found(&draining, Duration::ZERO), [wanted]);
    assert_eq!(found(&traffic(false, true, &[]), Duration::ZERO), []);
    assert_eq!(found(&traffic(true, false, &[]), Duration::ZERO), [], "nobody asks for it");
}

#[test]
fn an_ingress_that_is_behind_is_said_after_a_while() {
    let late =
        traffic(false, true, &[("edge-1", Some((17, 0))), ("edge-2", Some((15, 0))), ("edge-3", None)]);
    assert_eq!(found(&late, BEHIND - Duration::from_millis(1)), []);
    let behind =
        |host: &str, message: &str| ("ingress_behind".to_owned(), host.to_owned(), message.to_owned());
    let wanted = [
        behind("edge-2", "its ingress has table 15 of 17"),
        behind("edge-3", "its ingress has table none of 17"),
    ];
    assert_eq!(found(&late, BEHIND), wanted);
}

#[test]
fn an_ingress_is_behind_once_it_has_lasted() {
    let ingresses = [("a", Some((17, 0))), ("b", Some((16, 0))), ("c", None), ("d", Some((8, 0)))];
    let mut view = routes(&traffic(false, true, &ingresses), &"production".parse().unwrap(), None).unwrap();
    view.ingresses[3].wanted = 109;
    let states = |after: Duration| -> Vec<&str> {
        let now = view.issued_at + after;
        view.ingresses.iter().map(|ingress| ingress.state(view.issued_at, now).as_str()).collect()
    };
    let refusing = IngressView { refused: Some("it lies".to_owned()), ..view.ingresses[1].clone() };
    assert_eq!(
        refusing.state(view.issued_at, view.issued_at),
        IngressState::Behind,
        "what it refuses it does not take"
    );
    assert_eq!(states(Duration::ZERO), ["current", "updating", "updating", "behind"], "one lacks 101");
    let almost = BEHIND - Duration::from_millis(1);
    assert_eq!(states(almost), ["current", "updating", "updating", "behind"]);
    assert_eq!(states(BEHIND), ["current", "behind", "behind", "behind"]);
    // A time that an older coordinator does not tell excuses nothing.
    let rows = crate::view::RowView::ingresses(&view);
    let mut row = serde_json::to_value(&rows[1]).unwrap();
    row["ingress"].as_object_mut().unwrap().remove("issued_at");
    let crate::view::RowView::Ingress(row) = serde_json::from_value(row).unwrap() else {
        panic!("no ingress")
    };
    assert_eq!(row.state(view.issued_at), IngressState::Behind);
}

#[test]
fn an_endpoint_is_ejected_when_all_that_know_it_say_so() {
    let seen =
        traffic(false, true, &[("edge-1", Some((17, 2))), ("edge-2", Some((17, 3))), ("edge-3", None)]);
    let view = routes(&seen, &"production".parse().unwrap(), None).unwrap();
    let endpoint = &view.services[0].endpoints[0];
    assert_eq!((endpoint.state.as_str(), endpoint.in_flight), ("ejected", 5));
    assert_eq!(endpoint.avoided_by, ["edge-1".parse().unwrap(), "edge-2".parse().unwrap()]);
    let ingress: Vec<_> = view.ingresses.iter().map(|of| (of.acknowledged, of.in_flight)).collect();
    assert_eq!(ingress, [(Some(17), 2), (Some(17), 3), (None, 0)]);
    assert_eq!(routes(&seen, &"staging".parse().unwrap(), None), None);
}

#[test]
fn endpoints_of_hosts_that_are_silent_are_marked() {
    let shown = |liveness: Liveness| {
        let view = routes(&traffic(false, true, &[]), &"production".parse().unwrap(), None).unwrap();
        let view = view.with_hosts(|_| (liveness, Some(Timestamp::ZERO)));
        let rows = crate::view::RowView::routes(&view);
        let crate::view::RowView::Route(row) = &rows[0] else { panic!("{rows:?}") };
        let endpoint = &view.services[0].endpoints[0];
        (endpoint.state.clone(), endpoint.host_state, endpoint.as_of, row.serving)
    };
    let seen = Some(Timestamp::ZERO);
    assert_eq!(shown(Liveness::Connected), ("serving".to_owned(), None, None, 1));
    assert_eq!(shown(Liveness::Suspect), ("serving".to_owned(), Some(Liveness::Suspect), seen, 1));
    assert_eq!(shown(Liveness::Lost), ("serving".to_owned(), Some(Liveness::Lost), seen, 0));
}

#[test]
fn an_ingress_of_a_silent_host_is_marked() {
    let shown = |liveness: Liveness| {
        let ingresses = [("edge-1", Some((17, 0)))];
        let view = routes(&traffic(false, true, &ingresses), &"production".parse().unwrap(), None).unwrap();
        let view = view.with_hosts(|_| (liveness, Some(Timestamp::ZERO)));
        (view.ingresses[0].host_state, view.ingresses[0].as_of)
    };
    assert_eq!(shown(Liveness::Connected), (None, None));
    assert_eq!(shown(Liveness::Lost), (Some(Liveness::Lost), Some(Timestamp::ZERO)));
}

#[test]
fn an_endpoint_that_stands_by_is_said_to_serve_once_it_does() {
    let seen = |state: EndpointState| {
        let mut seen = traffic(true, true, &[("edge-1", Some((17, 2)))]);
        for table in seen.tables.values_mut() {
            for service in &mut Arc::make_mut(table).routes.services {
                let stands_by = Some(crate::traffic::StandsBy { instead_of: Some(20_002) });
                service.endpoints.iter_mut().for_each(|endpoint| endpoint.stands_by = stands_by);
            }
        }
        for ingress in seen.ingresses.values_mut() {
            let mut report = ingress.processes.serving().unwrap().clone();
            let services = report.services.values_mut();
            services.flat_map(|of| &mut of.endpoints).for_each(|endpoint| endpoint.state = state);
            ingress.processes.take(Arc::new(report), Timestamp::from_millis(HOUR));
        }
        seen
    };
    let shown = |state| {
        let view = routes(&seen(state), &"production".parse().unwrap(), None).unwrap();
        (view.services[0].endpoints[0].state.clone(), found(&seen(state), Duration::ZERO).len())
    };
    assert_eq!(shown(EndpointState::StandsBy), ("stands_by".to_owned(), 1), "nobody answers");
    assert_eq!(shown(EndpointState::Healthy), ("stands_in".to_owned(), 0));
}

#[test]
fn each_release_has_what_it_got_lately_and_so_has_nobody() {
    let mut seen = traffic(false, true, &[("edge-1", Some((17, 2))), ("edge-2", Some((17, 0)))]);
    seen.ingresses.get_mut(&"edge-2".parse().unwrap()).unwrap().serves.clear();
    let mut recent = crate::traffic::Recent::default();
    let report = |requests: u64| {
        let counts = json!({
            "requests": requests, "server_error": requests / 20, "in_flight": 4, "to_head": [[64, requests]],
        });
        let report = json!({
            "process": 1, "started_at": Timestamp::ZERO, "at": Timestamp::ZERO, "program": "1.0.0",
            "services": { "production/web": {
                "releases": { Digest::of(b"r1").to_string(): { "weighted": counts } },
                "nobody": { "requests": requests / 100, "server_error": requests / 100 },
            } },
        });
        Arc::new(serde_json::from_value::<IngressReport>(report).unwrap())
    };
    let now = |seconds: i64| Timestamp::from_millis(HOUR + seconds * 1000);
    for (seconds, requests) in [(0, 1000), (10, 3000)] {
        recent.take(&"edge-1".parse().unwrap(), &report(requests), now(seconds));
        recent.take(&"edge-2".parse().unwrap(), &report(requests), now(seconds));
    }
    let production = "production".parse().unwrap();
    let view = routes(&seen, &production, None).unwrap().with_recent(&seen, &recent, now(11));
    let got = view.services[0].releases[0].recent.unwrap();
    assert_eq!(
        (got.per_second, got.error_ratio, got.in_flight),
        (Some(200.0), Some(0.05), 4),
        "edge-1 alone"
    );
    assert!((0.016..0.018).contains(&got.p95_seconds.unwrap()), "{got:?}");
    assert_eq!(view.services[0].nobody.unwrap().per_second, Some(2.0));
    // A row for each, as a screen has them; and one who does not know the figures reads it all the same.
    let rows = crate::view::RowView::routes(&view);
    let rows: Vec<_> = rows.iter().map(|row| row.keys(now(11)).len()).collect();
    assert_eq!(rows, [9, 9]);
    assert_eq!(crate::view::RowView::ingresses(&view).len(), 1);
    let mut old = serde_json::to_value(&view).unwrap();
    old["services"][0]["releases"][0].as_object_mut().unwrap().remove("recent");
    old["services"][0].as_object_mut().unwrap().remove("nobody");
    let old: RoutesView = serde_json::from_value(old).unwrap();
    assert_eq!(old, routes(&seen, &production, None).unwrap());
    let later = routes(&seen, &production, None).unwrap().with_recent(&seen, &recent, now(40));
    assert_eq!(later.services[0].releases[0].recent, None, "an ingress that is silent says nothing");
}
