//! A release as it was signed.

use serde::{Deserialize, Serialize};
use windlass_core::{Digest, ServiceId, Timestamp};

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// Digest of its payload.
    pub digest: Digest,
    /// The service it is of.
    pub service: ServiceId,
    /// Its envelope, which is JSON.
    pub envelope: String,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// The submitter.
    pub submitted_by: String,
}
