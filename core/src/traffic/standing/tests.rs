use std::time::Duration;

use super::*;
use crate::traffic::tests::report;
use crate::traffic::{Endpoint, PortSide, ROUTES_VERSION, RoutedService};

fn host(name: &str) -> HostId {
    name.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn old() -> Digest {
    Digest::of(b"old")
}

fn routes(seq: u64, seconds: i64, endpoints: &[(u16, bool)]) -> Routes {
    let endpoint = |(number, draining): &(u16, bool)| Endpoint {
        host: host("web-1"),
        address: "10.0.0.1".parse().unwrap(),
        port: "http".to_owned(),
        number: *number,
        side: PortSide::A,
        release: old(),
        draining: *draining,
        stands_by: None,
    };
    let web = RoutedService {
        service: "web".parse().unwrap(),
        ports: BTreeMap::new(),
        releases: Vec::new(),
        matches: Vec::new(),
        salt: String::new(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        hold: None,
        slow_start: None,
        drain: Span::from_secs(60),
    };
    Routes {
        version: ROUTES_VERSION,
        fleet: "demo".parse().unwrap(),
        environment: "production".parse().unwrap(),
        epoch: 1,
        seq,
        issued_at: at(seconds),
        names: Vec::new(),
        services: vec![web],
    }
}

fn table(before: Option<&Table>, routes: Routes) -> Table {
    let digest = Digest::of(&routes.seq.to_be_bytes());
    Table::next(before, routes, digest)
}

/// An ingress that has taken `seq` and reports so many requests on port 20000.
fn ingress(seq: Option<u64>, in_flight: u64) -> Ingress {
    let mut processes = Processes::default();
    if let Some(seq) = seq {
        processes.take(Arc::new(report(seq, in_flight)), Timestamp::ZERO);
    }
    Ingress { processes, since: Timestamp::ZERO, serves: ["production".parse().unwrap()].into() }
}

fn ask(table: &Table, ingresses: Vec<(&str, Ingress)>, now: i64) -> Routed {
    let traffic = Traffic {
        tables: [("production".parse().unwrap(), Arc::new(table.clone()))].into(),
        ingresses: ingresses.into_iter().map(|(name, ingress)| (host(name), ingress)).collect(),
    };
    traffic.routed(
        &Asked {
            service: &"production/web".parse().unwrap(),
            host: &host("web-1"),
            address: "10.0.0.1".parse().unwrap(),
            release: &old(),
            ports: &[20_000],
            drain_timeout: Span::from_secs(60),
        },
        at(now),
    )
}

#[test]
fn an_instance_is_free_when_all_have_let_go_of_it() {
    let first = table(None, routes(1, 0, &[(20_000, false), (20_002, false)]));
    let here = ask(&first, vec![("a", ingress(Some(1), 3))], 1000);
    assert_eq!((here.acknowledged_by_all, here.in_flight, here.is_free()), (false, 3, false), "it is routed");
    let second = table(Some(&first), routes(2, 100, &[(20_000, true), (20_002, false)]));
    let both = |a, b, now| ask(&second, vec![("a", a), ("b", b)], now);
    let behind = both(ingress(Some(2), 0), ingress(Some(1), 0), 101);
    assert_eq!((behind.acknowledged_by_all, behind.is_free()), (false, false));
    assert_eq!(behind.missing, [host("b")]);
    let busy = both(ingress(Some(2), 2), ingress(Some(2), 1), 101);
    assert_eq!((busy.acknowledged_by_all, busy.in_flight, busy.is_free()), (true, 3, false));
    let done = both(ingress(Some(2), 0), ingress(Some(7), 0), 101);
    assert_eq!((done.acknowledged_by_all, done.in_flight, done.until), (true, 0, Some(at(160))));
    assert_eq!((done.missing, done.silent), (Vec::new(), Vec::new()));
}

#[test]
fn a_lost_ingress_keeps_it_alive_until_the_timeout() {
    let first = table(None, routes(1, 0, &[(20_000, false)]));
    let second = table(Some(&first), routes(2, 100, &[]));
    let silent = |now| ask(&second, vec![("a", ingress(None, 0)), ("b", ingress(Some(2), 9))], now);
    let before = silent(159);
    assert_eq!((before.missing, before.timed_out), (vec![host("a")], false));
    let after = silent(160);
    assert_eq!((after.timed_out, after.in_flight), (true, 9));
    assert!(after.is_free(), "whatever is under way has had its time");
    let silence = |name: &str| Silent { host: host(name), since: Timestamp::ZERO };
    assert_eq!(after.silent, [silence("a"), silence("b")], "one has said nothing, one has stopped to");
    // An endpoint that still gets requests never times out.
    assert!(!ask(&first, vec![("a", ingress(None, 0))], 9999).is_free());
}

#[test]
fn requests_in_a_process_that_was_taken_over_count() {
    let first = table(None, routes(1, 0, &[(20_000, false)]));
    let second = table(Some(&first), routes(2, 100, &[]));
    let of = |process: u64, started: i64, ending: bool, seq: u64, in_flight: u64| {
        let started_at = at(started);
        Arc::new(IngressReport { process, started_at, ending, ..report(seq, in_flight) })
    };
    let asks = |old: Arc<IngressReport>| {
        let mut both = ingress(None, 0);
        both.processes.take(old, at(100));
        both.processes.take(of(2, 100, false, 2, 1), at(101));
        ask(&second, vec![("a", both)], 102)
    };
    let busy = asks(of(1, 0, true, 2, 3));
    assert_eq!((busy.acknowledged_by_all, busy.in_flight, busy.is_free()), (true, 4, false));
    let behind = asks(of(1, 0, true, 1, 3));
    assert_eq!((behind.missing, behind.in_flight), (vec![host("a")], 4), "it may still send some");
    assert_eq!(asks(of(1, 0, true, 1, 0)).in_flight, 1, "one that is done counts no more");
}

/// A newcomer ended the only ingress: every later rollout waited for it, and failed.
#[test]
fn an_ingress_that_has_ended_keeps_nothing_alive() {
    let first = table(None, routes(1, 0, &[(20_000, false)]));
    let second = table(Some(&first), routes(2, 100, &[]));
    let ended = |in_flight| {
        let mut ingress = ingress(None, 0);
        ingress.processes.take(Arc::new(IngressReport { ending: true, ..report(1, in_flight) }), at(50));
        ask(&second, vec![("a", ingress)], 101)
    };
    assert!(ended(0).is_free());
    assert!(!ended(1).is_free(), "it finishes a request, and may send it on");
}

#[test]
fn an_instance_no_table_ever_had_waits_for_no_ingress() {
    let first = table(None, routes(1, 0, &[(20_002, false)]));
    let second = table(Some(&first), routes(2, 100, &[(20_003, false)]));
    assert!(
        ask(&second, vec![("a", ingress(Some(1), 0))], 101).is_free(),
        "no table of its epoch has the instance"
    );
    assert!(!ask(&second, vec![("a", ingress(None, 0))], 101).is_free(), "nobody knows what it follows");
    let restored = table(Some(&second), Routes { epoch: 2, ..routes(3, 100, &[(20_003, false)]) });
    assert!(
        !ask(&restored, vec![("a", ingress(Some(1), 0))], 101).is_free(),
        "the store may have lost tables"
    );
}

#[test]
fn later_tables_do_not_ask_for_more() {
    let mut newest = table(None, routes(1, 0, &[(20_000, false)]));
    for seq in 2..6 {
        let seconds = i64::try_from(seq).unwrap() * 10;
        newest = table(Some(&newest), routes(seq, seconds, &[(20_000, true)]));
    }
    assert_eq!(newest.left.len(), 1);
    assert_eq!((newest.left[0].seq, newest.left[0].at), (2, at(20)), "the first table without it");
    assert!(ask(&newest, vec![("a", ingress(Some(2), 0))], 51).is_free());
    let back = table(Some(&newest), routes(6, 60, &[(20_000, false)]));
    assert_eq!(back.left, [], "it serves again");
}

#[test]
fn what_nobody_remembers_waits_for_the_newest_table() {
    let newest = table(None, routes(5, 0, &[]));
    assert!(!ask(&newest, vec![("a", ingress(Some(4), 0))], 1).is_free());
    assert!(ask(&newest, vec![("a", ingress(Some(5), 0))], 1).is_free());
    assert!(ask(&newest, Vec::new(), 1).is_free(), "no ingress, no request");
    let mut elsewhere = ingress(Some(1), 0);
    elsewhere.serves.clear();
    assert!(ask(&newest, vec![("a", elsewhere)], 1).is_free(), "one that does not serve the environment");
}

#[test]
fn a_new_epoch_counts_more_than_any_number() {
    let first = table(None, routes(90, 0, &[(20_000, false)]));
    let second = table(Some(&first), Routes { epoch: 2, ..routes(1, 10, &[]) });
    let behind = ask(&second, vec![("a", ingress(Some(90), 0))], 11);
    assert_eq!(behind.missing, [host("a")]);
}

#[test]
fn a_service_without_a_table_is_not_waited_for() {
    let asked = Asked {
        service: &"staging/web".parse().unwrap(),
        host: &host("web-1"),
        address: "10.0.0.1".parse().unwrap(),
        release: &old(),
        ports: &[1],
        drain_timeout: Span::from_secs(1),
    };
    assert!(Traffic::default().routed(&asked, Timestamp::ZERO + Duration::from_secs(1)).is_free());
}
