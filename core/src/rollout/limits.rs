//! How many slots may be on their way at once.

use crate::release::Strategy;
use crate::units::Amount;

use super::{Allowed, Kind};

/// How many slots may be on their way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Begun and not available yet.
    pub(super) batch: u32,
    /// With two instances that run.
    pub(super) surge: u32,
    /// Without an instance that serves.
    pub(super) unavailable: u32,
}

impl Limits {
    /// As decisions show them.
    pub(super) fn shown(&self) -> Allowed {
        let bound = |count: u32| Some(count).filter(|count| *count != u32::MAX);
        Allowed { batch: bound(self.batch), surge: bound(self.surge), unavailable: bound(self.unavailable) }
    }

    /// For a rollout over `total` slots, of which `available` have proven the new release.
    pub(super) fn of(strategy: &Strategy, kind: Kind, total: u32, available: u32) -> Self {
        let all = Self { batch: u32::MAX, surge: u32::MAX, unavailable: u32::MAX };
        let (batch, max_surge, max_unavailable) = match *strategy {
            Strategy::Recreate { .. } => return all,
            Strategy::Rolling { batch, max_surge, max_unavailable, .. } => {
                (batch, max_surge, max_unavailable)
            }
        };
        // Stop-first where nothing else fits counts as allowed: at least one at a time.
        let unavailable = max_unavailable.of_down(total).max(1);
        if kind == Kind::Rollback {
            return Self { unavailable, ..all };
        }
        // The first batch is one instance, unless a person counted the batch out.
        let first = matches!(batch, Amount::Percent(_)) && available == 0;
        Self {
            batch: if first { 1 } else { batch.of_up(total).max(1) },
            surge: max_surge.of_up(total),
            unavailable,
        }
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
            ("the first of a share is one",       (P(25), P(25), N(0)), Kind::Deploy, (10, 0), (1, 3, 1)),
            ("then a share, rounded up",          (P(25), P(25), N(0)), Kind::Deploy, (10, 1), (3, 3, 1)),
            ("a count is not cut",                (N(3), P(25), N(0)), Kind::Deploy, (10, 0), (3, 3, 1)),
            ("a share of one slot is one",        (P(1), P(1), P(99)), Kind::Deploy, (1, 1), (1, 1, 1)),
            ("unavailable is rounded down",       (P(50), P(10), P(25)), Kind::Deploy, (7, 2), (4, 1, 1)),
            ("and may be more than one",          (P(50), N(0), P(50)), Kind::Deploy, (7, 2), (4, 0, 3)),
            ("a count stays a count",             (N(9), N(9), N(9)), Kind::Deploy, (3, 0), (9, 9, 9)),
            ("a batch of none is one",            (N(0), N(0), N(0)), Kind::Deploy, (5, 3), (1, 0, 1)),
            ("no slots, no division",             (P(25), P(25), P(25)), Kind::Deploy, (0, 0), (1, 0, 1)),
            ("a rollback has no batches",         (P(25), P(25), N(0)), Kind::Rollback, (10, 0), (ANY, ANY, 1)),
            ("and keeps to what may be missing",  (P(25), N(0), N(4)), Kind::Rollback, (10, 0), (ANY, ANY, 4)),
        ];
        for (case, (batch, max_surge, max_unavailable), kind, (total, available), want) in table {
            let (order, min_ready) = (OrderRule::Auto, Span::ZERO);
            let strategy = Strategy::Rolling { batch, max_surge, max_unavailable, order, min_ready };
            let limits = Limits::of(&strategy, kind, total, available);
            assert_eq!((limits.batch, limits.surge, limits.unavailable), want, "{case}");
        }
        let recreate = Strategy::Recreate { min_ready: Span::ZERO };
        let limits = Limits::of(&recreate, Kind::Deploy, 4, 0);
        assert_eq!((limits.batch, limits.surge, limits.unavailable), (ANY, ANY, ANY));
    }
}
