//! The slots that go back when a release is left, and those that stay.

use crate::id::SlotId;
use crate::plan::Phase;
use crate::slot::{Seen, Transition, Waiting};

use super::super::model::RollbackMode;
use super::super::planner::Planner;

/// The fate of a slot of the release that is left.
pub(super) enum Fate {
    /// It goes back.
    Back,
    /// It stays: only what failed goes back.
    Stays,
    /// Whether it failed is not known yet.
    Open(Waiting),
}

/// Decides the fate of a slot.
pub(super) fn fate(planner: &mut Planner<'_>, slot: &SlotId, how: RollbackMode, late: bool) -> Fate {
    let facts = planner.facts(slot);
    if how != RollbackMode::OnlyFailed || facts.intent.run != Phase::Running {
        return Fate::Back;
    }
    match facts.target() {
        Seen::Available => Fate::Stays,
        Seen::Failed(_) | Seen::Refused(_) => Fate::Back,
        Seen::Nothing(_) if facts.is_lost() => Fate::Stays,
        Seen::Nothing(_) | Seen::Converging(_) if late => Fate::Back,
        Seen::Nothing(waiting) => Fate::Open(waiting),
        Seen::Converging(_) => {
            Fate::Open(Waiting::Healthy { host: facts.host().clone(), slot: slot.clone() })
        }
    }
}

/// The old instance of a slot that stays has done its work, as in any rollout.
pub(super) fn keep(planner: &mut Planner<'_>, slot: &SlotId) {
    if !planner.facts(slot).is_lost() {
        planner.apply(slot, &Transition::Rest { until: None });
    }
}
