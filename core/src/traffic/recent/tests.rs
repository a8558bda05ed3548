use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn host(name: &str) -> HostId {
    name.parse().unwrap()
}

fn web() -> ServiceId {
    "production/web".parse().unwrap()
}

fn release() -> Digest {
    Digest::of(b"r1")
}

/// A process that has counted so many requests of `release`, of which every tenth failed.
fn said(process: u64, requests: u64) -> Arc<IngressReport> {
    let counts = json!({
        "requests": requests, "success": requests - requests / 10, "server_error": requests / 10, "in_flight": 3,
        "to_head": [[32, requests]],
    });
    let report = json!({
        "process": process, "started_at": at(0), "at": at(0), "program": "1.0.0",
        "services": { "production/web": {
            "releases": { release().to_string(): { "weighted": counts, "matched": { "tunnels": 2 } } },
            "nobody": { "requests": requests / 2, "server_error": requests / 2 },
        } },
    });
    Arc::new(serde_json::from_value(report).unwrap())
}

fn of(recent: &Recent, now: i64) -> Rate {
    recent.of(&web(), at(now), |_| true).releases.remove(&release()).unwrap_or_default()
}

#[test]
fn a_rate_is_over_half_a_minute_to_a_minute() {
    let mut recent = Recent::default();
    assert_eq!(of(&recent, 0), Rate::default());
    recent.take(&host("edge-1"), &said(1, 1_000_000), at(0));
    let first = of(&recent, 0);
    assert_eq!(
        (first.per_second, first.in_flight),
        (None, 5),
        "of one report nobody knows when its requests were"
    );
    // 10 a second for two minutes, then 20 a second.
    let mut requests = 1_000_000;
    for second in (2..=240).step_by(2) {
        requests += if second <= 120 { 20 } else { 40 };
        recent.take(&host("edge-1"), &said(1, requests), at(second));
        let rate = of(&recent, second);
        let per_second = rate.per_second.unwrap();
        let (least, most) = if second <= 120 { (10.0, 10.0) } else { (10.0, 20.0) };
        assert!((least..=most).contains(&per_second), "{per_second} after {second} s");
        assert!(rate.tally.requests <= 20 * 60, "no more than a minute: {}", rate.tally.requests);
        if second >= 60 {
            assert!(rate.tally.requests >= 10 * 30, "no less than half of one: {}", rate.tally.requests);
        }
        if second > 180 {
            assert!((per_second - 20.0).abs() < 1e-9, "what was before has gone: {per_second}");
            assert!(rate.tally.fails_more_than(99) && !rate.tally.fails_more_than(101), "{:?}", rate.tally);
            assert!(rate.tally.p95().is_some());
        }
    }
    assert_eq!(recent.hosts[&host("edge-1")].len(), 1);
}

#[test]
fn ingresses_add_up_and_who_is_silent_is_left_out() {
    let mut recent = Recent::default();
    for (second, requests) in [(0, 0), (10, 100)] {
        recent.take(&host("edge-1"), &said(1, requests), at(second));
        recent.take(&host("edge-2"), &said(2, requests * 2), at(second));
    }
    let rate = of(&recent, 10);
    assert_eq!((rate.per_second, rate.tally.requests, rate.in_flight), (Some(30.0), 300, 10));
    let nobody = recent.of(&web(), at(10), |_| true).nobody;
    assert_eq!((nobody.per_second, nobody.tally.server_errors()), (Some(15.0), 150));
    // One that does not serve the environment is not believed.
    let one = recent.of(&web(), at(10), |of| of == &host("edge-1")).releases.remove(&release()).unwrap();
    assert_eq!(one.per_second, Some(10.0));
    recent.take(&host("edge-1"), &said(1, 200), at(30));
    assert_eq!(of(&recent, 30).in_flight, 5, "edge-2 has said nothing for 20 s");
    recent.forget(&host("edge-1"));
    assert_eq!(of(&recent, 30), Rate::default());
}

#[test]
fn a_process_that_begins_anew_is_no_flood_and_no_fall() {
    let mut recent = Recent::default();
    recent.take(&host("edge-1"), &said(1, 5000), at(0));
    recent.take(&host("edge-1"), &said(1, 5100), at(10));
    // Its successor counts from zero; of what it had counted when it was first heard of, nobody knows the time.
    recent.take(&host("edge-1"), &said(2, 40), at(11));
    assert_eq!(of(&recent, 11).per_second, Some(10.0));
    recent.take(&host("edge-1"), &said(2, 60), at(13));
    assert_eq!(of(&recent, 13).per_second, Some(20.0), "both, each in its own time");
    assert_eq!(of(&recent, 32).per_second, Some(10.0), "the one before has gone");
    // A counter that falls in one process is no rate.
    recent.take(&host("edge-1"), &said(2, 5), at(33));
    assert_eq!(of(&recent, 33).per_second, None);
    // However many there are, few are remembered; and a clock that is set back begins anew.
    for process in 10..30 {
        recent.take(&host("edge-1"), &said(process, 0), at(40));
    }
    assert_eq!(recent.hosts[&host("edge-1")].len(), PROCESSES);
    recent.take(&host("edge-1"), &said(40, 0), at(5));
    assert_eq!(recent.hosts[&host("edge-1")].len(), 1);
}

#[test]
fn what_was_not_told_is_no_rate() {
    let mut recent = Recent::default();
    let mut cut = IngressReport::clone(&said(1, 9000));
    let service = cut.services.get_mut(&web()).unwrap();
    *service = ServiceTraffic { histograms_cut: true, ..ServiceTraffic::default() };
    recent.take(&host("edge-1"), &Arc::new(cut), at(0));
    recent.take(&host("edge-1"), &said(1, 9100), at(10));
    let rate = of(&recent, 10);
    assert_eq!((rate.per_second, rate.in_flight), (None, 5), "there was no room for it in the first report");
    assert_eq!(recent.of(&web(), at(10), |_| true).nobody.per_second, None);
    recent.take(&host("edge-1"), &said(1, 9200), at(40));
    recent.take(&host("edge-1"), &said(1, 9300), at(70));
    assert_eq!(of(&recent, 70).per_second, Some(100.0 / 30.0));
}
