//! A coordinator that is away while a command follows something. Pure: the time in, lines out.

use std::time::Duration;

use tokio::time::Instant;
use windlass_core::time::display_duration;

/// A line is said again after so long.
pub(crate) const AGAIN: Duration = Duration::from_secs(30);

/// Since when the coordinator is away, and when that was said last; none while it answers.
#[derive(Debug, Default)]
pub(crate) struct Away(Option<(Instant, Instant)>);

impl Away {
    /// The line for a call that failed, which ends with `tail`; none if the last one was said a moment ago.
    pub(crate) fn failed(&mut self, why: &str, tail: &str, now: Instant) -> Option<String> {
        match &mut self.0 {
            None => {
                self.0 = Some((now, now));
                Some(format!("lost the coordinator ({why}); {tail}"))
            }
            Some((since, said)) if now.duration_since(*said) >= AGAIN => {
                *said = now;
                let away = Duration::from_secs(now.duration_since(*since).as_secs());
                Some(format!("no coordinator for {} ({why}); {tail}", display_duration(away)))
            }
            Some(_) => None,
        }
    }

    /// Notes that it answers. Returns whether it was away.
    pub(crate) fn is_back(&mut self) -> bool {
        self.0.take().is_some()
    }

    pub(crate) const fn is_away(&self) -> bool {
        self.0.is_some()
    }
}

/// The end of the line while `what` may go on without the coordinator.
pub(crate) fn until(what: &str, timeout: Duration) -> String {
    format!("{what} where the hosts are; trying again until --timeout ({})", display_duration(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_that_stays_away_is_said_every_half_minute() {
        let (mut away, start) = (Away::default(), Instant::now());
        let tail = until("the rollout may go on", Duration::from_secs(600));
        assert_eq!(tail, "the rollout may go on where the hosts are; trying again until --timeout (10m)");
        let mut at = |seconds: u64| away.failed("refused", &tail, start + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(format!("lost the coordinator (refused); {tail}")));
        assert_eq!((at(3), at(29)), (None, None));
        assert_eq!(at(30), Some(format!("no coordinator for 30s (refused); {tail}")));
        assert_eq!(at(59), None);
        assert_eq!(at(61), Some(format!("no coordinator for 1m1s (refused); {tail}")));
        assert!(away.is_back() && !away.is_back() && !away.is_away());
    }
}
