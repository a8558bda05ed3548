//! The moments of probes that go on for days: those of many instances are asked one after the other, not each at a moment of its own,
//! for which the process would wake up each time.

use std::time::Duration;

use tokio::time::Instant;
use windlass_core::Timestamp;

/// Probes that are asked more often keep their own moments.
const LEAST: Duration = Duration::from_secs(2);

/// The moment near `due` at which a probe of this interval is asked together with others: a multiple of a fifth of the interval by
/// the clock of the host, which shows `now` at the instant `at`. At most a tenth of the interval away, once: `due` plus the
/// interval is such a moment again.
pub(super) fn together(due: Instant, every: Duration, at: Instant, now: Timestamp) -> Instant {
    if every < LEAST {
        return due;
    }
    let grid = every / 5;
    let shown = (now + due.saturating_duration_since(at)).since(Timestamp::ZERO);
    let over = Duration::from_nanos_u128(shown.as_nanos() % grid.as_nanos());
    let moment = if over * 2 <= grid { due.checked_sub(over).unwrap_or(due) } else { due + (grid - over) };
    moment.max(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    fn shown(at: i64) -> Timestamp {
        Timestamp::from_millis(at)
    }

    #[tokio::test(start_paused = true)]
    async fn probes_of_one_interval_meet_and_stay_together() {
        let at = Instant::now();
        let due = |after| at + Duration::from_millis(after);
        let together = |after, now| together(due(after), EVERY, at, shown(now)).duration_since(at);
        assert_eq!(together(5_000, 10_400), Duration::from_millis(4_600), "15.4 s by the clock becomes 15 s");
        assert_eq!(together(5_000, 10_600), Duration::from_millis(5_400), "15.6 s becomes 16 s");
        // A clock that is read a moment too late or too soon moves it by that moment only.
        assert_eq!(together(4_999, 10_000), Duration::from_millis(5_000));
        assert_eq!(together(5_001, 10_000), Duration::from_millis(5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frequent_or_late_probe_is_not_moved_back() {
        let at = Instant::now();
        let due = at + Duration::from_millis(100);
        assert_eq!(together(due, Duration::from_secs(1), at, shown(10_333)), due);
        assert_eq!(together(due, EVERY, at, shown(10_000)), at, "not before now");
    }
}
