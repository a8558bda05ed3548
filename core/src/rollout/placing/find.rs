//! Hosts for the slots that a rollout makes.

use std::collections::BTreeMap;

use crate::capacity::Taken;
use crate::id::{HostId, SlotId};
use crate::placement::{Candidates, Place, Unfit};
use crate::release::Release;
use crate::slot::Waiting;

use super::super::decision::Instead;
use super::super::elsewhere::{Full, words};
use super::super::model::{Kind, SLOTS_PER_STEP};
use super::super::places::why_nowhere;
use super::super::planner::Planner;

/// There is no place for a slot.
pub(super) enum Nowhere {
    /// Some hosts have not been heard of yet, or not for a moment.
    Yet,
    /// Every host says no; why.
    At(String),
}

impl Nowhere {
    pub(super) fn because(
        planner: &mut Planner<'_>,
        candidates: &Candidates<'_>,
        refused: &BTreeMap<HostId, Unfit>,
    ) -> Self {
        if !candidates.are_undecided() {
            return Self::At(why_nowhere(refused));
        }
        for (host, why) in refused {
            if let Unfit::NotConnected(liveness) = why {
                planner.wait(Waiting::Host { host: host.clone(), liveness: *liveness });
            }
        }
        Self::Yet
    }

    /// The same for an instance that would have gone to another host, as its own could not hold both.
    pub(super) fn after(self, full: &[Full]) -> Self {
        match self {
            Self::At(why) if !full.is_empty() => {
                Self::At(format!("{}; and on no other host: {why}", words(full)))
            }
            Self::At(_) | Self::Yet => self,
        }
    }
}

/// Hosts for slots that are to be made.
pub(super) struct New {
    /// One for each, and the reason why the instance does not go into a slot that there is.
    pub(super) places: Vec<(Place, Option<Instead>)>,
    /// Slots of which a rollback finds no host that takes another one.
    pub(super) without_place: Vec<SlotId>,
}

/// Finds hosts for `missing` slots, the first of them in the place of `full` ones.
pub(super) fn find(
    planner: &mut Planner<'_>,
    release: &Release,
    taken: &BTreeMap<HostId, Taken>,
    missing: usize,
    full: Vec<Full>,
) -> Result<New, Nowhere> {
    let mut new = New { places: Vec::new(), without_place: Vec::new() };
    if missing == 0 {
        return Ok(new);
    }
    let candidates = Candidates::of(planner.snapshot.fleet, release);
    planner.refusals(candidates.refusals(taken));
    // A rollback goes back to what there was, whatever a newer rule says.
    let mut filling = match planner.rollout().kind {
        Kind::Deploy => candidates.fill(taken, &planner.own()),
        Kind::Rollback | Kind::Restart => candidates.fill_again(taken, &planner.own()),
    };
    let mut full = full.into_iter();
    // One step makes no more; the one too many says that there are more.
    for _ in 0..missing.min(SLOTS_PER_STEP + 1) {
        let instead = full.next();
        match (filling.next_place(), instead) {
            (Ok(place), full) => {
                let instead = full.map(|Full { slot, why, .. }| Instead { slot, why });
                new.places.push((place, instead));
            }
            (Err(_), Some(full)) if planner.rollout().kind != Kind::Deploy => {
                new.without_place.push(full.slot)
            }
            (Err(refused), first) => {
                let nowhere = Nowhere::because(planner, &candidates, &refused);
                let full: Vec<Full> = first.into_iter().chain(full).collect();
                return Err(nowhere.after(&full));
            }
        }
    }
    Ok(new)
}
