//! The choice among the endpoints of a release: the less busy of two drawn at random, and never one that was tried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use crate::limits::Limits;

/// Answers with an endpoint for a request, or `None` if each was tried or drains. One that stands by is asked when there is
/// nobody else, whatever its probes say.
///
/// Ejected and unready endpoints are left out while others are there, and at most half of them: where more are ejected, the
/// trouble is more likely ours, and all of them count again. Unreachable endpoints are excluded before the half is counted: a request to
/// one cannot arrive, whatever the cause.
pub(crate) fn pick(
    endpoints: &[Arc<Endpoint>],
    tried: &[Arc<Endpoint>],
    slow_start: Option<Duration>,
    random: u64,
    limits: &Limits,
    now: Instant,
) -> Option<Arc<Endpoint>> {
    // An endpoint that stands in has the place of the one before it, which counts neither as there nor as left out.
    let stand_in = endpoints.iter().filter(|e| e.is_draining() && e.takes(limits, now));
    let replaced: Vec<_> = stand_in.filter_map(|e| e.first()).collect();
    let takes = |endpoint: &Arc<Endpoint>| {
        endpoint.takes(limits, now) && !replaced.iter().any(|first| Arc::ptr_eq(first, endpoint))
    };
    let is_reachable = |e: &Arc<Endpoint>| takes(e) && !e.is_unreachable(limits, now);
    let ejected = endpoints.iter().filter(|e| is_reachable(e) && e.is_left_out(limits, now)).count();
    let alive = endpoints.iter().filter(|e| is_reachable(e)).count();
    let believe = ejected * 2 <= alive;
    let is_tried = |endpoint: &Arc<Endpoint>| tried.iter().any(|other| Arc::ptr_eq(other, endpoint));
    let standby = |proven: bool| {
        let stands_by = |e: &&Arc<Endpoint>| e.stands_by() && e.is_proven() == proven && !is_tried(e);
        endpoints.iter().find(stands_by).cloned()
    };
    let fits = |endpoint: &&Arc<Endpoint>| {
        let left_out = !is_reachable(endpoint) || (believe && endpoint.is_left_out(limits, now));
        !left_out && !is_tried(endpoint)
    };
    let count = endpoints.iter().filter(fits).count();
    let nth = |n: u64| {
        let n = usize::try_from(n % u64::try_from(count).unwrap_or(1)).unwrap_or_default();
        endpoints.iter().filter(fits).nth(n)
    };
    match count {
        0 => {
            // Only ones that are left out are there: better one of those than none, and one that can be reached before the others.
            let left = |e: &&Arc<Endpoint>| takes(e) && !is_tried(e);
            let reachable = || endpoints.iter().filter(left).find(|e| is_reachable(e));
            let any = || {
                let count =
                    u64::try_from(endpoints.iter().filter(left).count()).ok().filter(|count| *count > 0)?;
                endpoints.iter().filter(left).nth(usize::try_from(random % count).ok()?)
            };
            let left_out = || reachable().or_else(any).cloned();
            standby(true).or_else(left_out).or_else(|| standby(false))
        }
        1 => nth(0).cloned(),
        _ => {
            let (low, high) = (random & 0xffff_ffff, random >> 32);
            let (first, second) = (nth(low)?, nth(low + 1 + high % (u64::try_from(count).ok()? - 1))?);
            let less = load(second, slow_start, now) < load(first, slow_start, now);
            Some(Arc::clone(if less { second } else { first }))
        }
    }
}

/// The number of endpoints that take new requests.
pub(crate) fn pickable(endpoints: &[Arc<Endpoint>], limits: &Limits, now: Instant) -> usize {
    endpoints.iter().filter(|endpoint| endpoint.takes(limits, now)).count()
}

/// Requests under way, weighed up while the endpoint is young: after a tenth of the slow start it counts ten times.
fn load(endpoint: &Endpoint, slow_start: Option<Duration>, now: Instant) -> f64 {
    let busy = i32::try_from(endpoint.in_flight()).map_or(f64::MAX, f64::from) + 1.0;
    let share = slow_start
        .filter(|whole| !whole.is_zero())
        .map_or(1.0, |whole| (endpoint.age(now).as_secs_f64() / whole.as_secs_f64()).clamp(0.05, 1.0));
    busy / share
}

#[cfg(test)]
mod tests {
    use windlass_core::Digest;

    use super::super::endpoint::{EndpointKey, InFlight, ProtocolKind};
    use super::*;

    fn endpoints(count: u16, now: Instant) -> Vec<Arc<Endpoint>> {
        let key = |port| EndpointKey {
            address: ([127, 0, 0, 1], port).into(),
            release: Digest::of(b"r"),
            protocol: ProtocolKind::Http1,
        };
        (1..=count).map(|port| Endpoint::new(key(port), &Limits::default(), now)).collect()
    }

    fn eject(endpoint: &Endpoint, now: Instant) {
        (0..5).for_each(|_| endpoint.failed(now));
    }

    /// Ports that are picked by many draws.
    fn picked(
        all: &[Arc<Endpoint>],
        tried: &[Arc<Endpoint>],
        now: Instant,
    ) -> std::collections::BTreeSet<u16> {
        let draw = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..200)
            .filter_map(|n| {
                Some(pick(all, tried, None, draw(n), &Limits::default(), now)?.key.address.port())
            })
            .collect()
    }

    #[test]
    /// Complaint 3 about other proxies (traefik/traefik#7886): a retry that goes to the dead server again.
    fn a_tried_or_draining_endpoint_is_never_picked() {
        let now = Instant::now();
        let all = endpoints(3, now);
        all[2].set_draining(true);
        assert_eq!(picked(&all, &[Arc::clone(&all[0])], now), [2].into());
        assert_eq!(picked(&all, &all, now), [].into());
    }

    #[test]
    fn an_ejected_endpoint_is_left_out_while_others_are_there() {
        let now = Instant::now();
        let all = endpoints(3, now);
        eject(&all[1], now);
        assert_eq!(picked(&all, &[], now), [1, 3].into());
    }

    #[test]
    fn the_last_endpoint_is_never_left_out() {
        let (now, limits) = (Instant::now(), Limits::default());
        let all = endpoints(2, now);
        let unready = |endpoint: &Endpoint| assert!((0..2).any(|_| endpoint.probed(false, &limits, now)));
        unready(&all[0]);
        assert_eq!(picked(&all, &[], now), [2].into());
        unready(&all[1]);
        assert_eq!(picked(&all, &[], now), [1, 2].into());
    }

    #[test]
    fn more_than_half_are_never_ejected() {
        let now = Instant::now();
        let all = endpoints(3, now);
        all[..2].iter().for_each(|endpoint| eject(endpoint, now));
        assert_eq!(picked(&all, &[], now), [1, 2, 3].into());
        let one = endpoints(1, now);
        eject(&one[0], now);
        assert_eq!(picked(&one, &[], now), [1].into());
    }

    /// A host that is cut off reaches its own instances alone, and one of these fails.
    #[test]
    fn unreachable_endpoints_are_left_out_beyond_half() {
        let (now, limits) = (Instant::now(), Limits::default());
        let all = endpoints(4, now);
        (0..5).for_each(|_| all[0].unreachable(now));
        all[1].probe_reached(false);
        assert!((0..2).any(|_| all[1].probed(false, &limits, now)));
        assert_eq!(picked(&all, &[], now), [3, 4].into());
        (0..5).for_each(|_| all[2].unreachable(now));
        assert_eq!(picked(&all, &[], now), [4].into());
        assert_eq!(
            picked(&all, &[Arc::clone(&all[3])], now),
            [1, 2, 3].into(),
            "better one of those than none"
        );
        eject(&all[3], now);
        assert_eq!(picked(&all, &[], now), [4].into(), "that one can be reached");
    }

    #[test]
    fn the_less_busy_of_two_is_picked() {
        let now = Instant::now();
        let all = endpoints(2, now);
        let _busy = InFlight::request(Arc::clone(&all[0]));
        assert_eq!(picked(&all, &[], now), [2].into());
    }

    #[test]
    fn a_young_endpoint_takes_less_during_a_slow_start() {
        let born = Instant::now();
        let all = endpoints(2, born);
        let whole = Some(Duration::from_secs(30));
        let at = |seconds| load(&all[0], whole, born + Duration::from_secs(seconds));
        assert!(at(3) > 9.0 && at(15) > 1.9 && at(30) < 1.1 && at(300) < 1.1);
        assert!(load(&all[0], None, born) < 1.1);
    }
}
