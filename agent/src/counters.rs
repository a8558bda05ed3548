//! Refusals, counted and logged: an audit line for each, within bounds that a hostile peer cannot break.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use windlass_core::observation::{Refusal, RefusalCode};

/// So many lines per code; after that only every power of two.
const LOGGED: u64 = 20;

/// Refusals by rule since the agent started. Clones share the numbers.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    counts: Arc<Mutex<BTreeMap<RefusalCode, u64>>>,
    changed: Arc<Notify>,
}

impl Counters {
    /// Counts a refusal of `what` and writes its audit line.
    pub fn refused(&self, what: &'static str, subject: &str, refusal: &Refusal) {
        let count = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(refusal.code).or_default();
            *count = count.saturating_add(1);
            *count
        };
        self.changed.notify_one();
        if count <= LOGGED || count.is_power_of_two() {
            tracing::warn!(
                target: "windlass_agent::audit",
                code = refusal.code.as_str(),
                what,
                subject,
                detail = refusal.detail,
                count,
                "refused"
            );
        }
    }

    /// Waits for the next refusal, or for one since the last wait. For one reader.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The counts, by code.
    pub fn snapshot(&self) -> BTreeMap<RefusalCode, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_count() {
        let counters = Counters::default();
        let refusal = |code| Refusal { code, detail: String::new() };
        for _ in 0..100 {
            counters.refused("plan", "7", &refusal(RefusalCode::Stale));
        }
        counters.refused("plan", "8", &refusal(RefusalCode::Expired));
        let counts = counters.snapshot();
        assert_eq!((counts[&RefusalCode::Stale], counts[&RefusalCode::Expired]), (100, 1));
    }
}
