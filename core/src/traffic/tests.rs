use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::id::Counter;
use crate::units::Span;

fn service(weights: &[Option<u16>]) -> RoutedService {
    let share = |(index, weight): (usize, &Option<u16>)| ReleaseShare {
        release: Digest::of(&[u8::try_from(index).unwrap()]),
        counter: Counter(index as u64 + 1),
        weight: weight.map(|permille| Weight::try_from(permille).unwrap()),
    };
    RoutedService {
        service: "web".parse().unwrap(),
        ports: BTreeMap::from([(
            "http".to_owned(),
            RoutedPort { container: 80, protocol: Protocol::Http, probe: None },
        )]),
        releases: weights.iter().enumerate().map(share).collect(),
        matches: Vec::new(),
        salt: "rollout-1".to_owned(),
        endpoints: Vec::new(),
        hold: None,
        slow_start: None,
        drain: Span::from_secs(30),
    }
}

fn probing(path: &str) -> RoutedService {
    let mut web = service(&[None]);
    web.ports.get_mut("http").unwrap().probe = Some(path.to_owned());
    web
}

/// The report of an ingress that has taken table `seq` of production, with so many requests of the release `old` on port 20000.
pub(super) fn report(seq: u64, in_flight: u64) -> IngressReport {
    let endpoint = EndpointTraffic {
        address: "10.0.0.1:20000".parse().unwrap(),
        release: Digest::of(b"old"),
        state: EndpointState::Draining,
        in_flight,
        tunnels: 0,
    };
    let in_force =
        TableInForce { epoch: 1, seq, digest: Digest::of(b""), applied_at: crate::Timestamp::ZERO };
    let web = ServiceTraffic { endpoints: vec![endpoint], ..ServiceTraffic::default() };
    IngressReport {
        process: 1,
        started_at: crate::Timestamp::ZERO,
        at: crate::Timestamp::ZERO,
        program: "test".to_owned(),
        routes_versions: Vec::new(),
        listens: Vec::new(),
        ending: false,
        tables: [("production".parse().unwrap(), in_force)].into(),
        refused: BTreeMap::new(),
        services: [("production/web".parse().unwrap(), web)].into(),
        unrouted: 0,
        bad_requests: 0,
        cut_services: 0,
    }
}

fn table(services: Vec<RoutedService>, names: &[(&str, &str)]) -> Routes {
    let name = |(host, path): &(&str, &str)| Name {
        host: (*host).to_owned(),
        path: (*path).to_owned(),
        service: "web".parse().unwrap(),
        port: "http".to_owned(),
    };
    Routes {
        version: ROUTES_VERSION,
        fleet: "fleet".parse().unwrap(),
        environment: "production".parse().unwrap(),
        epoch: 1,
        seq: 1,
        issued_at: crate::Timestamp::ZERO,
        names: names.iter().map(name).collect(),
        services,
    }
}

fn endpoint(number: u16) -> Endpoint {
    Endpoint {
        host: "web-1".parse().unwrap(),
        address: "127.0.0.1".parse().unwrap(),
        port: "http".to_owned(),
        number,
        side: PortSide::A,
        release: Digest::of(&[0]),
        draining: false,
        stands_by: None,
    }
}

#[test]
fn a_table_within_its_bounds_is_accepted() {
    let mut web = service(&[Some(100), Some(900)]);
    web.endpoints = vec![endpoint(1), endpoint(2)];
    web.ports = probing("/health?deep=1").ports;
    let table =
        table(vec![web], &[("api.example.com", "/"), ("api.example.com", "/v1"), ("*.example.com", "/")]);
    assert_eq!(table.check(), Ok(()));
}

#[test]
fn every_broken_table_is_refused_with_its_reason() {
    let web = || service(&[Some(100), Some(900)]);
    let standing = |draining: bool| {
        let endpoint = Endpoint { draining, stands_by: Some(StandsBy::default()), ..endpoint(1) };
        RoutedService { endpoints: vec![endpoint], ..web() }
    };
    let cases: Vec<(Routes, &str)> = vec![
        (Routes { version: 3, ..table(vec![], &[]) }, "version 3"),
        (Routes { version: 1, ..table(vec![standing(true)], &[]) }, "version 1"),
        (table(vec![standing(false)], &[]), "an endpoint that gets requests stands by"),
        (table(vec![service(&[Some(100), Some(100)])], &[]), "sum to 200"),
        (table(vec![service(&[Some(1000), None])], &[]), "sum to 1000"),
        (table(vec![web(), web()], &[]), "web stands there twice"),
        (table(vec![web()], &[("a.b", "/"), ("a.b", "/")]), "a.b/ stands there twice"),
        (table(vec![], &[("a.b", "/")]), "does not have"),
        (table(vec![probing("/health HTTP/1.1\r\nx: y")], &[]), "no path to probe"),
        (table(vec![probing("health")], &[]), "no path to probe"),
        (table(vec![web()], &[("A.b", "/")]), "no host name"),
        (table(vec![web()], &[("a..b", "/")]), "no host name"),
        (table(vec![web()], &[("a.b", "v1")]), "no host name"),
        (table(vec![web()], &[("a.b", "/../x")]), "no host name"),
        (table(vec![web()], &[("a.b", "/a%2f")]), "no host name"),
        (table(vec![RoutedService { endpoints: vec![endpoint(1), endpoint(1)], ..web() }], &[]), "twice"),
        (table(vec![RoutedService { endpoints: vec![endpoint(0)], ..web() }], &[]), "twice"),
        (
            table(
                vec![RoutedService {
                    endpoints: vec![Endpoint { port: "x".into(), ..endpoint(1) }],
                    ..web()
                }],
                &[],
            ),
            "an endpoint has a release or port",
        ),
        (table(vec![RoutedService { salt: "x".repeat(257), ..web() }], &[]), "salt"),
    ];
    for (table, why) in cases {
        let answer = table.check().unwrap_err().to_string();
        assert!(answer.contains(why), "{answer} lacks {why}");
    }
}

#[test]
fn a_weight_above_the_whole_is_not_read() {
    assert!(serde_json::from_str::<Weight>("1001").is_err());
    assert_eq!(serde_json::from_str::<Weight>("1000").unwrap(), Weight::ALL);
}

#[test]
fn a_service_without_weights_is_one_pool() {
    assert_eq!(choose(&service(&[None, None]), Position::of_random(5), |_, _| None), Choice::Any);
    assert_eq!(choose(&service(&[]), Position::of_random(5), |_, _| None), Choice::Any);
}

#[test]
fn a_match_wins_over_the_weights_and_is_marked() {
    let mut web = service(&[Some(0), Some(1000)]);
    let rule =
        |on| Match { release: web.releases[0].release, on, name: "x-canary".into(), value: "1".into() };
    web.matches = vec![rule(MatchOn::Header), rule(MatchOn::Cookie)];
    let ask = |on: MatchOn, text: &'static str| {
        choose(&web, Position::of_random(0), move |asked, name| {
            (asked == on && name == "x-canary").then_some(text)
        })
    };
    assert_eq!(ask(MatchOn::Header, "1"), Choice::Matched(0));
    assert_eq!(ask(MatchOn::Cookie, "1"), Choice::Matched(0));
    assert_eq!(ask(MatchOn::Header, "2"), Choice::Weighted(1));
}

#[test]
fn the_share_of_buckets_equals_the_weight() {
    let web = service(&[Some(100), Some(900)]);
    let candidate = |bucket: &u16| {
        choose(&web, Position::of_bucket(*bucket, "rollout-1"), |_, _| None) == Choice::Weighted(0)
    };
    let count = (0..=u16::MAX).filter(candidate).count();
    // 65,536 draws at 10 %: the standard deviation is 77; five of them.
    assert!((6553 - 385..=6553 + 385).contains(&count), "{count} of 65536");
}

proptest! {
    #[test]
    fn raising_the_weight_takes_nobody_back(bucket: u16, low in 0_u16..=1000, more in 0_u16..=1000) {
        let high = (low + more).min(1000);
        let at = |weight| {
            let web = service(&[Some(weight), Some(1000 - weight)]);
            choose(&web, Position::of_bucket(bucket, "r"), |_, _| None)
        };
        if at(low) == Choice::Weighted(0) {
            prop_assert_eq!(at(high), Choice::Weighted(0));
        }
    }

    #[test]
    fn some_release_takes_every_position(number: u64, weight in 0_u16..=1000) {
        let web = service(&[Some(weight), Some(1000 - weight)]);
        prop_assert_ne!(choose(&web, Position::of_random(number), |_, _| None), Choice::Nobody);
    }
}
