//! Which slots serve, and which of them go on serving while their newest plans are carried out. Only the latter count
//! when it is asked whether one more instance may be stopped.

use crate::id::SlotId;
use crate::observation::{Instance, InstanceState, SlotObservation, SlotStatus};
use crate::plan::Order;

use super::draft::Draft;

impl Draft<'_> {
    /// Does any instance of `slot` serve, as far as is known? On a lost host, or without its engine, none is known to.
    pub(super) fn serves(&self, slot: &SlotId) -> bool {
        let healthy = |seen: &SlotObservation| seen.instances.iter().any(is_healthy);
        !self.is_lost(slot) && !self.is_without_engine(slot) && self.newest_of(slot).is_some_and(healthy)
    }

    /// Does an instance serve in `slot` that its plan lets run? What was said about an older plan does not tell: an
    /// instance may be about to stop for it. Nor does it where an agent can write nothing, and so has not taken its newest
    /// plan: what runs there, runs, but the plan that it holds may stop it as soon as there is room.
    pub(super) fn goes_on_serving(&self, slot: &SlotId) -> bool {
        let Ok(Some(seen)) = self.observation(slot) else { return false };
        seen.instances.iter().any(|instance| is_healthy(instance) && self.lets_run(slot, seen, instance))
    }

    /// Might it serve? So long as its host has not said anything else about its newest plan: it has not taken it, or its
    /// agent has begun anew and has no answer yet of what runs.
    pub(super) fn may_serve(&self, slot: &SlotId) -> bool {
        let Ok(seen) = self.observation(slot) else { return true };
        let may = |instance: &Instance| is_healthy(instance) || instance.undecided;
        seen.is_some_and(|seen| seen.instances.iter().any(|i| may(i) && self.lets_run(slot, seen, i)))
    }

    /// Does the slot's plan let an instance run on, as its agent carries it out?
    fn lets_run(&self, slot: &SlotId, seen: &SlotObservation, instance: &Instance) -> bool {
        let Some(want) = self.slots.get(slot).map(|assignment| &assignment.want) else { return false };
        let starts = want.phase.runs();
        let stops_first = want.order == Order::StopFirst;
        let is_older = instance.generation < want.generation;
        let previous = want.previous.as_ref().filter(|previous| previous.release == instance.release);
        // What failed before it was begun has stopped nothing.
        if starts && has_failed(seen, &want.release) {
            // What is restored runs, and so does what a restart was to replace.
            return if instance.release == want.release {
                is_older
            } else {
                want.fallback == Some(instance.release) || (want.fallback.is_none() && previous.is_some())
            };
        }
        if instance.release == want.release {
            starts && !(is_older && stops_first)
        } else if let Some(previous) = previous {
            previous.phase.runs() && !(starts && stops_first)
        } else {
            starts && !stops_first // until what replaces it serves
        }
    }
}

fn has_failed(seen: &SlotObservation, release: &crate::digest::Digest) -> bool {
    matches!(&seen.status, SlotStatus::Failed { evidence, .. } if &evidence.release == release)
}

fn is_healthy(instance: &Instance) -> bool {
    instance.state == InstanceState::Healthy
}
