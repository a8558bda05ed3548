//! Checking an envelope against the keys that may sign it.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use windlass_core::Digest;

use super::{Envelope, PayloadType, hint};
use crate::json::{self, DecodeError};
use crate::keys::{KeyId, PublicKey};

/// Keys that may sign a document, and how many of them must. Equal keys count once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: BTreeMap<KeyId, PublicKey>,
    threshold: usize,
}

impl KeySet {
    /// A set; a threshold of zero is taken as one, so that nothing is ever valid unsigned.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>, threshold: usize) -> Self {
        let keys = keys.into_iter().map(|key| (key.id().clone(), key)).collect();
        Self { keys, threshold: threshold.max(1) }
    }

    /// Nobody may sign.
    pub fn empty() -> Self {
        Self::new([], 1)
    }

    /// The keys, ordered by id.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.values()
    }

    /// Whether this key is one of them.
    pub fn contains(&self, id: &KeyId) -> bool {
        self.keys.contains_key(id)
    }

    /// The number of distinct keys that must sign.
    pub const fn threshold(&self) -> usize {
        self.threshold
    }
}

/// A payload whose signatures hold. Decode these bytes and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<'a> {
    kind: PayloadType,
    payload: &'a [u8],
    signers: BTreeSet<KeyId>,
}

impl<'a> Verified<'a> {
    /// The bytes that were verified.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// SHA-256 of the payload.
    pub fn digest(&self) -> Digest {
        Digest::of(self.payload)
    }

    /// The keys whose signatures hold.
    pub const fn signers(&self) -> &BTreeSet<KeyId> {
        &self.signers
    }

    /// Decodes the payload strictly; the type must refuse unknown fields itself.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, VerifyError> {
        json::decode_bounded(self.payload, self.kind.max_len()).map_err(|error| match error {
            DecodeError::TooLarge { len, limit } => VerifyError::TooLarge { len, limit },
            source @ (DecodeError::TooDeep(_) | DecodeError::NotAnObject | DecodeError::Malformed(_)) => {
                VerifyError::Malformed { what: "the payload", source: Some(source) }
            }
        })
    }
}

/// The reason for which an envelope is not believed. [`VerifyError::code`] is the refusal's name in receipts and audit entries.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Over a limit, found before anything was allocated.
    #[error("too large: {len}, at most {limit} allowed")]
    TooLarge {
        /// The number of bytes (or signatures).
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// Not an envelope, or not the payload it should hold.
    #[error("malformed: {what}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// Why, if a decoder said.
        #[source]
        source: Option<DecodeError>,
    },
    /// Another kind of document.
    #[error("a document of type `{got}` where another one belongs")]
    WrongType {
        /// The type that the envelope claims.
        got: String,
        /// The required type.
        want: Option<PayloadType>,
    },
    /// No signature is of a key that may sign this.
    #[error("no signature is of a key that the trust document names for this")]
    UnknownKey,
    /// A key that may sign is named, and the signature is not its own over these bytes.
    #[error("a signature does not match the document")]
    BadSignature,
    /// Too few distinct keys.
    #[error("signed by {have} of the {want} keys that must sign")]
    BelowThreshold {
        /// Distinct keys whose signatures hold.
        have: usize,
        /// The number of required signatures.
        want: usize,
    },
}

impl VerifyError {
    /// The refusal's name: stable, for receipts, audit entries and counters.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::WrongType { .. } => "wrong_type",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::BelowThreshold { .. } => "below_threshold",
        }
    }
}

impl Envelope {
    /// Verifies: exactly this type, and valid signatures of at least the threshold of *distinct* keys. Signatures
    /// of other keys and algorithms beside them are ignored, as DSSE says.
    pub fn verify(&self, want: PayloadType, keys: &KeySet) -> Result<Verified<'_>, VerifyError> {
        let signers = self.signers(want, keys)?;
        if signers.len() >= keys.threshold {
            return Ok(Verified { kind: self.kind, payload: &self.payload, signers });
        }
        Err(VerifyError::BelowThreshold { have: signers.len(), want: keys.threshold })
    }

    /// Which keys of the set have signed, threshold or not: for "1 of 2 approvals". An error if none has.
    pub fn signers(&self, want: PayloadType, keys: &KeySet) -> Result<BTreeSet<KeyId>, VerifyError> {
        if self.kind != want {
            let got = self.kind.as_str().to_owned();
            return Err(VerifyError::WrongType { got, want: Some(want) });
        }
        if keys.keys.is_empty() {
            return Err(VerifyError::UnknownKey);
        }
        let message = self.pae();
        let (mut signers, mut named) = (BTreeSet::new(), false);
        for signature in &self.signatures {
            let hinted = hint(signature).and_then(|id| keys.keys.get(&id));
            // No hint at all may be any key's.
            named |= hinted.is_some() || signature.keyid.is_none();
            let others = keys.keys.values().filter(|key| hinted != Some(*key));
            let mut candidates = hinted.into_iter().chain(others);
            if let Some(key) = candidates.find(|key| key.verify(&message, &signature.bytes)) {
                signers.insert(key.id().clone());
            }
        }
        match (signers.is_empty(), self.signatures.is_empty(), named) {
            (false, _, _) => Ok(signers),
            (true, true, _) => Err(VerifyError::BelowThreshold { have: 0, want: keys.threshold }),
            (true, false, true) => Err(VerifyError::BadSignature),
            (true, false, false) => Err(VerifyError::UnknownKey),
        }
    }
}
