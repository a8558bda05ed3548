//! Exponential backoff with jitter: how long to wait before trying again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The delays between tries of one thing. Ask [`Backoff::next`] after a failure, [`Backoff::reset`] after
/// a success that lasted.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    ceiling: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `base`, doubles, and never exceeds `ceiling`.
    pub const fn new(base: Duration, ceiling: Duration) -> Self {
        Self { base, ceiling, failures: 0 }
    }

    /// The next delay. `random` is from `0.0..1.0` (see [`random`]); the delay lies between half and the whole
    /// of the nominal one, so that ten thousand agents do not come back in step and none comes back at once.
    pub fn next(&mut self, random: f64) -> Duration {
        let factor = 1_u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let nominal = self.base.saturating_mul(factor).min(self.ceiling);
        let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
        nominal.mul_f64(0.5 + random / 2.0).min(self.ceiling)
    }

    /// The number of failures since the last reset.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Begins again at the base.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A number from `0.0..1.0` for jitter. Not for secrets: it comes from the standard library's hash keys, which
/// saves a dependency.
pub fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    let top = u32::try_from(bits >> 32).unwrap_or(0);
    f64::from(top) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_ceiling_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let delays: Vec<_> = (0..6).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        for _ in 0..100 {
            assert!(backoff.next(1.0) <= Duration::from_secs(10));
        }
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(500));
    }

    #[test]
    fn odd_randomness_and_huge_bases_do_not_panic() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::from_secs(60));
        for random in [f64::NAN, f64::INFINITY, -1.0, 2.0] {
            assert!(backoff.next(random) <= Duration::from_secs(60));
        }
    }

    #[test]
    fn random_numbers_differ_and_stay_in_range() {
        let drawn: Vec<f64> = (0..64).map(|_| random()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        assert!(drawn.iter().any(|x| *x < 0.5) && drawn.iter().any(|x| *x >= 0.5));
    }
}
