//! Errors of the GPUs that an instance holds.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Errors that the GPUs of an instance have reported while it ran. A GPU that several instances share counts for each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GpuErrors {
    /// So many, since the instance was started or its agent began.
    pub count: u32,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<GpuError>,
}

/// An error of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GpuError {
    /// The GPU, or the instance of one (MIG).
    pub gpu: String,
    /// The report: `XID 79`, `3 memory errors that were not corrected`.
    pub what: String,
    /// When that was seen, by the host's clock.
    pub at: Timestamp,
}

impl std::fmt::Display for GpuError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} at {}", self.gpu, self.what, self.at)
    }
}
