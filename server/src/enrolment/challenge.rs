//! Nonces for renewals with an expired certificate: each is good once, for a minute.
//!
//! ```text
//! challenge = until (8 bytes, ms) ‖ random (8 bytes) ‖ HMAC-SHA256 of both by a key of this process (first 16)
//! ```
//!
//! Asking costs the coordinator nothing to remember, so that a flood of questions crowds no honest host out. Only
//! those that came back are remembered, until they have expired; wrong answers are limited per address.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ring::hmac;
use windlass_certs::random;
use windlass_core::Timestamp;

const LIFETIME: Duration = Duration::from_secs(60);
/// Challenges that came back within a minute; more than a fleet that was away for a day. Beyond that nobody renews
/// until some have expired: a used one must never be good again.
const MOST: usize = 65_536;
const MAC: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Challenges {
    /// Drawn when it is needed first: what another process made is not good here.
    key: OnceLock<hmac::Key>,
    used: Mutex<BTreeMap<[u8; 32], Timestamp>>,
}

impl Challenges {
    /// A new one; `None` if the system has no randomness.
    pub(super) fn make(&self, now: Timestamp) -> Option<[u8; 32]> {
        let mut challenge = [0; 32];
        challenge[..8].copy_from_slice(&(now + LIFETIME).as_millis().to_be_bytes());
        challenge[8..16].copy_from_slice(&random::bytes::<8>().ok()?);
        let key = match self.key.get() {
            Some(key) => key,
            None => {
                let new = hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>().ok()?);
                self.key.get_or_init(|| new)
            }
        };
        let mac = hmac::sign(key, &challenge[..16]);
        challenge[16..].copy_from_slice(&mac.as_ref()[..MAC]);
        Some(challenge)
    }

    /// Uses a challenge up; returns whether it was one of ours, and in time.
    pub(super) fn take(&self, challenge: &[u8; 32], now: Timestamp) -> bool {
        let Some(key) = self.key.get() else { return false };
        let mac = hmac::sign(key, &challenge[..16]);
        // In constant time: an attacker must not learn the code byte by byte.
        let same: bool = subtle::ConstantTimeEq::ct_eq(&mac.as_ref()[..MAC], &challenge[16..]).into();
        let mut until = [0; 8];
        until.copy_from_slice(&challenge[..8]);
        let until = Timestamp::from_millis(i64::from_be_bytes(until));
        if !same || now >= until {
            return false;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MOST {
            used.retain(|_, until| *until > now);
        }
        used.len() < MOST && used.insert(*challenge, until).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_good_once_and_for_a_minute() {
        let (challenges, now) = (Challenges::default(), Timestamp::from_millis(1000));
        let challenge = challenges.make(now).unwrap();
        assert!(challenges.take(&challenge, now));
        assert!(!challenges.take(&challenge, now));
        let late = challenges.make(now).unwrap();
        assert!(!challenges.take(&late, now + LIFETIME));
        assert!(challenges.take(&late, now + LIFETIME - Duration::from_millis(1)));
        assert!(!challenges.take(&[0; 32], now));
    }

    #[test]
    fn a_challenge_that_was_changed_or_made_elsewhere_is_none() {
        let (challenges, now) = (Challenges::default(), Timestamp::from_millis(1000));
        let elsewhere = Challenges::default().make(now).unwrap();
        assert!(!challenges.take(&elsewhere, now));
        let good = challenges.make(now).unwrap();
        for at in 0..32 {
            let mut bent = good;
            bent[at] ^= 1;
            assert!(!challenges.take(&bent, now), "byte {at}");
        }
        assert!(challenges.take(&good, now));
    }

    #[test]
    fn first_asker_is_not_crowded_out_by_silent_askers() {
        let (challenges, now) = (Challenges::default(), Timestamp::ZERO);
        let honest = challenges.make(now).unwrap();
        for _ in 0..10_000 {
            challenges.make(now).unwrap();
        }
        assert!(challenges.used.lock().unwrap().is_empty());
        assert!(challenges.take(&honest, now));
    }
}
