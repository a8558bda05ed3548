//! The record of a store that was set back, and of its recovery.

use serde::{Deserialize, Serialize};
use windlass_core::Timestamp;

/// The store knows less than its fleet: a backup was restored, or a host was found to be ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRecord {
    /// The segment of the audit log that began with it.
    pub segment: u64,
    /// The audit entry that begins the segment.
    pub start: u64,
    /// The evidence of it, in words.
    pub cause: String,
    /// When.
    pub begun_at: Timestamp,
    /// When the fleet went on. Until then nothing is decided.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

impl RecoveryRecord {
    /// Whether the recovery still goes on.
    pub const fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }
}
