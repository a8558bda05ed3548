//! A join token: only its hash is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_core::{Digest, HostId, Timestamp};

/// A token that was handed out and not used yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Hash of its secret.
    pub hash: Digest,
    /// The host it is for.
    pub host: HostId,
    /// Labels of that host.
    pub labels: BTreeMap<String, String>,
    /// The operator who made it.
    pub made_by: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}
