//! Failed attempts, and renewals.
//!
//! Only failures are throttled, and only where an attempt fails: who has a token that is good, or proves a certificate,
//! comes in, whatever others behind the same address did. Successes cost nothing, so that a thousand hosts can join at
//! once.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use windlass_core::Timestamp;
use windlass_core::quota::{Quotas, Rate, Source};

use super::EnrolError;

/// Failures of one address; beyond that they are answered with [`EnrolError::TooMany`].
const FAILURES: Rate = Rate::new(20, Duration::from_secs(3));
/// Certificates of one identity at once; one more after each [`PARTS`]th of its lifetime.
const RENEWALS: u32 = 24;
const PARTS: u32 = 48;
/// Addresses and identities that are remembered.
const REMEMBERED: usize = 4096;

#[derive(Debug)]
pub(super) struct Limiter {
    failures: Mutex<Quotas<Source>>,
    renewals: Mutex<[Quotas<String>; 2]>,
}

impl Limiter {
    /// For certificates of agents and operators that live so long.
    pub(super) fn new(agent: Duration, operator: Duration) -> Self {
        let renewals = [agent, operator].map(|lifetime| {
            let every = (lifetime / PARTS).max(Duration::from_millis(1));
            Quotas::new(Rate::new(RENEWALS, every), REMEMBERED)
        });
        Self { failures: Mutex::new(Quotas::new(FAILURES, REMEMBERED)), renewals: Mutex::new(renewals) }
    }

    /// Counts a failed attempt from this address; returns whether it is one of too many.
    pub(super) fn failed(&self, from: IpAddr, now: Timestamp) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.take(&Source::of(from), now).is_err()
    }

    /// Whether an agent may get another certificate. Each is an entry of the audit log, for ever.
    pub(super) fn agent(&self, name: &str, now: Timestamp) -> Result<(), EnrolError> {
        self.renewal(0, name, now)
    }

    /// The same for an operator.
    pub(super) fn operator(&self, name: &str, now: Timestamp) -> Result<(), EnrolError> {
        self.renewal(1, name, now)
    }

    fn renewal(&self, kind: usize, name: &str, now: Timestamp) -> Result<(), EnrolError> {
        let mut renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        renewals[kind].take(&name.to_owned(), now).map_err(|_| EnrolError::TooOften)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn address_that_fails_too_often_is_limited_alone() {
        let (limiter, now) = (Limiter::new(HOUR, HOUR), Timestamp::from_millis(1_000_000));
        let [bad, good] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        for _ in 0..20 {
            assert!(!limiter.failed(bad, now));
        }
        assert!(limiter.failed(bad, now));
        assert!(!limiter.failed(good, now));
        assert!(!limiter.failed(bad, now + Duration::from_secs(60)));
    }

    #[test]
    fn an_identity_renews_as_often_as_its_lifetime_asks_for() {
        let (limiter, now) = (Limiter::new(HOUR * 48, HOUR * 48), Timestamp::from_millis(1_000_000));
        let renewed = (0..300).filter(|_| limiter.operator("bob", now).is_ok()).count();
        assert_eq!(renewed, 24);
        assert_eq!(limiter.operator("bob", now), Err(EnrolError::TooOften));
        limiter.operator("alice", now).unwrap();
        limiter.agent("bob", now).unwrap();
        limiter.operator("bob", now + HOUR).unwrap();
    }
}
