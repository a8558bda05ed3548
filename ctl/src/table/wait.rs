//! What a rollout waits for, in words that stay the same while it waits: counters and times stand apart.

use std::time::Duration;

use windlass_core::Timestamp;
use windlass_core::time::display_duration;
use windlass_core::view::RolloutView;

use super::bytes;

/// One thing that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// What, without a number that moves.
    pub(crate) what: String,
    /// How much of a pull is there; none while the total is unknown.
    pulled: Option<(u64, u64)>,
    /// How long it lasts from now, if that is known.
    pub(crate) ends_after: Option<Duration>,
}

impl Wait {
    /// Reads what the coordinator says. What it has no numbers in stays as it is.
    pub(crate) fn read(text: &str, view: &RolloutView) -> Self {
        let plain = |what: &str| Self { what: what.to_owned(), pulled: None, ends_after: None };
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
            // By the coordinator's clock: ours may be wrong.
            let taken = i64::try_from(view.duration_ms).unwrap_or(i64::MAX);
            let now = Timestamp::from_millis(view.created_at.as_millis().saturating_add(taken));
            return Self { ends_after: Some(until.since(now)), ..plain(what) };
        }
        plain(text)
    }

    /// In words, so long after it was read.
    pub(crate) fn text(&self, after: Duration) -> String {
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
