//! The payload of a `loss` envelope: an operator accepts that entries of the audit log are lost.

use serde::{Deserialize, Serialize};

use super::Loss;
use crate::id::FleetId;
use crate::time::Timestamp;

/// An operator's word that a loss is one that they know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptedLoss {
    /// Version of this format, `1`.
    pub version: u32,
    /// The fleet whose log it is.
    pub fleet: FleetId,
    /// The loss.
    pub loss: Loss,
    /// The operator, as they call themselves; the signature says who answers for it.
    pub by: String,
    /// When it was signed, by the signer's clock.
    pub at: Timestamp,
}
