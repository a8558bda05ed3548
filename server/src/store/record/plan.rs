//! Which plan a host has: enough to derive the same bytes again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_core::{Digest, SlotId, Timestamp};

/// The newest plan that was made for a host. Its slots are in the slot records; with the two times and the
/// number here, signing it again gives the same envelope, so that a restart never makes two plans with one
/// number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Slots whose part is older than this plan: the number of the first plan that had it as it is now. A slot that is not in
    /// here has the number of this plan.
    #[serde(default, with = "parts", skip_serializing_if = "is_empty")]
    pub since: Arc<BTreeMap<SlotId, u64>>,
}

fn is_empty(parts: &Arc<BTreeMap<SlotId, u64>>) -> bool {
    parts.is_empty()
}

/// Shared in memory, and written as the map that it is.
mod parts {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use windlass_core::SlotId;

    pub(super) fn serialize<S: Serializer>(
        parts: &Arc<BTreeMap<SlotId, u64>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        parts.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<BTreeMap<SlotId, u64>>, D::Error> {
        BTreeMap::deserialize(deserializer).map(Arc::new)
    }
}
