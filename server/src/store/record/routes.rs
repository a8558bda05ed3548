//! The traffic table of an environment, as it was signed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_core::traffic::Table;

/// The newest table of an environment. Signing it again gives the same envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutesRecord {
    /// The next table has a number above this one: hosts have shown a table with it, of before the store was set back.
    #[serde(default)]
    pub floor: u64,
    /// The table, if one was made.
    #[serde(default, with = "shared", skip_serializing_if = "Option::is_none")]
    pub table: Option<Arc<Table>>,
}

impl RoutesRecord {
    /// The number of the newest table that is known to exist.
    pub fn newest(&self) -> u64 {
        self.table.as_ref().map_or(0, |table| table.routes.seq).max(self.floor)
    }
}

/// Shared in memory, and written as the table that it is.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use windlass_core::traffic::Table;

    pub(super) fn serialize<S: Serializer>(table: &Option<Arc<Table>>, to: S) -> Result<S::Ok, S::Error> {
        table.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<Table>>, D::Error> {
        Ok(Option::<Table>::deserialize(from)?.map(Arc::new))
    }
}
