//! Nonces for renewals with an expired certificate: each is good once, for a minute.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use windlass_certs::random;
use windlass_core::Timestamp;

const LIFETIME: Duration = Duration::from_secs(60);
/// More than that at once is a flood; the oldest go.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Challenges(Mutex<BTreeMap<[u8; 32], Timestamp>>);

impl Challenges {
    /// A new one; `None` if the system has no randomness.
    pub(super) fn make(&self, now: Timestamp) -> Option<[u8; 32]> {
        let challenge: [u8; 32] = random::bytes().ok()?;
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST {
            open.retain(|_, expires| *expires > now);
        }
        if open.len() >= MOST {
            let oldest = open.iter().min_by_key(|(_, expires)| **expires).map(|(challenge, _)| *challenge);
            open.remove(&oldest?);
        }
        open.insert(challenge, now + LIFETIME);
        Some(challenge)
    }

    /// Uses one up. Was it one of ours, and in time?
    pub(super) fn take(&self, challenge: &[u8; 32], now: Timestamp) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(challenge).is_some_and(|expires| now < expires)
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
        assert!(!challenges.take(&[0; 32], now));
    }

    #[test]
    fn a_flood_is_bounded() {
        let (challenges, now) = (Challenges::default(), Timestamp::ZERO);
        for _ in 0..MOST + 10 {
            challenges.make(now).unwrap();
        }
        assert_eq!(challenges.0.lock().unwrap().len(), MOST);
    }
}
