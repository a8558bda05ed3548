//! Signed documents: DSSE envelopes (<https://github.com/secure-systems-lab/dsse>) with Ed25519 keys.
//!
//! ```text
//! {"payloadType": "application/vnd.windlass.plan.v1+json", "payload": "<base64>",
//!  "signatures": [{"keyid": "<hex SHA-256 of the raw public key>", "sig": "<base64>"}]}
//! ```
//!
//! The signed bytes are `PAE(type, payload)`, so that a signature over one type of document is none over another.
//! An envelope of another implementation with the same key verifies here, and ours there. The order of reading
//! is fixed: bound, parse strictly, verify the payload's bytes, decode *those same bytes*.

mod verify;
mod wire;

use std::fmt;

use windlass_core::Digest;

use crate::keys::{KeyId, SigningKey};

pub use verify::{KeySet, Verified, VerifyError};

/// More signatures than this are refused before any is checked.
pub const MAX_SIGNATURES: usize = 16;

/// The type of a payload. One key signs one type for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PayloadType {
    /// A release: it may run.
    Release,
    /// A host plan: it runs on one host, now.
    Plan,
    /// The traffic table of one environment.
    Routes,
    /// A trust document: its keys may sign.
    Trust,
    /// A checkpoint of the audit log.
    Audit,
    /// A receipt of an agent's action.
    Receipt,
    /// Certificates that no longer count.
    Revocation,
    /// A command in a container.
    Exec,
    /// A version of a secret.
    Secret,
    /// The end of a backup of the coordinator's store.
    Backup,
    /// An operator's word that entries of the audit log are lost.
    Loss,
}

impl PayloadType {
    /// Every type.
    pub const ALL: [Self; 11] = [
        Self::Release,
        Self::Plan,
        Self::Routes,
        Self::Trust,
        Self::Audit,
        Self::Receipt,
        Self::Revocation,
        Self::Exec,
        Self::Secret,
        Self::Backup,
        Self::Loss,
    ];

    /// The media type as envelopes write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "application/vnd.windlass.release.v1+json",
            Self::Plan => "application/vnd.windlass.plan.v1+json",
            Self::Routes => "application/vnd.windlass.routes.v1+json",
            Self::Trust => "application/vnd.windlass.trust.v1+json",
            Self::Audit => "application/vnd.windlass.audit.v1+json",
            Self::Receipt => "application/vnd.windlass.receipt.v1+json",
            Self::Revocation => "application/vnd.windlass.revocation.v1+json",
            Self::Exec => "application/vnd.windlass.exec.v1+json",
            Self::Secret => "application/vnd.windlass.secret.v1+json",
            Self::Backup => "application/vnd.windlass.backup.v1+json",
            Self::Loss => "application/vnd.windlass.loss.v1+json",
        }
    }

    /// Exactly one of ours, or none: no parameters, no other case.
    pub fn from_media_type(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The most bytes a payload of this type may have.
    pub const fn max_len(self) -> usize {
        match self {
            Self::Release => 256 * 1024,
            Self::Plan | Self::Routes => 4 * 1024 * 1024,
            Self::Revocation => 1024 * 1024,
            Self::Trust | Self::Secret => 64 * 1024,
            Self::Audit | Self::Receipt | Self::Exec | Self::Backup | Self::Loss => 16 * 1024,
        }
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One signature of an envelope, not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Which key made it, says whoever wrote the envelope. Only a hint.
    pub keyid: Option<String>,
    /// The raw signature; not 64 bytes if it is of another algorithm.
    pub bytes: Vec<u8>,
}

/// A document and its signatures, parsed strictly, *not* verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    kind: PayloadType,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

/// A signature that was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an envelope has at most {MAX_SIGNATURES} signatures")]
pub struct TooManySignatures;

impl Envelope {
    /// Signs `payload`, which must be at most [`PayloadType::max_len`] long to be read anywhere.
    pub fn sign(kind: PayloadType, payload: Vec<u8>, keys: &[&SigningKey]) -> Self {
        let mut envelope = Self { kind, payload, signatures: Vec::new() };
        for key in keys.iter().take(MAX_SIGNATURES) {
            envelope.insert(key);
        }
        envelope
    }

    /// Adds a signature, or replaces the one that carries this key's id: approving is adding one.
    pub fn add_signature(&mut self, key: &SigningKey) -> Result<(), TooManySignatures> {
        let known = self.signatures.iter().any(|s| s.keyid.as_deref() == Some(key.id().as_str()));
        if !known && self.signatures.len() >= MAX_SIGNATURES {
            return Err(TooManySignatures);
        }
        self.insert(key);
        Ok(())
    }

    /// Adds the signatures of another envelope over the same type and payload. `false` if it is over another.
    pub fn merge(&mut self, other: &Self) -> Result<bool, TooManySignatures> {
        if self.kind != other.kind || self.payload != other.payload {
            return Ok(false);
        }
        for signature in &other.signatures {
            if self.signatures.contains(signature) {
                continue;
            }
            if self.signatures.len() >= MAX_SIGNATURES {
                return Err(TooManySignatures);
            }
            self.signatures.push(signature.clone());
        }
        Ok(true)
    }

    /// The claimed type of the payload; true only once verified.
    pub const fn payload_type(&self) -> PayloadType {
        self.kind
    }

    /// The payload, *unverified*. For showing and forwarding; decisions use [`Verified::payload`].
    pub fn payload_bytes(&self) -> &[u8] {
        &self.payload
    }

    /// The signatures, unverified.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The document's digest: SHA-256 of its payload. More signatures do not change it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.payload)
    }

    /// The bytes a signature is over.
    pub fn pae(&self) -> Vec<u8> {
        pae(self.kind.as_str(), &self.payload)
    }

    fn insert(&mut self, key: &SigningKey) {
        let made =
            Signature { keyid: Some(key.id().as_str().to_owned()), bytes: key.sign(&self.pae()).to_vec() };
        self.signatures.retain(|s| s.keyid != made.keyid);
        self.signatures.push(made);
    }
}

/// DSSE's pre-authentication encoding: `DSSEv1 len(type) type len(body) body`, lengths in decimal bytes.
pub fn pae(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The key id that a signature hints at, if it is one of ours.
fn hint(signature: &Signature) -> Option<KeyId> {
    signature.keyid.as_deref().and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests;
