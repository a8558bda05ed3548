//! The signed revocation list: how members learn what others no longer accept.

use serde::{Deserialize, Serialize};
use windlass_core::verify::is_within_step;
use windlass_core::{FleetId, Timestamp};

use super::{Revocations, RevokedSet};
use crate::dsse::{Envelope, PayloadType, VerifyError};
use crate::trust::TrustDocument;

/// Payload of a revocation list. Each version is complete; the newest wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationList {
    /// Of which fleet.
    pub fleet: FleetId,
    /// Rises with every list.
    pub version: u64,
    /// When it was written.
    pub issued_at: Timestamp,
    /// The revoked set. Serials may be left out once their certificates have expired.
    pub revoked: RevokedSet,
}

/// The reason for which a list was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The envelope or its signatures.
    #[error("the revocation list is not believed")]
    Verify(#[from] VerifyError),
    /// Of another fleet.
    #[error("the revocation list is of fleet `{0}`")]
    WrongFleet(FleetId),
    /// Not newer than the one in force: somebody would bring back what was revoked.
    #[error("revocation list {got} is not newer than {have}, which is in force")]
    Stale {
        /// The version in force.
        have: u64,
        /// The version given.
        got: u64,
    },
    /// So high that no later one would count.
    #[error("revocation list {got} is too far above the last one: give the next number")]
    Jump {
        /// The version given.
        got: u64,
    },
}

impl RevocationList {
    /// Reads a signed list, verified with the trust document's revoke keys, newer than the one in force, if there
    /// is one, and not by more than a step.
    pub fn open(envelope: &[u8], trust: &TrustDocument, have: Option<u64>) -> Result<Self, ListError> {
        let envelope = Envelope::parse(envelope, PayloadType::Revocation.max_len())?;
        let list: Self = envelope.verify(PayloadType::Revocation, &trust.revoke_keys())?.decode()?;
        if list.fleet != trust.fleet {
            return Err(ListError::WrongFleet(list.fleet));
        }
        let (last, got) = (have.unwrap_or(0), list.version);
        if got <= last {
            return Err(ListError::Stale { have: last, got });
        }
        if !is_within_step(have, got) {
            return Err(ListError::Jump { got });
        }
        Ok(list)
    }
}

impl Revocations {
    /// Puts a list in force and cuts the connections it concerns. Answers how many were cut.
    pub fn apply(&self, list: &RevocationList) -> usize {
        self.replace(list.revoked.clone())
    }
}
