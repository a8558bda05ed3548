//! The pace of a strategy: how many instances at once, and which of the two of a slot goes first.

use crate::manifest::defaults::{BATCH, MAX_SURGE, MAX_UNAVAILABLE};
use crate::units::Amount;

use super::rules::{OrderRule, Strategy};

/// The limits within which instances are replaced a few at a time, and the order of the two in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Instances that are replaced at once.
    pub(crate) batch: Amount,
    /// Instances beyond the replica count that may run meanwhile.
    pub(crate) max_surge: Amount,
    /// Instances below the replica count that may be missing meanwhile.
    pub(crate) max_unavailable: Amount,
    /// Which of the two instances of a slot goes first.
    pub(crate) order: OrderRule,
}

impl Pace {
    /// The pace of a rolling update of which nothing is said.
    const DEFAULT: Self =
        Self { batch: BATCH, max_surge: MAX_SURGE, max_unavailable: MAX_UNAVAILABLE, order: OrderRule::Auto };

    /// Whether an instance beyond the replica count may run.
    pub(crate) fn has_surge(self) -> bool {
        self.max_surge.of_up(100) > 0
    }
}

impl Strategy {
    /// The pace at which instances are replaced beside what the strategy does itself; none if all of them stop before the
    /// first one starts.
    pub(crate) const fn pace(&self) -> Option<Pace> {
        match self {
            Self::Recreate { .. } => None,
            Self::Rolling { batch, max_surge, max_unavailable, order, .. } => Some(Pace {
                batch: *batch,
                max_surge: *max_surge,
                max_unavailable: *max_unavailable,
                order: *order,
            }),
            Self::BlueGreen { .. } | Self::Canary { .. } => Some(Pace::DEFAULT),
            #[cfg(test)]
            Self::OneThenAll { .. } => Some(Pace::DEFAULT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Span;

    #[test]
    fn a_strategy_without_a_pace_of_its_own_has_the_default() {
        let (min_ready, keep_old) = (Span::ZERO, Span::ZERO);
        let rolling = |max_surge| Strategy::Rolling {
            batch: Amount::Percent(25),
            max_surge,
            max_unavailable: Amount::Count(0),
            order: OrderRule::Auto,
            min_ready,
        };
        let default = rolling(Amount::Percent(25)).pace();
        assert!(default.is_some_and(Pace::has_surge));
        let blue_green =
            Strategy::BlueGreen { steps: Vec::new(), watch: Span::ZERO, keep_old, approve: false, min_ready };
        assert_eq!(blue_green.pace(), default);
        let canary =
            Strategy::Canary { steps: Vec::new(), min_instances: 1, keep_old, keep_failed: None, min_ready };
        assert_eq!(canary.pace(), default);
        assert!(rolling(Amount::Count(0)).pace().is_some_and(|pace| !pace.has_surge()));
        assert_eq!(Strategy::Recreate { min_ready }.pace(), None);
    }
}
