//! The budget of one decision: how many slots may be on their way, have two instances, or be down. The only place that counts
//! them.

use std::collections::BTreeSet;

use crate::id::SlotId;
use crate::release::{Pace, Strategy};
use crate::units::Amount;

use super::facts::{Certainty, SlotFacts};
use super::waiting::Waiting;

/// The number of slots that may be in each state at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Begun and not available yet.
    pub(crate) batch: u32,
    /// With two instances that run.
    pub(crate) surge: u32,
    /// Without an instance that serves.
    pub(crate) unavailable: u32,
    /// `unavailable` was raised from 0 to 1: else a slot that cannot start its new instance first would never be updated.
    pub(crate) is_raised: bool,
}

impl Limits {
    /// No limit.
    pub(crate) const NONE: Self =
        Self { batch: u32::MAX, surge: u32::MAX, unavailable: u32::MAX, is_raised: false };

    /// Of a rollout over `total` slots, of which `available` have proven the new release. `hurries` (a person rolls back)
    /// lifts the limits of batch and surge.
    pub(crate) fn of(strategy: &Strategy, hurries: bool, total: u32, available: u32) -> Self {
        let Some(Pace { batch, max_surge, max_unavailable, .. }) = strategy.pace() else { return Self::NONE };
        let said = max_unavailable.of_down(total);
        let (unavailable, is_raised) = (said.max(1), said == 0);
        if hurries {
            return Self { unavailable, is_raised, ..Self::NONE };
        }
        // The first batch is one instance, unless a person counted the batch out.
        let first = matches!(batch, Amount::Percent(_)) && available == 0;
        Self {
            batch: if first { 1 } else { batch.of_up(total).max(1) },
            surge: max_surge.of_up(total),
            unavailable,
            is_raised,
        }
    }

    /// The slots of `total` that serve while the limits are kept to; at least one, unless the release says how many may be
    /// missing.
    pub(crate) fn minimum(&self, total: u32) -> u32 {
        total.saturating_sub(self.unavailable).max(u32::from(self.is_raised && total > 0))
    }
}

/// The cost of one transition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The slot is on its way until its target is available.
    pub(crate) begins: bool,
    /// Two instances run in it.
    pub(crate) adds_instance: bool,
    /// An instance stops, so that the slot is down until another one serves.
    pub(crate) stops: bool,
    /// An instance of it may serve.
    pub(crate) may_serve: bool,
}

impl Cost {
    /// Of stopping everything in a slot.
    pub(crate) fn stop(facts: &SlotFacts<'_>) -> Self {
        Self { stops: true, may_serve: facts.serving() != Certainty::No, ..Self::default() }
    }
}

/// The limits, and what counts against them so far.
#[derive(Debug, Clone)]
pub(crate) struct DisruptionBudget {
    limits: Limits,
    begun: u32,
    surging: u32,
    /// Slots that serve nothing, or may not.
    down: BTreeSet<SlotId>,
    /// Instances that the service lacks, and that have no slot.
    missing: u32,
}

impl DisruptionBudget {
    /// Nothing counts yet.
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, begun: 0, surging: 0, down: BTreeSet::new(), missing: 0 }
    }

    /// Sets the limits.
    pub(crate) const fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// At most `most` slots down, and every slot in `facts` that is not known to go on serving is down already.
    pub(crate) fn of_down<'f>(most: u32, facts: impl IntoIterator<Item = SlotFacts<'f>>) -> Self {
        let mut budget = Self::new(Limits { unavailable: most, ..Limits::NONE });
        facts
            .into_iter()
            .filter(|facts| facts.serving() != Certainty::Yes)
            .for_each(|facts| budget.is_down(&facts));
        budget
    }

    /// The slot is down.
    pub(crate) fn is_down(&mut self, facts: &SlotFacts<'_>) {
        self.down.insert(facts.id().clone());
    }

    /// The slot is on its way.
    pub(crate) const fn is_begun(&mut self) {
        self.begun += 1;
    }

    /// Two instances of a slot run, or may.
    pub(crate) const fn is_surging(&mut self) {
        self.surging += 1;
    }

    /// So many instances have no slot.
    pub(crate) const fn lacks(&mut self, instances: u32) {
        self.missing = instances;
    }

    /// The slots that are on their way.
    pub(crate) const fn begun(&self) -> u32 {
        self.begun
    }

    /// The slots with two instances that run, or may.
    pub(crate) const fn surging(&self) -> u32 {
        self.surging
    }

    /// The instances that do not serve, or may not.
    pub(crate) fn unavailable(&self) -> u32 {
        u32::try_from(self.down.len()).unwrap_or(u32::MAX).saturating_add(self.missing)
    }

    /// Whether one more slot may be on its way.
    pub(crate) const fn has_batch(&self) -> bool {
        self.begun < self.limits.batch
    }

    /// Whether one more slot may have two instances.
    pub(crate) const fn has_surge(&self) -> bool {
        self.surging < self.limits.surge
    }

    /// Whether `cost` for the slot is within the limits.
    ///
    /// # Errors
    /// It takes more than there is: others have to serve first.
    pub(crate) fn fits(&self, facts: &SlotFacts<'_>, cost: Cost) -> Result<(), Waiting> {
        let itself = u32::from(self.down.contains(facts.id()));
        let takes = cost.stops && cost.may_serve;
        let stops = !takes || self.unavailable() - itself < self.limits.unavailable;
        if stops && (!cost.begins || self.has_batch()) && (!cost.adds_instance || self.has_surge()) {
            return Ok(());
        }
        Err(Waiting::Others { host: facts.host().clone(), slot: facts.id().clone() })
    }

    /// Takes `cost` for the slot.
    pub(crate) fn take(&mut self, facts: &SlotFacts<'_>, cost: Cost) {
        self.begun += u32::from(cost.begins);
        self.surging += u32::from(cost.adds_instance);
        if cost.stops {
            self.is_down(facts);
        }
    }

    /// Takes `cost` for the slot if it is within the limits.
    ///
    /// # Errors
    /// As [`Self::fits`].
    pub(crate) fn admit(&mut self, facts: &SlotFacts<'_>, cost: Cost) -> Result<(), Waiting> {
        self.fits(facts, cost)?;
        self.take(facts, cost);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::OrderRule;
    use crate::units::Span;

    #[test]
    fn arithmetic() {
        use Amount::{Count as N, Percent as P};
        const ANY: u32 = u32::MAX;
        #[rustfmt::skip]
        let table = [
            ("the first of a share is one",       (P(25), P(25), N(0)), false, (10, 0), (1, 3, 1)),
            ("then a share, rounded up",          (P(25), P(25), N(0)), false, (10, 1), (3, 3, 1)),
            ("a count is not cut",                (N(3), P(25), N(0)), false, (10, 0), (3, 3, 1)),
            ("a share of one slot is one",        (P(1), P(1), P(99)), false, (1, 1), (1, 1, 1)),
            ("unavailable is rounded down",       (P(50), P(10), P(25)), false, (7, 2), (4, 1, 1)),
            ("and may be more than one",          (P(50), N(0), P(50)), false, (7, 2), (4, 0, 3)),
            ("a count stays a count",             (N(9), N(9), N(9)), false, (3, 0), (9, 9, 9)),
            ("a batch of none is one",            (N(0), N(0), N(0)), false, (5, 3), (1, 0, 1)),
            ("no slots, no division",             (P(25), P(25), P(25)), false, (0, 0), (1, 0, 1)),
            ("a rollback has no batches",         (P(25), P(25), N(0)), true, (10, 0), (ANY, ANY, 1)),
            ("and keeps to what may be missing",  (P(25), N(0), N(4)), true, (10, 0), (ANY, ANY, 4)),
        ];
        for (case, (batch, max_surge, max_unavailable), hurries, (total, available), want) in table {
            let (order, min_ready) = (OrderRule::Auto, Span::ZERO);
            let strategy = Strategy::Rolling { batch, max_surge, max_unavailable, order, min_ready };
            let limits = Limits::of(&strategy, hurries, total, available);
            assert_eq!((limits.batch, limits.surge, limits.unavailable), want, "{case}");
        }
        let recreate = Strategy::Recreate { min_ready: Span::ZERO };
        let limits = Limits::of(&recreate, false, 4, 0);
        assert_eq!((limits.batch, limits.surge, limits.unavailable), (ANY, ANY, ANY));
        assert_eq!(limits.minimum(4), 0);
    }

    #[test]
    fn minimum_is_what_may_not_be_missing() {
        use Amount::{Count as N, Percent as P};
        #[rustfmt::skip]
        let table = [
            ("none may be missing: one at a time", N(0), 4, 3),
            ("but never the only one",             N(0), 1, 1),
            ("a share, rounded down",              P(25), 10, 8),
            ("all may be missing",                 P(100), 3, 0),
            ("no slots",                           N(0), 0, 0),
        ];
        for (case, max_unavailable, total, want) in table {
            let (batch, order, min_ready) = (P(25), OrderRule::Auto, Span::ZERO);
            let strategy = Strategy::Rolling { batch, max_surge: P(25), max_unavailable, order, min_ready };
            assert_eq!(Limits::of(&strategy, false, total, 0).minimum(total), want, "{case}");
        }
    }
}
