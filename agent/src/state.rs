//! The state that the agent has accepted and must not forget: it survives every crash, or is known to be lost.

pub mod again;
mod journal;
mod releases;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_core::reconcile::Memory;
use windlass_core::verify::Committed;
use windlass_core::{Counter, Digest, ServiceId, Timestamp};

pub use journal::{Journal, JournalError};
pub use releases::{ReleaseStore, ReleaseStoreError};

/// The next step after a loss of the state.
pub const REJOIN: &str = "nothing that runs is touched meanwhile; restore the agent's folder from a backup, or stop the \
                          agent, move the folder away and join again with a new token (`windlass host token HOST`): \
                          containers are adopted that are as their releases say";

/// The journaled state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of this format, `1`.
    pub version: u32,
    /// The trust document in force.
    pub trust: TrustMark,
    /// The newest plan accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanMark>,
    /// The newest time that somebody signed and this host accepted. Only rises.
    pub trusted_time: Timestamp,
    /// Floors that good releases raised, by service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub floors: BTreeMap<ServiceId, Counter>,
    /// The reconciler's memory.
    #[serde(default)]
    pub memory: Memory,
    /// The newest checkpoint of the audit log: its envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// Which trust document is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustMark {
    /// Its version.
    pub version: u64,
    /// Digest of its payload.
    pub digest: Digest,
}

impl Default for TrustMark {
    fn default() -> Self {
        Self { version: 0, digest: Digest::from_bytes([0; 32]) }
    }
}

/// The newest plan accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanMark {
    /// Its epoch. Numbers of another epoch do not compare.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
    /// Digest of its payload.
    pub digest: Digest,
    /// Its envelope, as it came.
    pub envelope: String,
}

impl State {
    /// The state of a host that has just joined.
    pub fn joined(trust: TrustMark, at: Timestamp) -> Self {
        Self { version: 1, trust, trusted_time: at, memory: Memory::of_new_host(), ..Self::default() }
    }

    /// The newest plan of this epoch, for comparing numbers.
    pub fn committed(&self, epoch: u64) -> Option<Committed> {
        let plan = self.plan.as_ref().filter(|plan| plan.epoch == epoch)?;
        Some(Committed { seq: plan.seq, digest: plan.digest })
    }

    /// Remembers a time that was signed.
    pub fn witness(&mut self, at: Timestamp) {
        self.trusted_time = self.trusted_time.max(at);
    }
}
