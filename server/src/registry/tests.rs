use super::*;

#[test]
fn faults_of_a_host_are_logged_few_times_at_no_others_cost() {
    let start = Timestamp::from_millis(1_000_000);
    let registry = Registry::new(LivenessRules::default(), Clock::manual(start));
    let [bad, good]: [HostId; 2] = ["web-1", "web-2"].map(|name| name.parse().unwrap());
    let written = (0..100).filter(|_| registry.may_complain(&bad, start)).count();
    assert_eq!(written, 10);
    assert!(registry.may_complain(&good, start));
    assert!(registry.may_complain(&bad, start + COMPLAINTS_WINDOW));
}

#[test]
fn facts_are_stored_each_second_with_the_clock_set_back() {
    let start = Timestamp::from_millis(1_000_000);
    let registry = Registry::new(LivenessRules::default(), Clock::manual(start));
    let host: HostId = "web-1".parse().unwrap();
    let at = |ms| start + Duration::from_millis(ms);
    let table = [(0, true), (1, false), (999, false), (1000, true), (1001, false), (2000, true)];
    for (ms, want) in table {
        assert_eq!(registry.may_store_facts(&host, at(ms)), want, "{ms}");
    }
    assert!(registry.may_store_facts(&host, start - Duration::from_secs(60)));
}

#[test]
fn clock_step_loses_no_host_and_hides_no_silent_one() {
    let start = Timestamp::from_millis(100_000_000);
    let at = |seconds: i64| Timestamp::from_millis(start.as_millis() + seconds * 1000);
    for step in [10_800, -10_800] {
        let registry = Registry::new(LivenessRules::default(), Clock::manual(start));
        let (here, silent): (HostId, HostId) = ("web-1".parse().unwrap(), "web-2".parse().unwrap());
        let (logs, _) = mpsc::channel(1);
        let _places =
            [registry.connect(&here, logs.clone(), at(80)), registry.connect(&silent, logs, at(62))];
        // At 90 s the clock is set; one host is heard of before anybody has noticed.
        registry.heard(&here, None, at(90 + step));
        registry.clock_was_set(step * 1000, at(90 + step));
        assert_eq!(registry.liveness(&here, at(91 + step)), Liveness::Connected, "{step}");
        assert_eq!(registry.liveness(&silent, at(91 + step)), Liveness::Suspect, "{step}");
        assert_eq!(registry.liveness(&silent, at(92 + step)), Liveness::Lost, "{step}: 30 s are 30 s");
        let stranger: HostId = "web-3".parse().unwrap();
        assert_eq!(
            registry.liveness(&stranger, at(91 + step)),
            Liveness::Unknown,
            "it has time to be heard of"
        );
        let all = registry.liveness_of_all([&here, &silent, &stranger].into_iter(), at(91 + step));
        assert_eq!(all, [Liveness::Connected, Liveness::Suspect, Liveness::Unknown], "{step}");
    }
}

#[test]
fn liveness_follows_the_clock_and_the_newest_stream_wins() {
    let start = Timestamp::from_millis(1_000_000);
    let at = |seconds| start + Duration::from_secs(seconds);
    let registry = Registry::new(LivenessRules::default(), Clock::manual(start));
    let host: HostId = "web-1".parse().unwrap();
    assert_eq!(registry.liveness(&host, at(59)), Liveness::Unknown);
    assert_eq!(registry.liveness(&host, at(60)), Liveness::Lost);
    let (logs, _) = mpsc::channel(1);
    let old = registry.connect(&host, logs.clone(), at(70));
    let table = [(70, Liveness::Connected), (85, Liveness::Suspect), (100, Liveness::Lost)];
    for (second, want) in table {
        assert_eq!(registry.liveness(&host, at(second)), want, "{second}");
    }
    let new = registry.connect(&host, logs, at(101));
    assert!(old.replaced.is_cancelled() && !new.replaced.is_cancelled());
    drop(old);
    assert_eq!(registry.connected(), 1);
    drop(new);
    assert_eq!(registry.connected(), 0);
    assert_eq!(registry.liveness(&host, at(102)), Liveness::Connected, "silence counts, not the stream");
}

#[test]
fn a_host_is_isolated_only_if_its_stream_ended_by_silence() {
    let clock = Clock::manual(Timestamp::from_millis(1_000_000));
    let registry = Registry::new(LivenessRules::default(), clock.clone());
    let host: HostId = "web-1".parse().unwrap();
    let isolated =
        || registry.look(&host, |live| live.silent_for(&clock).filter(|_| !live.departed)).flatten();
    let connect = || registry.connect(&host, mpsc::channel(1).0, clock.now());
    let pass = |seconds| clock.set(clock.now() + Duration::from_secs(seconds));
    assert_eq!(isolated(), None, "never heard of");
    let place = connect();
    pass(12);
    drop(place);
    pass(8);
    assert_eq!(isolated(), Some(Duration::from_secs(20)), "it fell silent, and then the stream ended");
    let place = connect();
    registry.heard(&host, None, clock.now());
    pass(1);
    drop(place);
    pass(300);
    assert_eq!(isolated(), None, "the stream was ended while it was heard of: its agent may be dead");
    let _place = connect();
    assert_eq!(isolated(), Some(Duration::ZERO), "and lives again");
}

/// Found by the simulation (seed 1882754990998544), where the network doubles messages: the older report took the place of
/// the newest, which the agent knew to be acknowledged and did not say again.
#[test]
fn older_report_on_the_same_stream_is_ignored() {
    let start = Timestamp::from_millis(1_000_000);
    let registry = Registry::new(LivenessRules::default(), Clock::manual(start));
    let host: HostId = "web-1".parse().unwrap();
    let (logs, _) = mpsc::channel(1);
    let say = |revision, seq| {
        let seen = Observation { revision, seq, ..Observation::default() };
        registry.observed(&host, Arc::new(seen), start);
        registry.look(&host, |live| live.observation.as_ref().map(|seen| seen.seq)).flatten()
    };
    let _place = registry.connect(&host, logs.clone(), start);
    assert_eq!(say(3, 6), Some(6));
    assert_eq!(say(4, 7), Some(7));
    assert_eq!(say(3, 6), Some(7), "it comes twice");
    // An agent that was started anew counts from one, on a stream of its own.
    let _next = registry.connect(&host, logs, start);
    assert_eq!(say(1, 8), Some(8));
}

#[test]
fn an_ingress_that_was_taken_over_goes_on_to_be_seen() {
    let start = Timestamp::from_millis(1_000_000);
    let at = |seconds| start + Duration::from_secs(seconds);
    let registry = Registry::new(LivenessRules::default(), Clock::manual(start));
    let (host, state): (HostId, _) = ("edge-1".parse().unwrap(), crate::ledger::tests::state());
    let report = |process: u64, begun: u64, ending: bool, in_flight: u64| {
        let endpoint = serde_json::json!({
            "address": "10.0.0.1:20000", "release": windlass_core::Digest::of(b"r1"), "state": "draining",
            "in_flight": in_flight,
        });
        let report = serde_json::json!({
            "process": process, "started_at": at(begun), "at": at(begun), "program": "1.0.0", "ending": ending,
            "services": { "production/web": { "endpoints": [endpoint] } },
        });
        Arc::new(serde_json::from_value::<windlass_core::traffic::IngressReport>(report).unwrap())
    };
    let kept = || -> Vec<(u64, u64)> {
        registry.ingress_reports(&host).all().map(|of| (of.process, of.under_way())).collect()
    };
    registry.ingress_reported(&state, &host, report(1, 0, true, 5), at(1));
    registry.ingress_reported(&state, &host, report(2, 1, false, 3), at(2));
    assert_eq!(kept(), [(2, 3), (1, 5)]);
    registry.ingress_reported(&state, &host, report(1, 0, true, 0), at(3));
    assert_eq!(kept(), [(2, 3)]);
    registry.ingress_forgotten(&host);
    assert_eq!(kept(), []);
}
