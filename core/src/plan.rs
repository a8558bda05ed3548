//! A host plan: the complete desired state of one host. The payload of a `plan` envelope.
//!
//! A plan is never a list of commands. An agent that gets the same plan twice, or only the last of
//! ten, ends in the same state. A slot that a plan does not list is to be absent.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{FleetId, HostId, RolloutId, SlotId};
use crate::time::Timestamp;

/// The newest version of the plan payload that this code reads and writes.
pub const PLAN_VERSION: u32 = 4;
/// Every version that it reads. A plan is written in the lowest one that can say what it says.
pub const PLAN_VERSIONS: [u32; 4] = [1, 2, 3, PLAN_VERSION];

/// The version that brought `generation`: restarts, and services of which two never run.
pub const PLAN_OF_GENERATIONS: u32 = 2;
/// The version that brought `keeps_older`: an instance that a restart replaces goes on until a later plan lets it go.
pub const PLAN_OF_KEPT: u32 = 4;

/// The payload of a `plan` envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostPlan {
    /// Version of this format: `4` if a slot has `keeps_older`, `3` if one has a `task`, `2` if one has a `generation`, else `1`.
    pub version: u32,
    /// The fleet it was signed for.
    pub fleet: FleetId,
    /// The host it is for.
    pub host: HostId,
    /// Raised only after a key compromise; equals the trust document's.
    pub epoch: u64,
    /// Rises with every plan for this host.
    pub seq: u64,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// Until when work on it may begin. What was begun stays desired state.
    pub expires_at: Timestamp,
    /// Every slot of the host, ordered by slot.
    pub slots: Vec<PlanSlot>,
}

/// The desired state of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanSlot {
    /// Which slot.
    pub slot: SlotId,
    /// The release that this slot is to have: digest of its payload.
    pub release: Digest,
    /// The desired phase of its instance.
    pub phase: Phase,
    /// Whether the release's rollout succeeded. Until then local rollback is armed.
    pub good: bool,
    /// The last good release, restored if the new one fails here. Never a merely healthy one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Digest>,
    /// Which of the two instances goes first.
    pub order: Order,
    /// Devices given to this slot, by UUID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// The instance that the new one replaces. Instances of any other release are to be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// Start it although its content failed on this host before.
    #[serde(default)]
    pub retry_quarantined: bool,
    /// Rises when a person asks for a new instance of the same release: one of a lower generation is replaced.
    #[serde(default, skip_serializing_if = "is_first")]
    pub generation: u64,
    /// Instances of its release that a restart replaces run on beside the new one, until a later plan does not say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_older: bool,
    /// A hook of the slot's release that the host runs once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
}

/// A hook that a host runs once. The release of its slot says how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The rollout that it belongs to. A host runs a hook at most once for each.
    pub rollout: RolloutId,
    /// The name of the hook in the release.
    pub hook: String,
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.rollout, self.hook)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_first(generation: &u64) -> bool {
    *generation == 0
}

impl HostPlan {
    /// The lowest version that can say what `slots` say.
    pub fn version_for(slots: &[PlanSlot]) -> u32 {
        let any = |says: fn(&PlanSlot) -> bool| slots.iter().any(says);
        if any(|slot| slot.keeps_older) {
            PLAN_OF_KEPT
        } else if any(|slot| slot.task.is_some()) {
            3
        } else if any(|slot| slot.generation > 0) {
            2
        } else {
            1
        }
    }
}

/// The older instance of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// Its release.
    pub release: Digest,
    /// The desired phase.
    pub phase: Phase,
}

/// The desired phase of an instance.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its image is on the host; nothing is created.
    Pulled,
    /// It runs.
    Running,
    /// It runs and finishes what it has; nobody sends it anything new.
    Draining,
    /// It is stopped and kept for return.
    Standby,
    /// It is gone.
    Absent,
}

impl Phase {
    /// Returns whether an instance in this phase runs.
    pub const fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Draining)
    }
}

/// Which of the two instances of a slot goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The new one starts; the old one stops when a later plan says so.
    StartFirst,
    /// The old one is stopped, and kept, before the new one starts.
    StopFirst,
}
