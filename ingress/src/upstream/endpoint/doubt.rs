//! The knowledge of endpoints that fail, for the process that takes over: it would learn it anew from requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windlass_core::Digest;

use crate::limits::Limits;

use super::eject::Ejected;
use super::{Endpoint, EndpointKey, ProtocolKind};

/// An endpoint that fails, as one process tells the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    address: SocketAddr,
    release: Digest,
    /// It is asked in HTTP/2.
    #[serde(default)]
    http2: bool,
    /// It answers no probes.
    #[serde(default)]
    unready: bool,
    /// The number of times in a row that it was left out.
    #[serde(default)]
    ejections: u32,
    /// Milliseconds for which it is left out from now on.
    #[serde(default)]
    left_out: u64,
    /// Connections to it failed.
    #[serde(default)]
    unreachable: bool,
    /// Its probes could not be sent.
    #[serde(default)]
    unreached: bool,
    /// Consecutive responses that it broke off.
    #[serde(default)]
    broken: u32,
    /// It takes requests and answers none.
    #[serde(default)]
    hangs: bool,
}

impl Doubt {
    /// The endpoint.
    pub(crate) fn key(&self) -> EndpointKey {
        let protocol = if self.http2 { ProtocolKind::Http2 } else { ProtocolKind::Http1 };
        EndpointKey { address: self.address, release: self.release, protocol }
    }
}

impl Endpoint {
    /// Its failures, if it is left out or was and has not answered since.
    pub(crate) fn doubt(&self, limits: &Limits, now: Instant) -> Option<Doubt> {
        let Ejected { times, left, unreachable, broken } = self.ejected(now);
        let doubt = Doubt {
            address: self.key.address,
            release: self.key.release,
            http2: self.key.protocol == ProtocolKind::Http2,
            unready: self.is_unready(limits),
            ejections: times,
            left_out: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            unreachable,
            unreached: self.was_not_reached(),
            broken,
            hangs: self.silence.hangs(),
        };
        (doubt.unready || doubt.ejections > 0 || doubt.hangs).then_some(doubt)
    }

    /// Takes the failures that another process saw. What this one has seen by itself counts more.
    pub(crate) fn take_doubt(&self, doubt: &Doubt, limits: &Limits, now: Instant) {
        if self.is_proven() || self.ejection.has_been() {
            return;
        }
        if doubt.unready {
            self.give_up(limits);
            self.probe_reached(!doubt.unreached);
        }
        let &Doubt { ejections: times, left_out, unreachable, broken, .. } = doubt;
        let left = Duration::from_millis(left_out);
        self.take_ejection(Ejected { times, left, unreachable, broken }, now);
        self.silence.set_hangs(doubt.hangs);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::endpoint;
    use super::*;

    fn told(of: &Endpoint, limits: &Limits, now: Instant) -> Option<Doubt> {
        let text = serde_json::to_string(&of.doubt(limits, now)?).unwrap();
        Some(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn an_ejected_endpoint_stays_out_for_the_rest_of_its_time() {
        let (limits, now) = (Limits::default(), Instant::now());
        let before = endpoint(now);
        assert_eq!(before.doubt(&limits, now), None);
        (0..limits.eject_after).for_each(|_| before.unreachable(now));
        let later = now + limits.eject / 2;
        let doubt = told(&before, &limits, later).unwrap();

        let after = endpoint(later);
        assert_eq!(doubt.key(), after.key);
        after.take_doubt(&doubt, &limits, later);
        assert!(after.is_ejected(later) && !after.is_ejected(now + limits.eject + Duration::from_millis(2)));
        after.reached();
        assert!(!after.is_ejected(later), "a connection that stands brings it back");
    }

    #[test]
    fn an_unready_endpoint_is_out_until_its_probe_is_answered() {
        let (limits, now) = (Limits::default(), Instant::now());
        let before = endpoint(now);
        for _ in 0..limits.unready_after {
            before.probed(false, &limits, now);
        }
        let after = endpoint(now);
        after.take_doubt(&told(&before, &limits, now).unwrap(), &limits, now);
        assert!(after.is_left_out(&limits, now));
        after.begin_probe(now);
        after.probed(true, &limits, now);
        assert!(!after.is_left_out(&limits, now));
        after.take_doubt(&told(&before, &limits, now).unwrap(), &limits, now);
        assert!(!after.is_left_out(&limits, now), "its own probe counts more");
    }

    #[test]
    fn a_successor_is_told_what_cannot_be_reached_or_breaks() {
        let (limits, now) = (Limits::default(), Instant::now());
        let (silent, breaks) = (endpoint(now), endpoint(now));
        silent.probe_reached(false);
        for _ in 0..limits.unready_after {
            silent.probed(false, &limits, now);
        }
        (0..limits.eject_after).for_each(|_| breaks.broke_off(now));
        let after = [endpoint(now), endpoint(now)];
        after[0].take_doubt(&told(&silent, &limits, now).unwrap(), &limits, now);
        after[1].take_doubt(&told(&breaks, &limits, now).unwrap(), &limits, now);
        assert!(after[0].is_unreachable(&limits, now));
        after[1].answered(now);
        assert!(after[1].is_ejected(now), "a head says little of it");
    }

    #[test]
    fn no_doubt_leaves_an_endpoint_out_for_longer_than_an_ejection() {
        let (limits, now) = (Limits::default(), Instant::now());
        let text = format!(
            r#"{{"address":"127.0.0.1:9","release":"{}","ejections":3,"left_out":18446744073709551615}}"#,
            endpoint(now).key.release
        );
        let doubt: Doubt = serde_json::from_str(&text).unwrap();
        let after = endpoint(now);
        after.take_doubt(&doubt, &limits, now);
        assert!(after.is_ejected(now));
        assert!(!after.is_ejected(now + limits.eject_most + Duration::from_millis(2)));
    }
}
