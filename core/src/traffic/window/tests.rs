//! Windows over reports: restarts, late and lost reports, faults, and sums that are differences of counters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::id::ServiceId;
use crate::traffic::{Counts, Ingress, IngressReport, ReleaseTraffic, ServiceTraffic, Traffic};

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

fn service() -> ServiceId {
    "production/web".parse().unwrap()
}

fn release() -> Digest {
    Digest::of(b"r2")
}

fn host(n: usize) -> HostId {
    format!("edge-{n}").parse().unwrap()
}

/// A report of `process`, which began at `began`, made at `now`.
fn report(process: u64, began: i64, now: i64, counts: Counts) -> IngressReport {
    let traffic = ReleaseTraffic { weighted: counts, ..ReleaseTraffic::default() };
    let of = ServiceTraffic { releases: BTreeMap::from([(release(), traffic)]), ..ServiceTraffic::default() };
    IngressReport {
        process,
        started_at: at(began),
        at: at(now),
        program: "test".into(),
        routes_versions: Vec::new(),
        listens: Vec::new(),
        ending: false,
        tables: BTreeMap::new(),
        refused: BTreeMap::new(),
        services: BTreeMap::from([(service(), of)]),
        unrouted: 0,
        bad_requests: 0,
        cut_services: 0,
    }
}

fn counts(requests: u64, server_error: u64) -> Counts {
    let to_head = if requests > 0 { vec![(100, requests)] } else { Vec::new() };
    Counts { requests, server_error, to_head, ..Counts::default() }
}

fn wanted() -> Wanted {
    Wanted::from([(service(), BTreeSet::from([release()]))])
}

#[derive(Default)]
struct World(Windows);

impl World {
    fn take(&mut self, n: usize, now: i64, report: IngressReport) {
        self.0.take(&host(n), &Arc::new(report), at(now), &wanted(), |_| true);
    }

    fn window(&self, from: i64, until: i64) -> Window {
        let windows = self.0.of(&service()).unwrap_or_default();
        windows.window(&release(), (at(from), at(until)), &service().environment, None)
    }

    /// Requests and 5xx of a window.
    fn seen(&self, from: i64, until: i64) -> (u64, u64) {
        let window = self.window(from, until);
        (window.tally.requests, window.tally.server_error)
    }
}

#[test]
fn the_first_report_of_a_host_counts_nothing() {
    let mut world = World::default();
    world.take(1, 100, report(7, 0, 100, counts(5000, 400)));
    assert_eq!(world.seen(0, 200), (0, 0), "counted over days, before this coordinator began");
    world.take(1, 102, report(7, 0, 102, counts(5010, 403)));
    assert_eq!(world.seen(0, 200), (10, 3));
    assert_eq!(world.seen(100, 102), (10, 3));
    assert_eq!(world.seen(101, 200), (0, 0), "a part of it was before");
    assert_eq!(world.seen(0, 101), (0, 0), "a part of it is after");
}

#[test]
fn a_new_process_starts_at_zero_and_the_old_one_goes_on() {
    let mut world = World::default();
    world.take(1, 100, report(7, 0, 100, counts(50, 0)));
    // It hands over: both report in turn.
    world.take(1, 102, report(8, 101, 102, counts(5, 1)));
    world.take(1, 103, report(7, 0, 103, counts(52, 0)));
    world.take(1, 104, report(8, 101, 104, counts(9, 1)));
    assert_eq!(world.seen(100, 104), (11, 1), "5 + 2 + 4");
}

#[test]
fn a_report_after_a_gap_is_in_no_short_window() {
    let mut world = World::default();
    world.take(1, 100, report(7, 0, 100, counts(0, 0)));
    world.take(2, 100, report(9, 0, 100, counts(0, 0)));
    for now in (102..=400).step_by(2) {
        world.take(2, now, report(9, 0, now, counts(u64::try_from(now).unwrap() - 100, 0)));
    }
    // Ten failed in five minutes: nobody knows whether any did in the last one.
    world.take(1, 400, report(7, 0, 400, counts(300, 10)));
    assert_eq!(world.seen(340, 400), (60, 0), "the other ingress is not blurred by it");
    assert_eq!(world.seen(100, 400), (600, 10));
    // A process that began unseen tells all since it began.
    world.take(1, 500, report(70, 410, 500, counts(50, 5)));
    assert_eq!(world.seen(440, 500), (0, 0));
    assert_eq!(world.seen(390, 500), (60, 5));
}

#[test]
fn a_counter_that_fell_is_a_fault_and_counts_nothing() {
    let mut world = World::default();
    world.take(1, 100, report(7, 0, 100, counts(100, 10)));
    world.take(1, 102, report(7, 0, 102, counts(90, 10)));
    let window = world.window(100, 110);
    assert_eq!(window.tally, Tally::default());
    assert_eq!(window.faults.iter().map(|fault| fault.what).collect::<Vec<_>>(), [FaultKind::CounterFell]);
    assert!(window.faults[0].to_string().contains("edge-1"), "{}", window.faults[0]);
    world.take(1, 104, report(7, 0, 104, counts(95, 11)));
    assert_eq!(world.seen(100, 110), (5, 1), "it goes on from there");
    // An older report that comes late is none.
    world.take(1, 105, report(7, 0, 101, counts(92, 10)));
    world.take(1, 106, report(7, 0, 106, counts(97, 11)));
    assert_eq!(world.seen(100, 110), (7, 1));
    assert_eq!(world.window(100, 110).faults.len(), 1);
}

#[test]
fn histograms_that_were_cut_are_no_latency() {
    let cut = |mut report: IngressReport| {
        let of = report.services.get_mut(&service()).unwrap();
        of.histograms_cut = true;
        of.releases.values_mut().for_each(|release| release.weighted.to_head.clear());
        report
    };
    let mut world = World::default();
    world.take(1, 100, report(7, 0, 100, counts(100, 0)));
    world.take(1, 102, cut(report(7, 0, 102, counts(150, 1))));
    world.take(1, 104, report(7, 0, 104, counts(160, 1)));
    let window = world.window(100, 110);
    assert_eq!((window.answered(), window.server_errors(), window.p95()), (60, 1, None));
    assert_eq!(window.faults.len(), 2, "{:?}", window.faults);
    world.take(1, 106, report(7, 0, 106, counts(163, 1)));
    assert_eq!(world.window(100, 110).p95().map(|p95| p95.samples), Some(3));
    // All of it was left out, and comes back.
    let mut gone = report(7, 0, 108, Counts::default());
    *gone.services.get_mut(&service()).unwrap() =
        ServiceTraffic { histograms_cut: true, ..ServiceTraffic::default() };
    world.take(1, 108, gone);
    world.take(1, 110, report(7, 0, 110, counts(170, 1)));
    world.take(1, 112, report(7, 0, 112, counts(171, 1)));
    assert_eq!(world.seen(100, 112), (64, 1), "seven are in no window, and none is counted twice");
}

#[test]
fn evidence_is_what_was_answered() {
    let window = |requests, server_error, grpc_failed, client_gone, broken| Window {
        from: at(0),
        until: at(60),
        tally: Tally { requests, server_error, grpc_failed, client_gone, broken, to_head: Vec::new() },
        reporting: 1,
        ingresses: 1,
        faults: Vec::new(),
    };
    #[rustfmt::skip]
    let table = [
        ("all fine", window(100, 0, 0, 0, 0), (100, 0)),
        ("5xx", window(100, 7, 0, 0, 0), (100, 7)),
        ("gRPC", window(100, 3, 4, 0, 0), (100, 7)),
        ("clients that left are no errors", window(100, 0, 0, 40, 0), (60, 0)),
        ("responses that broke off", window(100, 7, 1, 0, 5), (100, 13)),
        ("no more than all of them", window(10, 7, 0, 0, 10), (10, 10)),
    ];
    for (case, window, want) in table {
        assert_eq!((window.answered(), window.errors()), want, "{case}");
    }
    assert!(!window(100, 5, 0, 0, 0).fails_more_than(50), "five of a hundred are not more than 5 %");
    assert!(window(100, 6, 0, 0, 0).fails_more_than(50));
    assert!(!window(0, 0, 0, 0, 0).fails_more_than(0));
}

#[test]
fn a_p95_comes_from_merged_histograms() {
    // 90 at about 1 ms on one ingress, 10 at about 0.5 s on another: no mean of two p95s.
    let mut tally = Tally { to_head: vec![(0, 90)], ..Tally::default() };
    let slow = Tally { to_head: vec![(143, 10)], ..Tally::default() };
    assert!(tally.quantile(95).unwrap().at_most < Duration::from_millis(2));
    tally.add(&slow);
    let p95 = tally.quantile(95).unwrap();
    assert_eq!(p95.samples, 100);
    assert!(
        p95.at_least >= Duration::from_millis(480) && p95.at_most <= Duration::from_millis(520),
        "{p95:?}"
    );
    assert_eq!(Tally::default().quantile(95), None);
}

#[test]
fn only_ingresses_that_count_and_report_are_counted() {
    let mut world = World::default();
    for n in 1..=3 {
        world.take(n, 100, report(7, 0, 100, counts(0, 0)));
    }
    world.take(1, 150, report(7, 0, 150, counts(0, 0)));
    let serves = BTreeSet::from([service().environment]);
    let counted = (1..=2).map(|n| {
        (
            host(n),
            Ingress {
                processes: crate::traffic::Processes::default(),
                since: Timestamp::ZERO,
                serves: serves.clone(),
            },
        )
    });
    let traffic = Traffic { tables: BTreeMap::new(), ingresses: counted.collect() };
    let windows = world.0.of(&service()).unwrap();
    let window = windows.window(&release(), (at(90), at(150)), &service().environment, Some(&traffic));
    assert_eq!((window.reporting, window.ingresses), (1, 2));
}

#[test]
fn what_nobody_asks_for_or_may_say_is_not_kept() {
    let mut world = World::default();
    let foreign = |windows: &mut Windows, now: i64, requests| {
        let report = Arc::new(report(7, 0, now, counts(requests, requests)));
        windows.take(&host(1), &report, at(now), &wanted(), |_| false);
    };
    foreign(&mut world.0, 100, 0);
    foreign(&mut world.0, 102, 50);
    assert_eq!(world.seen(0, 200), (0, 0), "its host serves another environment");
    world.take(2, 104, report(7, 0, 104, counts(0, 0)));
    world.take(2, 106, report(7, 0, 106, counts(4, 0)));
    assert_eq!(world.seen(0, 200), (4, 0));
    let last = Arc::new(report(7, 0, 108, counts(5, 0)));
    world.0.take(&host(2), &last, at(108), &Wanted::new(), |_| true);
    assert!(world.0.of(&service()).is_none(), "its rollout is over");
    // The clock is set back: everything begins anew.
    world.take(2, 50, report(7, 0, 50, counts(9, 9)));
    assert_eq!(world.seen(0, 200), (0, 0));
}

#[test]
fn a_ring_keeps_an_hour_in_bounded_room() {
    let mut world = World::default();
    world.take(1, 0, report(7, 0, 0, counts(0, 0)));
    for n in 1..=3000_i64 {
        let total = u64::try_from(n).unwrap();
        world.take(1, n * 2, report(7, 0, n * 2, counts(total, 0)));
    }
    let windows = world.0.of(&service()).unwrap();
    let entries = windows.entries(&release());
    assert!(entries <= 302 + 242, "{entries}");
    assert_eq!(world.seen(5940, 6000).0, 30, "to 2 s");
    let ten_minutes = world.seen(5400, 6000).0;
    assert!((285..=300).contains(&ten_minutes), "to 30 s: {ten_minutes}");
    let all = world.seen(0, 6000).0;
    assert!((1790..=1830).contains(&all), "an hour: {all}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever restarts, and however late reports come: the sum of all windows is what the counters rose by.
    #[test]
    fn sums_of_windows_are_differences_of_counters(
        steps in proptest::collection::vec((0_usize..3, 1_i64..40, 0_u64..50, 0_u64..50, any::<bool>()), 1..60)
    ) {
        let mut world = World::default();
        let mut now = 100;
        let mut processes = [(1_u64, 0_i64, 0_u64, 0_u64); 3];
        for n in 0..3 {
            world.take(n, now, report(1, 0, now, counts(0, 0)));
        }
        let (mut requests, mut errors) = (0, 0);
        for (n, wait, more, failed, restarts) in steps {
            now += wait;
            let (process, began, total, bad) = &mut processes[n];
            if restarts {
                (*process, *began, *total, *bad) = (*process + 1, now - wait.min(5), 0, 0);
            }
            let failed = failed.min(more);
            (*total, *bad) = (*total + more, *bad + failed);
            (requests, errors) = (requests + more, errors + failed);
            let (process, began, total, bad) = processes[n];
            world.take(n, now, report(process, began, now, counts(total, bad)));
        }
        let all = world.seen(0, now);
        prop_assert_eq!(all, (requests, errors));
        let half = 100 + (now - 100) / 2;
        let (first, second) = (world.seen(0, half), world.seen(half, now));
        prop_assert!(first.0 + second.0 <= requests, "no request is in two windows");
        let latencies: u64 =
            world.window(0, now).tally.to_head.iter().map(|(_, count)| u64::from(*count)).sum();
        prop_assert_eq!(latencies, requests);
    }
}
