//! Receipts: what an agent signs about a plan it has carried out. The payload of a `receipt` envelope.
//!
//! A receipt names the newest checkpoint of the audit log that the agent has seen, so that a coordinator which
//! writes its history again is contradicted by its own hosts.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{FleetId, HostId, SlotId};
use crate::observation::{Observation, RefusalCode, SlotStatus};
use crate::plan::HostPlan;
use crate::time::Timestamp;

/// Version of the receipt payload that this code writes.
pub const RECEIPT_VERSION: u32 = 1;

/// The payload of a `receipt` envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Version of this format, `1`.
    pub version: u32,
    /// The fleet.
    pub fleet: FleetId,
    /// The host that speaks.
    pub host: HostId,
    /// Number of the plan.
    pub seq: u64,
    /// Digest of the plan's payload.
    pub plan: Digest,
    /// The outcome of each slot of the plan, ordered by slot.
    pub slots: Vec<SlotReceipt>,
    /// The newest checkpoint of the audit log that the host has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Witnessed>,
    /// When it was signed, by the host's clock.
    pub at: Timestamp,
}

/// A checkpoint that a host has verified and keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Witnessed {
    /// The number of entries of the log.
    pub size: u64,
    /// Hash of the last of them.
    pub head: Digest,
    /// The segment of the log that the last of them is in.
    #[serde(default, skip_serializing_if = "crate::audit::is_first")]
    pub segment: u64,
}

/// The outcome of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlotReceipt {
    /// Which slot.
    pub slot: SlotId,
    /// The release that the plan wanted.
    pub release: Digest,
    /// Its result.
    pub outcome: SlotOutcome,
}

/// The outcome of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SlotOutcome {
    /// It is as the plan says.
    Settled,
    /// Nothing was started, for a reason of this class.
    Refused(RefusalCode),
    /// The release failed here.
    Failed {
        /// The release that was restored, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored: Option<Digest>,
    },
}

/// The outcome of each slot of `plan` by `observation`; `None` while the host still works on one of them.
pub fn outcomes(plan: &HostPlan, observation: &Observation) -> Option<Vec<SlotReceipt>> {
    plan.slots
        .iter()
        .map(|want| {
            let seen = observation.slot(&want.slot)?;
            if seen.release != Some(want.release) {
                return None;
            }
            let outcome = match &seen.status {
                SlotStatus::Converging => return None,
                SlotStatus::Settled => SlotOutcome::Settled,
                SlotStatus::Refused(refusal) => SlotOutcome::Refused(refusal.code),
                SlotStatus::Failed { restored, .. } => SlotOutcome::Failed { restored: *restored },
            };
            Some(SlotReceipt { slot: want.slot.clone(), release: want.release, outcome })
        })
        .collect()
}
