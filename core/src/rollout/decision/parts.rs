//! The parts of decisions: slots, hosts, counts and clocks.

use serde::{Deserialize, Serialize};

use crate::id::{HostId, SlotId};
use crate::plan::Order;
use crate::time::Timestamp;
use crate::units::Span;

/// A slot and its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Place {
    /// The slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
}

/// A slot, its host, and why that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Placement {
    /// The slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// Why.
    pub because: Chosen,
}

/// The reason for which a slot is on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// It was there before.
    Kept,
    /// The service runs on every host that takes it.
    PerHost,
    /// It was the best of the hosts that have room.
    Best {
        /// Slots of this service that were there already: fewest first with `spread: host`, most with `pack`.
        own: u32,
        /// Memory reserved there before, in bytes.
        memory_reserved: u64,
        /// The slot that its instance would have gone into, if the host of that could hold both.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead: Option<Instead>,
    },
}

/// A slot whose new instance stands on another host than the old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Instead {
    /// Which.
    pub slot: SlotId,
    /// The reason for which its host does not hold both.
    pub why: String,
}

/// A host that cannot take a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Refused {
    /// Which.
    pub host: HostId,
    /// Why.
    pub reason: String,
}

/// A slot that changes its release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Begin {
    /// The slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// Which instance goes first; none if there is only one.
    pub order: Option<Order>,
    /// The reason for which the old one stops first, if it does.
    pub because: Option<String>,
    /// GPUs that the new one holds, by UUID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
}

/// A slot that has arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Arrival {
    /// The slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// The time since it was begun, if that is known.
    pub after_ms: Option<u64>,
}

/// The state of a rollout's slots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stood {
    /// Slots in all.
    pub total: u32,
    /// Available at the new release.
    pub available: u32,
    /// Begun and not available yet.
    pub in_flight: u32,
    /// With two instances that run, or may.
    pub surging: u32,
    /// Without an instance that serves.
    pub unavailable: u32,
}

/// The number of slots that may be on their way; absent where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Allowed {
    /// Begun and not available.
    pub batch: Option<u32>,
    /// With two instances that run.
    pub surge: Option<u32>,
    /// Without an instance that serves.
    pub unavailable: Option<u32>,
    /// The release says 0 of those, and one counts: a slot that cannot start its new instance first would never be updated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raised: bool,
}

/// The clocks that a decision looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Clocks {
    /// When the state began.
    pub since: Timestamp,
    /// When it last got further.
    pub progress_at: Timestamp,
    /// Since when every slot was available.
    pub soak_since: Option<Timestamp>,
    /// Since when the coordinator watches: no deadline counts the time before.
    pub watched_since: Timestamp,
    /// Time that it may go without progress.
    pub progress_deadline: Option<Span>,
    /// Time for which the whole service is watched at the end; only a deploy is.
    pub soak: Option<Span>,
}
