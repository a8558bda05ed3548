//! The stored forms of a slot: the present one, and the one before it, which held the signed part of the plan.

use serde::{Deserialize, Deserializer};

use super::model::{Occupant, Older, Role, Slot, Trial};
use crate::id::{HostId, SlotId};
use crate::plan::{Order, PlanSlot, Task};
use crate::time::Timestamp;

/// A record of either form.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum StoredSlot {
    /// The intent.
    Intent(Box<IntentRecord>),
    /// The form of version 1.
    Plan(Box<PlanForm>),
}

/// The present form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntentRecord {
    id: SlotId,
    host: HostId,
    order: Order,
    #[serde(default)]
    role: Role,
    #[serde(default)]
    trial: Option<Trial>,
    #[serde(default)]
    retry: bool,
    target: Occupant,
    #[serde(default)]
    other: Option<Occupant>,
    #[serde(default)]
    older: Option<Older>,
    #[serde(default)]
    task: Option<Task>,
}

/// The form of version 1.
#[derive(Debug, Deserialize)]
struct PlanForm {
    host: HostId,
    want: PlanSlot,
    #[serde(default)]
    standby_until: Option<Timestamp>,
    #[serde(default)]
    replaces: Option<SlotId>,
}

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StoredSlot::deserialize(deserializer).map(Self::from)
    }
}

impl From<StoredSlot> for Slot {
    fn from(stored: StoredSlot) -> Self {
        match stored {
            StoredSlot::Intent(record) => {
                let IntentRecord { id, host, order, role, trial, retry, target, other, older, task } =
                    *record;
                Self { id, host, order, role, trial, retry, target, other, older, task }
            }
            StoredSlot::Plan(form) => {
                let mut slot = Self::adopted(form.host, form.want);
                slot.role = form.replaces.map_or(Role::Member, Role::StandsInFor);
                slot.other.iter_mut().for_each(|other| other.until = form.standby_until);
                slot
            }
        }
    }
}
