//! An operator: who they are by certificate, and the token they may become one with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use windlass_certs::identity::Grant;
use windlass_core::{Digest, OperatorName, Timestamp};

/// Somebody who has an operator certificate, or had one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRecord {
    /// Their name.
    pub name: OperatorName,
    /// The grant of the newest certificate; none if none was ever seen.
    pub grant: Option<Grant>,
    /// The operator who let them in; none for the operator that `init` made.
    pub added_by: Option<String>,
    /// When they joined, or were seen first.
    pub added_at: Timestamp,
    /// The newest certificate that was issued.
    pub generation: u64,
    /// Certificates up to this generation are revoked or superseded.
    pub revoked_up_to: u64,
    /// When the newest certificate ends.
    pub not_after: Option<Timestamp>,
    /// The revoker, and the time, if somebody revoked them.
    pub revoked: Option<RevokedBy>,
    /// SHA-256 of their TLS key, as joined with a token.
    pub key: Option<Digest>,
    /// Hash of the token they joined with, so that a retry is known as one.
    pub token: Option<Digest>,
    /// Leaf and CA, PEM: what that retry is answered with.
    pub chain: String,
}

/// A store that nobody had signed was restored: of whom certificates count that were issued before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedRecord {
    /// When.
    pub at: Timestamp,
    /// Operators whom an admin has named.
    pub confirmed: BTreeSet<OperatorName>,
}

/// The revoker of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedBy {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A token for an operator that was handed out and not used yet. Only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorTokenRecord {
    /// Hash of its secret.
    pub hash: Digest,
    /// The operator that it is for.
    pub name: OperatorName,
    /// Their rights.
    pub grant: Grant,
    /// The operator who made it.
    pub made_by: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}
