//! The waits of a rollout, in words that stay the same while it waits: counters and times stand apart.

use std::time::Duration;

use windlass_core::Timestamp;
use windlass_core::time::display_duration;
use windlass_core::view::RolloutView;

use super::bytes;

/// One thing that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The wait, without a number that moves.
    pub(crate) what: String,
    /// The bytes of a pull, and its total; none while that is unknown.
    pulled: Option<(u64, u64)>,
    /// The time that is left, if that is known.
    pub(crate) ends_after: Option<Duration>,
    /// The reason, with times that move.
    because: Option<Because>,
}

/// `HTTP 404, 9s; rolls back in 21s`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Because {
    place: String,
    answer: String,
    lasted: Option<Duration>,
    then: Option<(String, Duration)>,
}

impl Because {
    /// Reads `place (answer since TIME; what follows at TIME)`.
    fn read(text: &str, now: Timestamp) -> Option<Self> {
        let (place, inner) = text.split_once(" (")?;
        let inner = inner.strip_suffix(')')?;
        let until = |text: &str| {
            let (what, at) = text.rsplit_once(" at ")?;
            Some((what.to_owned(), at.parse::<Timestamp>().ok()?.since(now)))
        };
        let (rest, then) = match inner.rsplit_once("; ").map(|(rest, last)| (rest, until(last))) {
            Some((rest, Some(then))) => (rest, Some(then)),
            Some((_, None)) | None => (inner, None),
        };
        let since = rest.rsplit_once(" since ").and_then(|(answer, at)| Some((answer, at.parse().ok()?)));
        let (answer, lasted) = match since {
            Some((answer, at)) => (answer, Some(now.since(at))),
            None => (rest, None),
        };
        let found = lasted.is_some() || then.is_some();
        found.then(|| Self { place: place.to_owned(), answer: answer.to_owned(), lasted, then })
    }

    fn text(&self, after: Duration) -> String {
        let whole = |span: Duration| display_duration(Duration::from_secs(span.as_secs()));
        let mut text = format!("{} ({}", self.place, super::printable(&self.answer));
        if let Some(lasted) = self.lasted {
            text.push_str(&format!(", {}", whole(lasted + after)));
        }
        if let Some((then, left)) = &self.then {
            text.push_str(&format!("; {then} in {}", whole(left.saturating_sub(after))));
        }
        text + ")"
    }
}

impl Wait {
    /// Reads what the coordinator says. What it has no numbers in stays as it is.
    pub(crate) fn read(text: &str, view: &RolloutView) -> Self {
        let plain =
            |what: &str| Self { what: what.to_owned(), pulled: None, ends_after: None, because: None };
        // By the coordinator's clock: ours may be wrong.
        let taken = i64::try_from(view.duration_ms).unwrap_or(i64::MAX);
        let now = Timestamp::from_millis(view.created_at.as_millis().saturating_add(taken));
        if let Some(because) = Because::read(text, now) {
            let what = format!("{} ({})", because.place, because.answer);
            return Self { because: Some(because), ..plain(&what) };
        }
        if let Some((what, counts)) = text.split_once(" (")
            && let Some(counts) = counts.strip_suffix(" bytes)")
        {
            let counts = counts.split_once(" of ");
            let pulled = counts.and_then(|(done, total)| Some((done.parse().ok()?, total.parse().ok()?)));
            return Self { pulled: pulled.filter(|(_, total)| *total > 0), ..plain(what) };
        }
        if let Some((what, until)) = text.rsplit_once(" at ")
            && let Ok(until) = until.parse::<Timestamp>()
        {
            return Self { ends_after: Some(until.since(now)), ..plain(what) };
        }
        plain(text)
    }

    /// In words, so long after it was read.
    pub(crate) fn text(&self, after: Duration) -> String {
        if let Some(because) = &self.because {
            return because.text(after);
        }
        let mut text = self.what.clone();
        if let Some((done, total)) = self.pulled {
            text.push_str(&format!(" ({} of {})", bytes(done), bytes(total)));
        }
        if let Some(left) = self.ends_after {
            // Up, so that `1s` stands until it is over.
            let seconds = left.saturating_sub(after).as_millis().div_ceil(1000);
            let left = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
            text.push_str(&format!(", {} to go", display_duration(left)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::rollout_view;

    #[test]
    fn why_it_is_not_ready_stays_and_the_times_move() {
        let mut view = rollout_view("advancing");
        (view.created_at, view.duration_ms) = (Timestamp::from_millis(0), 19_000);
        let text = "slot 0 on web-1, not ready (HTTP 404 since 1970-01-01T00:00:10.000Z; rolls back at \
                    1970-01-01T00:00:40.000Z)";
        let wait = Wait::read(text, &view);
        assert_eq!(wait.what, "slot 0 on web-1, not ready (HTTP 404)");
        assert_eq!(wait.text(Duration::ZERO), "slot 0 on web-1, not ready (HTTP 404, 9s; rolls back in 21s)");
        let later = wait.text(Duration::from_secs(5));
        assert_eq!(later, "slot 0 on web-1, not ready (HTTP 404, 14s; rolls back in 16s)");
        let asked = "slot 0 on web-1, not ready (readiness GET http://10.0.0.5:20000/health → HTTP 503 since \
                     1970-01-01T00:00:10.000Z; rolls back at 1970-01-01T00:00:40.000Z)";
        let wait = Wait::read(asked, &view);
        let words = "slot 0 on web-1, not ready (readiness GET http://10.0.0.5:20000/health → HTTP 503";
        assert_eq!(wait.what, format!("{words})"));
        assert_eq!(wait.text(Duration::ZERO), format!("{words}, 9s; rolls back in 21s)"));
        let plain = "a host that takes one more (web-1: no room)";
        assert_eq!(Wait::read(plain, &view).text(Duration::ZERO), plain);
        let pull = "host web-1 to pull the image (connection refused; again at 1970-01-01T00:00:24.000Z)";
        let text = Wait::read(pull, &view).text(Duration::ZERO);
        assert_eq!(text, "host web-1 to pull the image (connection refused; again in 5s)");
    }
}
