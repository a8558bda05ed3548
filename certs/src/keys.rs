//! Ed25519 keys that sign documents. TLS keys are another kind (see [`crate::csr`]) and never sign one.
//!
//! Private keys are PKCS#8 PEM in files of mode 0600; public keys are SPKI PEM for people and 32 raw bytes
//! in documents. A key's id is the hex SHA-256 of its raw public key.

mod public;

use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::Signer;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use zeroize::Zeroizing;

use crate::files::{self, FileError, Stage};
use crate::random::{self, RandomError};

pub use public::{InvalidKey, KeyId, PublicKey};

/// A private key for documents. `Debug` shows its id only; the bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
}

/// The reason for which a private key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no key.
    #[error("`{path}` is not an Ed25519 private key (PKCS#8 PEM)")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The text is no key. Says nothing about the text, which may be half a key.
    #[error("the text is not an Ed25519 private key (PKCS#8 PEM)")]
    Malformed,
    /// A key cannot be made.
    #[error("failed to make a key")]
    Random(#[from] RandomError),
}

impl KeyError {
    /// The next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::NotAKey { .. } | Self::Malformed => {
                Some("make one with `openssl genpkey -algorithm ed25519` or `windlass init`".to_owned())
            }
            Self::Random(_) => None,
        }
    }
}

impl SigningKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, KeyError> {
        let seed = Zeroizing::new(random::bytes::<32>()?);
        Ok(Self::wrap(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Reads PKCS#8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim()).map(Self::wrap).map_err(|_| KeyError::Malformed)
    }

    /// Reads a key file, unless others than its owner may read it too.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let not_a_key = || KeyError::NotAKey { path: path.to_owned() };
        let bytes = files::read_secret(path)?;
        let pem = std::str::from_utf8(&bytes).map_err(|_| not_a_key())?;
        Self::from_pem(pem).map_err(|_| not_a_key())
    }

    /// Writes a new key file with mode 0600. Never overwrites.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        self.save_telling(path, &|_| {})
    }

    /// The same, and says how far it is.
    pub fn save_telling(&self, path: &Path, tell: &dyn Fn(Stage)) -> Result<(), KeyError> {
        Ok(files::create_secret_telling(path, self.to_pem().as_bytes(), tell)?)
    }

    /// The key as PKCS#8 PEM, wiped when dropped.
    pub fn to_pem(&self) -> Zeroizing<String> {
        // Version 1 of PKCS#8 (no public key inside): what OpenSSL and every library reads.
        let pair = ed25519_dalek::pkcs8::KeypairBytes { secret_key: self.key.to_bytes(), public_key: None };
        pair.to_pkcs8_pem(LineEnding::LF).expect("32 bytes always encode")
    }

    /// Signs the bytes as they are. Use [`crate::dsse::Envelope`] for documents.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// The id of the public half.
    pub fn id(&self) -> &KeyId {
        self.public.id()
    }

    fn wrap(key: ed25519_dalek::SigningKey) -> Self {
        let public = PublicKey::of(key.verifying_key());
        Self { key, public }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id().short())
    }
}

#[cfg(test)]
mod tests;
