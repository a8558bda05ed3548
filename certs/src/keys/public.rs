//! Public keys and their ids.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePublicKey, EncodePublicKey};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use windlass_core::Digest;

const LINE: &str = "ed25519:";

/// A public key that is safe to check signatures with: canonical and not of small order.
///
/// In documents: `{"keyid": "<hex>", "public": "<base64 of 32 bytes>"}`, and the two must agree.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct PublicKey {
    key: VerifyingKey,
    id: KeyId,
}

/// Hex SHA-256 of a raw public key. In an envelope only a hint of which key to try first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// The reason for which something is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Neither SPKI PEM nor 32 bytes of an Ed25519 key.
    #[error("not an Ed25519 public key")]
    Malformed,
    /// A key that would let signatures be forged or written in two ways.
    #[error("a weak Ed25519 public key (small order or not canonical)")]
    Weak,
    /// The id beside the key belongs to another one.
    #[error("the key id `{0}` does not belong to the key beside it")]
    WrongId(KeyId),
    /// Not 64 lowercase hex digits.
    #[error("`{0}` is not a key id (64 lowercase hex digits)")]
    NotAnId(String),
}

impl PublicKey {
    /// Checks 32 raw bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidKey> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| InvalidKey::Malformed)?;
        if !is_canonical(bytes) {
            return Err(InvalidKey::Weak);
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidKey::Malformed)?;
        if key.is_weak() { Err(InvalidKey::Weak) } else { Ok(Self::of(key)) }
    }

    /// Reads SPKI PEM.
    pub fn from_pem(pem: &str) -> Result<Self, InvalidKey> {
        let key = VerifyingKey::from_public_key_pem(pem.trim()).map_err(|_| InvalidKey::Malformed)?;
        Self::from_bytes(key.as_bytes())
    }

    /// The key as SPKI PEM.
    pub fn to_pem(&self) -> String {
        self.key.to_public_key_pem(LineEnding::LF).expect("32 bytes always encode")
    }

    /// The key on one line, for people: `ed25519:` and 43 characters of URL-safe base64.
    pub fn to_line(&self) -> String {
        format!("{LINE}{}", URL_SAFE_NO_PAD.encode(self.as_bytes()))
    }

    /// Reads such a line.
    pub fn from_line(line: &str) -> Result<Self, InvalidKey> {
        let encoded = line.trim().strip_prefix(LINE).ok_or(InvalidKey::Malformed)?;
        Self::from_bytes(&URL_SAFE_NO_PAD.decode(encoded).map_err(|_| InvalidKey::Malformed)?)
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Its id.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Whether `signature` over `message` is this key's, by the strict rules (one valid signature per
    /// message and nonce, no small-order points).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }

    pub(super) fn of(key: VerifyingKey) -> Self {
        let id = KeyId(Digest::of(key.as_bytes()).to_hex());
        Self { key, id }
    }
}

/// The y coordinate is below the field's prime. The decoder of the curve reduces silently, so that without this
/// one key could be listed twice under two ids and count twice for a threshold.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let high = bytes[31] & 0x7f == 0x7f && bytes[1..31].iter().all(|b| *b == 0xff);
    !(high && bytes[0] >= 0xed)
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id.short())
    }
}

impl KeyId {
    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for KeyId {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(lower) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKey::NotAnId(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKey;
    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.short())
    }
}

/// A key as documents write it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    keyid: KeyId,
    public: String,
}

impl TryFrom<Wire> for PublicKey {
    type Error = InvalidKey;
    fn try_from(wire: Wire) -> Result<Self, InvalidKey> {
        let bytes = STANDARD.decode(&wire.public).map_err(|_| InvalidKey::Malformed)?;
        let key = Self::from_bytes(&bytes)?;
        if key.id == wire.keyid { Ok(key) } else { Err(InvalidKey::WrongId(wire.keyid)) }
    }
}

impl From<PublicKey> for Wire {
    fn from(key: PublicKey) -> Self {
        Self { public: STANDARD.encode(key.key.as_bytes()), keyid: key.id }
    }
}
