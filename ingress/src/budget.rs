//! A budget of further tries of an ingress, so that a sick service is not flooded by retries.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// A tenth of the requests and three a second, at most a hundred saved up. Kept in thousandths of a try.
#[derive(Debug)]
pub(crate) struct RetryBudget(AtomicI64);

const TRY: i64 = 1000;
const PER_REQUEST: i64 = TRY / 10;
const PER_SECOND: i64 = 3 * TRY;
const MOST: i64 = 100 * TRY;

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicI64::new(10 * TRY))
    }
}

impl RetryBudget {
    /// A request came.
    pub(crate) fn request(&self) {
        if self.0.load(Relaxed) < MOST {
            self.0.fetch_add(PER_REQUEST, Relaxed);
        }
    }

    /// A second passed.
    pub(crate) fn second(&self) {
        if self.0.load(Relaxed) < MOST {
            self.0.fetch_add(PER_SECOND, Relaxed);
        }
    }

    /// Takes one try; answers with false if there is none left.
    pub(crate) fn take(&self) -> bool {
        let left = self.0.fetch_sub(TRY, Relaxed) - TRY;
        if left < 0 {
            self.0.fetch_add(TRY, Relaxed);
        }
        left >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_budget_is_a_tenth_plus_three_a_second() {
        let budget = RetryBudget(AtomicI64::new(0));
        assert!(!budget.take());
        (0..20).for_each(|_| budget.request());
        assert!(budget.take() && budget.take() && !budget.take());
        budget.second();
        assert_eq!((0..10).filter(|_| budget.take()).count(), 3);
        (0..1000).for_each(|_| budget.second());
        assert!((0..1000).filter(|_| budget.take()).count() <= 103);
    }
}
