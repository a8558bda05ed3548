//! Failed attempts per address. Successes cost nothing, so that a thousand hosts can join at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use windlass_core::Timestamp;

use super::EnrolError;

/// Failures within the window before an address has to wait.
const FAILURES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the memory of a flood of addresses is dropped whole.
const ADDRESSES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<IpAddr, (Timestamp, u32)>>);

impl Limiter {
    /// May this address try?
    pub(super) fn check(&self, from: IpAddr, now: Timestamp) -> Result<(), EnrolError> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.get(&from) {
            Some((since, count)) if *count >= FAILURES && now.since(*since) < WINDOW => {
                Err(EnrolError::TooMany)
            }
            _ => Ok(()),
        }
    }

    /// It tried, and failed.
    pub(super) fn failed(&self, from: IpAddr, now: Timestamp) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES {
            failures.clear();
        }
        let (since, count) = failures.entry(from).or_insert((now, 0));
        if now.since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_too_often_waits_a_minute_and_others_do_not() {
        let (limiter, now) = (Limiter::default(), Timestamp::from_millis(1_000_000));
        let [bad, good] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        for _ in 0..FAILURES {
            limiter.check(bad, now).unwrap();
            limiter.failed(bad, now);
        }
        assert_eq!(limiter.check(bad, now), Err(EnrolError::TooMany));
        limiter.check(good, now).unwrap();
        limiter.check(bad, now + WINDOW).unwrap();
    }
}
