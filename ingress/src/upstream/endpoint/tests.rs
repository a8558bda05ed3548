use crate::exchange::Upload;

use super::*;

pub(super) fn endpoint(now: Instant) -> Arc<Endpoint> {
    let key = EndpointKey {
        address: "127.0.0.1:1".parse().unwrap(),
        release: Digest::of(b"r1"),
        protocol: ProtocolKind::Http1,
    };
    Endpoint::new(key, &Limits::default(), now)
}

#[test]
fn five_failures_in_a_row_eject_for_longer_each_time() {
    let now = Instant::now();
    let endpoint = endpoint(now);
    let fail = |at| (0..5).for_each(|_| endpoint.failed(at));
    (0..4).for_each(|_| endpoint.failed(now));
    assert!(!endpoint.is_ejected(now));
    endpoint.failed(now);
    assert!(endpoint.is_ejected(now + Duration::from_secs(9)));
    let later = now + Duration::from_secs(11);
    assert!(!endpoint.is_ejected(later));
    fail(later);
    assert!(endpoint.is_ejected(later + Duration::from_secs(19)));
    assert!(!endpoint.is_ejected(later + Duration::from_secs(21)));
}

#[test]
fn broken_bodies_in_a_row_eject_for_longer_each_time() {
    let now = Instant::now();
    let endpoint = endpoint(now);
    (0..4).for_each(|_| endpoint.broke_off(now));
    endpoint.answered_whole();
    for _ in 0..5 {
        assert!(!endpoint.is_ejected(now));
        endpoint.answered(now);
        endpoint.broke_off(now);
    }
    assert!(endpoint.is_ejected(now));
    let later = now + Duration::from_secs(11);
    endpoint.answered(later);
    endpoint.broke_off(later);
    assert!(endpoint.is_ejected(later + Duration::from_secs(19)), "one more is enough");
    endpoint.answered_whole();
    assert!(!endpoint.is_ejected(later), "a whole response brings it back");
}

/// Its process dies with requests under way: resets come first, refused connections after them.
#[test]
fn an_ejected_endpoint_becomes_unreachable_by_refusals() {
    let (limits, now) = (Limits::default(), Instant::now());
    let endpoint = endpoint(now);
    (0..5).for_each(|_| endpoint.failed(now));
    (0..4).for_each(|_| endpoint.unreachable(now));
    assert!(endpoint.is_ejected(now) && !endpoint.is_unreachable(&limits, now));
    endpoint.unreachable(now);
    assert!(endpoint.is_unreachable(&limits, now));
    endpoint.reached();
    assert!(!endpoint.is_unreachable(&limits, now) && !endpoint.is_ejected(now));
}

/// A service of streams, of which none ends whole, breaks one now and then.
#[test]
fn broken_bodies_of_long_ago_begin_no_row() {
    let now = Instant::now();
    let endpoint = endpoint(now);
    for minute in 0..20 {
        endpoint.broke_off(now + Duration::from_secs(61 * minute));
    }
    assert!(!endpoint.is_ejected(now + Duration::from_secs(61 * 20)));
    (0..5).for_each(|_| endpoint.failed(now));
    endpoint.answered(now);
    assert!(!endpoint.is_ejected(now), "it was left out for something else");
}

#[test]
fn an_answer_brings_an_endpoint_back_at_once() {
    let now = Instant::now();
    let endpoint = endpoint(now);
    (0..5).for_each(|_| endpoint.failed(now));
    endpoint.reached();
    assert!(endpoint.is_ejected(now), "connections stood all the time");
    endpoint.answered(now);
    assert!(!endpoint.is_ejected(now));
}

#[test]
fn a_connection_takes_back_only_failures_to_connect() {
    let now = Instant::now();
    let endpoint = endpoint(now);
    (0..4).for_each(|_| endpoint.unreachable(now));
    endpoint.reached();
    (0..4).for_each(|_| endpoint.failed(now));
    endpoint.reached();
    assert!(!endpoint.is_ejected(now));
    endpoint.failed(now);
    assert!(endpoint.is_ejected(now), "five resets in a row");
}

#[test]
fn two_unanswered_probes_make_an_endpoint_unready() {
    let (limits, now) = (Limits::default(), Instant::now());
    let endpoint = endpoint(now);
    assert!(!endpoint.probed(false, &limits, now) && !endpoint.is_left_out(&limits, now));
    assert!(endpoint.probed(false, &limits, now) && endpoint.is_left_out(&limits, now));
    assert!(!endpoint.probed(false, &limits, now), "nothing new");
    assert!(endpoint.probed(true, &limits, now) && !endpoint.is_left_out(&limits, now));
}

#[test]
fn a_probe_brings_back_what_could_not_be_reached() {
    let (limits, now) = (Limits::default(), Instant::now());
    let (silent, resets) = (endpoint(now), endpoint(now));
    (0..5).for_each(|_| silent.unreachable(now));
    (0..5).for_each(|_| resets.failed(now));
    assert!(silent.is_ejected(now) && resets.is_ejected(now));
    silent.probed(true, &limits, now);
    resets.probed(true, &limits, now);
    assert!(!silent.is_ejected(now), "connections stand again");
    assert!(resets.is_ejected(now), "connections stood all the time");
}

/// Begins and ends a probe if one is due.
fn probe(endpoint: &Endpoint, ready: bool, at: Instant) -> bool {
    let limits = Limits::default();
    let due = endpoint.probe_due(&limits, at).is_some();
    if due {
        endpoint.begin_probe(at);
        assert_eq!(endpoint.probe_due(&limits, at + Duration::from_secs(60)), None, "one at a time");
        endpoint.probed(ready, &limits, at);
    }
    due
}

#[test]
fn an_endpoint_is_probed_more_often_while_it_is_replaced() {
    let now = Instant::now();
    let endpoint = endpoint(now);
    let at = |seconds| now + Duration::from_secs(seconds);
    assert!(!probe(&endpoint, true, at(6)) && probe(&endpoint, true, at(10)));
    assert!(!probe(&endpoint, true, at(16)));
    endpoint.set_probe(None, true);
    assert!(probe(&endpoint, true, at(16)));
}

#[test]
fn a_doubted_endpoint_is_probed_at_once_and_again_soon() {
    let now = Instant::now();
    let endpoint = endpoint(now);
    let at = |millis| now + Duration::from_millis(millis);
    endpoint.set_probe(Some(&"/health".to_owned()), false);
    assert!(!probe(&endpoint, true, at(100)));
    endpoint.overdue(at(100));
    assert!(probe(&endpoint, false, at(100)), "a request has waited for too long");
    assert!(!probe(&endpoint, false, at(600)) && probe(&endpoint, false, at(800)), "it failed once");
    assert!(endpoint.is_unready(&Limits::default()));
    assert!(!probe(&endpoint, false, at(5000)) && probe(&endpoint, true, at(10_800)), "there is time");
}

#[test]
fn one_that_hangs_gets_one_request_at_a_time() {
    let (limits, now) = (Limits::default(), Instant::now());
    let endpoint = endpoint(now);
    let upload = Upload::none();
    let patience = Patience::of(&[], &[], false, &limits);
    (0..4).for_each(|_| endpoint.overdue(now));
    assert!(!endpoint.is_ejected(now));
    endpoint.overdue(now);
    let later = now + Duration::from_secs(11);
    assert!(endpoint.is_ejected(now) && !endpoint.is_ejected(later));
    let one = Wait::begin(&endpoint, &upload, &limits, patience);
    assert!(endpoint.is_ejected(later), "that one shall show it");
    endpoint.overdue(later);
    let waited = later + Duration::from_secs(19);
    drop(one);
    assert!(endpoint.is_ejected(waited) && !endpoint.is_ejected(waited + Duration::from_secs(2)));
    Wait::begin(&endpoint, &upload, &limits, patience).answered();
    assert!(!endpoint.is_ejected(later));
    let _other = Wait::begin(&endpoint, &upload, &limits, patience);
    assert!(!endpoint.is_ejected(later), "it hangs no more");
}

#[test]
fn patience_follows_the_slowest_answer_of_late() {
    let (limits, now) = (Limits::default(), Instant::now());
    let both = [endpoint(now), endpoint(now)];
    let after = || Patience::of(&both, &[], false, &limits).after;
    assert_eq!(after(), None, "nobody knows yet");
    both[1].silence.slowest.store(5_000, Relaxed);
    assert_eq!(after(), Some(limits.silence));
    both[0].silence.slowest.store(8_000_000, Relaxed);
    assert_eq!(after(), Some(Duration::from_secs(16)));
    (0..1800).for_each(|_| both[0].silence.wear_off());
    assert_eq!(after(), Some(limits.silence), "after half an hour");
}

#[test]
fn requests_and_tunnels_are_counted_while_they_are_held() {
    let endpoint = endpoint(Instant::now());
    let (request, tunnel) =
        (InFlight::request(Arc::clone(&endpoint)), InFlight::tunnel(Arc::clone(&endpoint)));
    assert_eq!((endpoint.in_flight(), endpoint.tunnels()), (1, 1));
    drop((request, tunnel));
    assert_eq!((endpoint.in_flight(), endpoint.tunnels()), (0, 0));
}
