//! Notices when the wall clock is set. How long something has lasted can only be told by a clock that nobody can set;
//! points in time are needed all the same, in documents and between machines.

use std::time::Duration;

use tokio::time::Instant;

/// More than this between two looks is no drift and no slewing: somebody has set the clock, or the machine slept.
const SET: Duration = Duration::from_secs(2);

/// Compares the wall clock with one that only runs.
#[derive(Debug)]
pub struct Steps {
    last: (i64, Instant),
}

impl Steps {
    /// From now on, where the wall clock shows `wall` milliseconds.
    pub fn since(wall: i64) -> Self {
        Self { last: (wall, Instant::now()) }
    }

    /// By how many milliseconds the wall clock, which shows `wall`, was set since it was last looked at, if it was.
    pub fn look(&mut self, wall: i64) -> Option<i64> {
        let (before, then) = std::mem::replace(&mut self.last, (wall, Instant::now()));
        let passed = i64::try_from((self.last.1 - then).as_millis()).unwrap_or(i64::MAX);
        let step = wall.saturating_sub(before).saturating_sub(passed);
        (u128::from(step.unsigned_abs()) > SET.as_millis()).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_noticed_once_and_one_that_drifts_is_not() {
        let start = 1_000_000_000;
        let mut steps = Steps::since(start);
        tokio::time::advance(Duration::from_secs(60)).await;
        let minute = start + 60_500;
        assert_eq!(steps.look(minute), None, "it runs a little fast");
        assert_eq!(steps.look(minute + 3_600_000), Some(3_600_000));
        assert_eq!(steps.look(minute + 3_600_000), None);
        assert_eq!(steps.look(minute - 60_000), Some(-3_660_000));
        assert_eq!(steps.look(i64::MIN), Some(i64::MIN), "a clock may show anything");
    }
}
