//! Notices when the wall clock is set. How long something has lasted can only be told by a clock that nobody can set;
//! points in time are needed all the same, in documents and between machines.

use std::time::Duration;

/// More than this between two looks is no drift and no slewing: somebody has set the clock, or the machine slept.
const SET: Duration = Duration::from_secs(2);

/// Compares the wall clock with one that only runs.
#[derive(Debug)]
pub struct Steps {
    last: (i64, Duration),
}

impl Steps {
    /// From now on, where the wall clock shows `wall` milliseconds, and the other one `steady`.
    pub const fn since(wall: i64, steady: Duration) -> Self {
        Self { last: (wall, steady) }
    }

    /// By how many milliseconds the wall clock, which shows `wall`, was set since it was last looked at, if it was.
    pub fn look(&mut self, wall: i64, steady: Duration) -> Option<i64> {
        let (before, then) = std::mem::replace(&mut self.last, (wall, steady));
        let passed = i64::try_from(steady.saturating_sub(then).as_millis()).unwrap_or(i64::MAX);
        let step = wall.saturating_sub(before).saturating_sub(passed);
        (u128::from(step.unsigned_abs()) > SET.as_millis()).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_step_is_noticed_once_and_drift_is_not() {
        let start = 1_000_000_000;
        let mut steps = Steps::since(start, Duration::ZERO);
        let (minute, later) = (start + 60_500, Duration::from_secs(60));
        assert_eq!(steps.look(minute, later), None, "it runs a little fast");
        assert_eq!(steps.look(minute + 3_600_000, later), Some(3_600_000));
        assert_eq!(steps.look(minute + 3_600_000, later), None);
        assert_eq!(steps.look(minute - 60_000, later), Some(-3_660_000));
        assert_eq!(steps.look(i64::MIN, later), Some(i64::MIN), "a clock may show anything");
    }
}
