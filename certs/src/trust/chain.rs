//! Walking from one trust version to the next.

use windlass_core::{Digest, FleetId};

use super::checks::InvalidTrust;
use super::{MAX_LEN, MAX_WALK, TrustDocument, TrustError};
use crate::dsse::{Envelope, PayloadType, Verified, VerifyError};

/// The trust document in force, with what is needed to take the next one. Only rises.
#[derive(Debug, Clone)]
pub struct TrustStore {
    document: TrustDocument,
    digest: Digest,
    envelope: Vec<u8>,
}

/// The result of giving a version to a [`TrustStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// It is the one in force.
    Unchanged,
    /// It is in force now.
    Taken {
        /// Its version.
        version: u64,
        /// Whether the epoch rose: the host waits for its first plan under it.
        new_epoch: bool,
    },
}

impl TrustStore {
    /// Starts from version 1, whose payload's digest was pinned (in the join token, or by hand).
    pub fn pinned(fleet: &FleetId, pin: Digest, first: &[u8]) -> Result<Self, TrustError> {
        let envelope = Envelope::parse(first, MAX_LEN)?;
        let got = envelope.digest();
        if got != pin {
            return Err(TrustError::WrongPin { pinned: pin, got });
        }
        let document = decode(&envelope)?;
        if document.version != 1 {
            return Err(TrustError::Gap { have: 0, got: document.version });
        }
        Self::seal(fleet, document, &envelope)
    }

    /// Takes up what was stored on this machine: the envelope and the digest that was recorded with it.
    pub fn restore(fleet: &FleetId, digest: Digest, stored: &[u8]) -> Result<Self, TrustError> {
        let envelope = Envelope::parse(stored, MAX_LEN)?;
        if envelope.digest() != digest {
            return Err(TrustError::WrongPin { pinned: digest, got: envelope.digest() });
        }
        let document = decode(&envelope)?;
        Self::seal(fleet, document, &envelope)
    }

    /// Takes the next version, or recognises the one in force. Everything else is refused and changes nothing.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Advance, TrustError> {
        let envelope = Envelope::parse(bytes, MAX_LEN)?;
        let got = envelope.digest();
        if got == self.digest {
            return Ok(Advance::Unchanged);
        }
        // The version is only looked at to name the refusal; nothing is believed before the signatures hold.
        let claimed = decode(&envelope)?;
        let have = self.document.version;
        if claimed.version < have {
            return Err(TrustError::Rollback { have, got: claimed.version });
        }
        if claimed.version > have.saturating_add(1) {
            return Err(TrustError::Gap { have, got: claimed.version });
        }
        let verified = envelope.verify(PayloadType::Trust, &self.document.root_keys())?;
        let document: TrustDocument = verified.decode()?;
        if document.version == have {
            // Signed by our own roots, so it is they who fork, or someone who holds their keys.
            return Err(TrustError::Equivocation { version: have, have: self.digest, got });
        }
        let (from, to) = (self.document.epoch, document.epoch);
        if to < from {
            let source = InvalidTrust::EpochFalls { from, to };
            return Err(TrustError::Invalid { version: document.version, source });
        }
        if !windlass_core::verify::is_within_step(Some(from), to) {
            let source = InvalidTrust::EpochJumps { from, to };
            return Err(TrustError::Invalid { version: document.version, source });
        }
        let fleet = self.document.fleet.clone();
        *self = Self::seal(&fleet, document, &envelope)?;
        Ok(Advance::Taken { version: self.document.version, new_epoch: to > from })
    }

    /// Walks a chain of envelopes, oldest first; versions before the one in force are passed over, but a chain that
    /// ends before it is a rollback. Answers how many were taken. Those taken before an error stay.
    pub fn walk<'a>(&mut self, chain: impl IntoIterator<Item = &'a [u8]>) -> Result<usize, TrustError> {
        let (mut taken, mut behind) = (0, None);
        for (at, bytes) in chain.into_iter().enumerate() {
            if at >= MAX_WALK {
                return Err(TrustError::TooLong);
            }
            match self.advance(bytes) {
                Ok(Advance::Taken { .. }) => taken += 1,
                Ok(Advance::Unchanged) => {}
                Err(error @ TrustError::Rollback { .. }) if taken == 0 => {
                    behind = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            behind = None;
        }
        behind.map_or(Ok(taken), Err)
    }

    /// The document in force.
    pub const fn document(&self) -> &TrustDocument {
        &self.document
    }

    /// The digest of its payload; store it beside [`TrustStore::envelope`].
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Its envelope, as it was signed.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// Its version.
    pub const fn version(&self) -> u64 {
        self.document.version
    }

    /// The last checks, the same for every version: its own root keys have signed it, it is ours, it is sound.
    fn seal(fleet: &FleetId, document: TrustDocument, envelope: &Envelope) -> Result<Self, TrustError> {
        if document.fleet != *fleet {
            let (want, got) = (fleet.to_string(), document.fleet.to_string());
            return Err(TrustError::WrongFleet { want, got });
        }
        document.validate().map_err(|source| TrustError::Invalid { version: document.version, source })?;
        let verified: Verified<'_> = envelope.verify(PayloadType::Trust, &document.root_keys())?;
        Ok(Self { digest: verified.digest(), document, envelope: envelope.to_bytes() })
    }
}

/// Reads the payload before its signatures were checked: either its digest is already known to be right, or only
/// its version is looked at.
fn decode(envelope: &Envelope) -> Result<TrustDocument, TrustError> {
    if envelope.payload_type() != PayloadType::Trust {
        let got = envelope.payload_type().to_string();
        return Err(VerifyError::WrongType { got, want: Some(PayloadType::Trust) }.into());
    }
    crate::json::decode_bounded(envelope.payload_bytes(), MAX_LEN)
        .map_err(|source| VerifyError::Malformed { what: "the trust document", source: Some(source) }.into())
}
