//! The one place that reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use windlass_core::Timestamp;

/// More than this within one look is no drift and no slewing: somebody has set the clock, or the machine slept.
const SET: Duration = Duration::from_secs(1);

/// Now, by the host's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Notices when the wall clock is set, by a clock that nobody can set.
#[derive(Debug)]
pub struct Steps {
    last: (Timestamp, Instant),
}

impl Steps {
    /// From `now` on.
    pub fn since(now: Timestamp) -> Self {
        Self { last: (now, Instant::now()) }
    }

    /// By how many milliseconds the wall clock, which shows `now`, was set since it was last looked at, if it was.
    pub fn look(&mut self, now: Timestamp) -> Option<i64> {
        let (before, then) = std::mem::replace(&mut self.last, (now, Instant::now()));
        let expected = before + (self.last.1 - then);
        let step = now.as_millis().saturating_sub(expected.as_millis());
        (step.unsigned_abs() > u64::try_from(SET.as_millis()).unwrap_or(u64::MAX)).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_noticed_once_and_one_that_drifts_is_not() {
        let start = Timestamp::from_millis(1_000_000_000);
        let mut steps = Steps::since(start);
        tokio::time::advance(Duration::from_secs(60)).await;
        let minute = start + Duration::from_millis(60_500);
        assert_eq!(steps.look(minute), None, "it runs a little fast");
        assert_eq!(steps.look(minute + Duration::from_secs(3600)), Some(3_600_000));
        assert_eq!(steps.look(minute + Duration::from_secs(3600)), None);
        assert_eq!(steps.look(minute - Duration::from_secs(60)), Some(-3_660_000));
    }
}
