//! The state of a slot, as its agent reports it.

use crate::digest::Digest;
use crate::observation::{Clock, Evidence, SlotStatus};
use crate::plan::{Phase, PlanSlot};

use super::super::Turn;
use super::super::asks::standing;
use super::super::container::Container;
use super::super::disposition::{Disposition, SlotContext};
use super::super::memory::PullTrouble;

/// The failure to report, if the planned release failed here.
pub(super) fn standing_failure(turn: &Turn<'_>, want: &PlanSlot, seen: &[&Container]) -> Option<SlotStatus> {
    let failed = turn.memory.slots.get(&want.slot)?.failed.as_ref().filter(|failed| failed.complete)?;
    if failed.restart.is_some_and(|generation| generation != want.generation) {
        return None; // of a restart before this one
    }
    let serves =
        |release: &Digest| seen.iter().any(|seen| &seen.release == release && standing(turn, seen).ready);
    let back = failed.fallback.or(failed.restart.map(|_| failed.release));
    let restored = back.filter(serves);
    Some(SlotStatus::Failed { restored, evidence: Box::new(failed.evidence.clone()) })
}

pub(super) fn is_settled(turn: &Turn<'_>, context: &SlotContext<'_>) -> bool {
    let image = context.release.map(|release| &release.release.spec.image);
    let target = context.target();
    let done = match context.want.phase {
        Phase::Running => context.available && !context.is_isolated(),
        Phase::Draining => target.is_some_and(|seen| seen.state.is_up()),
        Phase::Pulled => image.is_some_and(|image| turn.observed.image(image).is_some()),
        Phase::Standby | Phase::Absent => true,
    };
    done && context
        .dispositions()
        .iter()
        .all(|(seen, disposition)| *disposition != Disposition::Run || seen.state.is_up())
}

/// Evidence of a pull that failed, when no instance was made yet.
pub(super) fn pull_evidence(
    turn: &Turn<'_>,
    want: &PlanSlot,
    trouble: &PullTrouble,
) -> Option<Box<Evidence>> {
    let release = turn.desired.releases.get(&want.release)?;
    let event = (Clock::Pull, trouble.reason.clone());
    Some(Box::new(Evidence::of(want.release, release.release.counter, event, trouble.at)))
}
