//! The answers of `operator invite`, `join` and `recover`, as documents.

use serde::Serialize;
use windlass_core::{FleetId, OperatorName, Timestamp};

/// The document of `operator invite`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct OperatorTokenView {
    /// The operator it is for.
    pub(crate) operator: OperatorName,
    /// Role and scope.
    pub(crate) grant: String,
    /// The token, shown once.
    pub(crate) token: String,
    /// Until when it is good.
    pub(crate) expires_at: Timestamp,
    /// The command that comes next, on their machine.
    pub(crate) next: String,
}

/// The document of `operator join`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct OperatorJoined {
    /// The fleet.
    pub(crate) fleet: FleetId,
    /// The context that was made, and is the current one now.
    pub(crate) context: String,
    /// Your operator name.
    pub(crate) operator: String,
    /// Role and scope.
    pub(crate) grant: String,
    /// Until when the certificate counts; it renews by itself.
    pub(crate) expires_at: Timestamp,
    /// The public half of the release key in this home folder, PEM. It signs nothing that hosts take before the
    /// trust document names it.
    pub(crate) release_key: Option<String>,
    /// The commands that come next: the first for whoever holds the root keys, if there are two.
    pub(crate) next: Vec<String>,
}
