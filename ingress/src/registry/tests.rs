use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use windlass_core::traffic::Routes;

use super::*;

/// A table with one service of this name and one endpoint.
fn table(seq: u64, service: &str) -> Routes {
    let port = 1 + seq % 60_000;
    let json = format!(
        r#"{{"version":1,"fleet":"fleet","environment":"production","epoch":1,"seq":{seq},
            "issued_at":"2026-01-01T00:00:00Z","names":[],"services":[{{"service":"{service}",
            "ports":{{"http":{{"container":80}}}},"releases":[{{"release":"{release}","counter":"r1"}}],
            "endpoints":[{{"host":"h1","address":"10.0.0.1","port":"http","number":{port},"side":"a",
            "release":"{release}"}}],"drain":"1s"}}]}}"#,
        release = Digest::of(service.as_bytes()),
    );
    serde_json::from_str(&json).unwrap()
}

/// Services come and go for years: what is kept of them ends with them.
#[test]
fn nothing_is_kept_of_services_that_are_gone() {
    let (limits, begun) = (Limits::default(), Instant::now());
    let mut registry = Registry::default();
    let in_force = ArcSwap::default();
    for seq in 1..=500 {
        let now = begun + Duration::from_secs(10 * seq);
        let next = registry.take(table(seq, &format!("web-{seq}")), &limits, now).unwrap();
        next.put_in_force(&in_force);
        registry.tidy(&limits, now);
    }
    let now = begun + Duration::from_secs(10_000);
    registry.tidy(&limits, now);
    registry.tidy(&limits, now + Duration::from_secs(600));
    assert_eq!((registry.endpoints.len(), registry.owners.len(), registry.retired.len()), (1, 1, 0));
    // The table in force, and the one before until the next comes.
    assert!(registry.waiting.len() <= 2, "{}", registry.waiting.len());
    assert!(registry.counters.len() <= 6, "{}", registry.counters.len());
}

#[test]
fn the_number_of_a_release_stays_while_it_is_counted() {
    let (limits, now) = (Limits::default(), Instant::now());
    let mut registry = Registry::default();
    let in_force = ArcSwap::default();
    registry.take(table(1, "web"), &limits, now).unwrap().put_in_force(&in_force);
    registry.take(table(2, "other"), &limits, now).unwrap().put_in_force(&in_force);
    let web = "production/web".parse().unwrap();
    assert_eq!(registry.number_of(&web, Digest::of(b"web")), Some(Counter(1)));
    assert_eq!(registry.number_of(&web, Digest::of(b"never")), None);
}

/// Endpoints that answer are probed as often as the rate permits; one that is in doubt does not wait for them.
#[test]
fn probes_of_many_endpoints_have_a_rate() {
    let (limits, begun) = (Limits::default(), Instant::now());
    let mut registry = Registry::default();
    let mut routes = table(1, "web");
    let one = routes.services[0].endpoints[0].clone();
    routes.services[0].endpoints =
        (1..=1000).map(|number| windlass_core::traffic::Endpoint { number, ..one.clone() }).collect();
    registry.take(routes, &limits, begun).unwrap().put_in_force(&ArcSwap::default());
    let at = |seconds| begun + Duration::from_secs(seconds);
    let begin = |at| registry.begin_probes(&limits, at, 10_000, 100);
    assert!(begin(at(9)).is_empty());
    let first = begin(at(10));
    assert_eq!(first.len(), 100);
    for (n, endpoint) in first.iter().enumerate() {
        endpoint.probed(n < 50, &limits, at(10));
    }
    // The half that did not answer is in doubt, and asked again soon.
    let next = begin(at(11));
    let again = first[50..].iter().filter(|of| next.iter().any(|one| Arc::ptr_eq(of, one))).count();
    assert_eq!((again, next.len()), (50, 150));
    for endpoint in &next {
        endpoint.set_probe(None, true);
        endpoint.probed(true, &limits, at(11));
    }
    assert_eq!(begin(at(16)).len(), 150 + 100, "those of a release that is replaced, and others");
}
