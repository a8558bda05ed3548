//! How many slots may have no instance that serves, and which of them have none, while a decision stops more of them.

use crate::id::SlotId;

use super::draft::Draft;
use super::waiting::Waiting;

/// Slots that serve nothing, or may not, and how many of them there may be at most.
pub(super) struct Down {
    slots: Vec<SlotId>,
    most: usize,
}

impl Down {
    /// None so far.
    pub(super) const fn none(most: usize) -> Self {
        Self { slots: Vec::new(), most }
    }

    /// Every slot of a service that is not known to go on serving.
    pub(super) fn of(draft: &Draft<'_>, most: u32) -> Self {
        let staying = draft.slots.keys().filter(|slot| !draft.is_leaving(slot));
        let slots = staying.filter(|slot| !draft.goes_on_serving(slot)).cloned().collect();
        Self { slots, most: most as usize }
    }

    /// May `slot` stop, as far as the others go? One that serves nothing takes nothing away. Says what it waits for if not.
    pub(super) fn has_room_for(&self, draft: &mut Draft<'_>, slot: &SlotId) -> bool {
        let others = self.slots.iter().filter(|down| *down != slot).count();
        let may = others < self.most || !draft.may_serve(slot);
        if !may {
            let host = draft.slots[slot].host.clone();
            draft.wait(Waiting::Others { host, slot: slot.clone() });
        }
        may
    }

    /// It stops, or has.
    pub(super) fn enter(&mut self, slot: &SlotId) {
        if !self.slots.contains(slot) {
            self.slots.push(slot.clone());
        }
    }
}
