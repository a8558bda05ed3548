//! The last word about a slot, under whichever plan, and what follows from it.

use super::super::intent::Intent;
use super::seen::{Reach, Seen};
use super::{SlotFacts, has_failed, is_healthy};
use crate::digest::Digest;
use crate::observation::{Instance, SlotObservation};
use crate::plan::{Order, Phase};

impl<'a> SlotFacts<'a> {
    /// Whether an instance of it serves now, as far as is known, whatever becomes of it.
    pub(crate) fn serves_now(&self) -> bool {
        let heard = !self.is_lost && !self.engine_down;
        heard && self.last.is_some_and(|seen| seen.instances.iter().any(is_healthy))
    }

    /// The last observation of it on the stream that stands, under whichever plan.
    pub(crate) const fn last(&self) -> Option<&'a SlotObservation> {
        self.last
    }

    /// The observation of it, if its host is heard of now and its engine answers.
    pub(crate) fn heard(&self) -> Option<&'a SlotObservation> {
        let heard = matches!(self.reach, Reach::Confirmed | Reach::Unconfirmed | Reach::ReadOnly);
        self.last.filter(|_| heard && self.engine_answers)
    }

    /// Whether `release` ran in it when it was last heard of, under whichever plan.
    pub(crate) fn last_ran(&self, release: &Digest) -> bool {
        let running = |i: &Instance| &i.release == release && i.state.is_running();
        self.last.is_some_and(|seen| seen.instances.iter().any(running))
    }

    /// Whether `release` was healthy in it when it was last heard of, under whichever plan.
    pub(crate) fn was_healthy(&self, release: &Digest) -> bool {
        let healthy = |i: &Instance| &i.release == release && is_healthy(i);
        self.last.is_some_and(|seen| seen.instances.iter().any(healthy))
    }

    /// Whether its target had failed there when it was last heard of, under whichever plan.
    pub(crate) fn had_failed(&self) -> bool {
        self.last.is_some_and(|seen| has_failed(seen, &self.intent.release))
    }

    /// How many instances of `release` from before the restart `generation`, and how many since, ran in it when it was last heard
    /// of, under whichever plan.
    pub(crate) fn last_ran_of(&self, release: &Digest, generation: u64) -> (usize, usize) {
        let seen = self.last.into_iter().flat_map(|seen| &seen.instances);
        let runs = seen.filter(|i| &i.release == release && i.state.is_running());
        let (older, newer): (Vec<_>, Vec<_>) = runs.partition(|i| i.generation < generation);
        (older.len(), newer.len())
    }

    /// The release whose instance serves in it now, as far as intent and word say: what stays beside a new target.
    pub(crate) fn incumbent(&self) -> Option<Digest> {
        let Intent { release, run, order, good, fallback, other, .. } = self.intent;
        let before = other.map(|(release, _)| release);
        let before_runs = other.is_some_and(|(_, run)| run == Phase::Running);
        match run {
            Phase::Pulled => self.restored().or(before),
            Phase::Standby | Phase::Absent => None,
            Phase::Running | Phase::Draining => match self.target() {
                Seen::Failed(_) => fallback.or(before),
                Seen::Nothing(_) if self.had_failed() => fallback.or(before),
                // Nothing was started; what ran, runs.
                Seen::Refused(_) if !self.last_ran(&release) && !good => before.or(fallback),
                Seen::Converging(_) | Seen::Nothing(_) if before_runs => before,
                // It was to stop first, and has not, and the new one serves nothing yet. A word about an older plan does not
                // tell: the new one may serve by now, and would be stopped.
                Seen::Converging(_)
                    if order == Order::StopFirst
                        && before.is_some_and(|before| self.last_ran(&before))
                        && !self.was_healthy(&release) =>
                {
                    before
                }
                Seen::Converging(_) | Seen::Nothing(_) | Seen::Available | Seen::Refused(_) => Some(release),
            },
        }
    }
}
