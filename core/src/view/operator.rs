//! An operator, as `operator ls` prints it.

use serde::{Deserialize, Serialize};

use crate::id::OperatorName;
use crate::time::Timestamp;

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OperatorView {
    /// Their name.
    pub name: OperatorName,
    /// `active | invited | expired | revoked`. An expired certificate renews when its owner runs a command.
    pub state: String,
    /// Role and scope of the newest certificate: `deployer/staging`, `admin/*`.
    pub grant: Option<String>,
    /// The operator that let them in; none for the operator that `init` made.
    pub added_by: Option<String>,
    /// When they joined, or were seen first.
    pub added_at: Option<Timestamp>,
    /// When the newest certificate ends.
    pub certificate_expires_at: Option<Timestamp>,
    /// The operator that revoked them.
    pub revoked_by: Option<String>,
    /// When.
    pub revoked_at: Option<Timestamp>,
    /// Role and scope of a token that was not used yet.
    pub invited_as: Option<String>,
    /// Until when that token is good.
    pub invited_until: Option<Timestamp>,
}
