//! Which plan a host has: enough to derive the same bytes again.

use serde::{Deserialize, Serialize};
use windlass_core::{Digest, Timestamp};

/// The newest plan that was made for a host. Its slots are in the slot records; with the two times and the
/// number here, signing it again gives the same envelope, so that a restart never makes two plans with one
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Its number.
    pub seq: u64,
    /// The trust epoch it is of.
    pub epoch: u64,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Until when work on it may begin.
    pub expires_at: Timestamp,
    /// Digest of its slots.
    pub slots: Digest,
}
