//! An instance that a host runs by itself, in the place of one that failed there.

use crate::digest::Digest;
use crate::plan::Phase;

use super::{SlotFacts, has_failed, is_healthy};

impl SlotFacts<'_> {
    /// The fallback, if its host runs that in the place of what the intent would have run and what failed there. The intent has no
    /// place for it: what stops it has to give it one first, see [`crate::slot::Transition::Restored`].
    pub(crate) fn restored(&self) -> Option<Digest> {
        let seen = self.word().ok()??;
        let fallback = self.intent.fallback.filter(|_| !self.intent.good)?;
        let runs = |release: &Digest| {
            seen.instances.iter().any(|seen| &seen.release == release && seen.state.is_running())
        };
        let before = self.intent.other.filter(|(_, run)| run.runs());
        let has_before = before.is_some_and(|(before, _)| runs(&before));
        let has_failed = match self.intent.run {
            Phase::Running | Phase::Draining => has_failed(seen, &self.intent.release),
            Phase::Pulled => before.is_some(),
            Phase::Standby | Phase::Absent => false,
        };
        let serves = seen.instances.iter().any(|seen| seen.release == fallback && is_healthy(seen));
        (serves && has_failed && !has_before && !self.intent.has_run(&fallback)).then_some(fallback)
    }
}
