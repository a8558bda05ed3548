//! The TLS key of a fleet member, its certificate requests, and proof that it holds the key.
//!
//! The key is made where it is used and never leaves. A request carries only the public key: the names in it
//! are ignored, the CA writes those of the join token or of the enrolled host.

mod certified;
mod proof;

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, CertificateSigningRequestParams, KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use windlass_core::Digest;
use zeroize::Zeroizing;

use crate::files::{self, FileError, Stage};

pub use certified::{Asked, CertifiedIdentity, IdentityError};
pub use proof::{Proof, RenewalClaim, verify_proof};

/// A request of ours has some 300 bytes.
const MAX_CSR: usize = 4 * 1024;

/// A private key for TLS, ECDSA P-256. Shows nothing of itself in `Debug`.
pub struct TlsKey {
    pair: KeyPair,
}

/// The reason for which a TLS key or a request could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// The key file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a private key.
    #[error("not a TLS private key (PKCS#8 PEM, ECDSA P-256)")]
    NotAKey,
    /// The key could not be made, or not be used.
    #[error("failed to make or use a TLS key")]
    Key(#[source] rcgen::Error),
    /// Not a request, or too long for one.
    #[error("not a certificate request")]
    Malformed,
    /// A key that our CA does not certify.
    #[error("certificate requests must be for an ECDSA P-256 key")]
    Algorithm,
    /// The sender does not hold the key.
    #[error("the certificate request is not signed by its own key")]
    Unproven,
}

impl TlsKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, CsrError> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(CsrError::Key)?;
        Ok(Self { pair })
    }

    /// Reads PKCS#8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, CsrError> {
        KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map(|pair| Self { pair })
            .map_err(|_| CsrError::NotAKey)
    }

    /// Reads a key file of mode 0600.
    pub fn load(path: &Path) -> Result<Self, CsrError> {
        let bytes = files::read_secret(path)?;
        Self::from_pem(std::str::from_utf8(&bytes).map_err(|_| CsrError::NotAKey)?)
    }

    /// Writes a new key file of mode 0600. Never overwrites.
    pub fn save(&self, path: &Path) -> Result<(), CsrError> {
        self.save_telling(path, &|_| {})
    }

    /// The same, and says how far it is.
    pub fn save_telling(&self, path: &Path, tell: &dyn Fn(Stage)) -> Result<(), CsrError> {
        Ok(files::create_secret_telling(path, self.to_pem().as_bytes(), tell)?)
    }

    /// The key as PKCS#8 PEM, wiped when dropped.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }

    /// The public half: DER of its SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// A request for a certificate, signed by this key.
    pub fn csr(&self) -> Result<Csr, CsrError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.pair).map_err(CsrError::Key)?;
        Csr::from_der(request.der())
    }

    /// For rustls.
    pub(crate) fn private_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der()).into()
    }

    pub(crate) const fn pair(&self) -> &KeyPair {
        &self.pair
    }
}

impl Clone for TlsKey {
    fn clone(&self) -> Self {
        Self::from_pem(&self.to_pem()).expect("a key that was written is read")
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsKey(spki {})", Digest::of(&self.spki()).short())
    }
}

/// A certificate request whose own signature holds: its sender has the key.
pub struct Csr {
    der: Vec<u8>,
    spki: Vec<u8>,
    pub(crate) key: rcgen::PublicKey,
}

impl Csr {
    /// Reads a request (PKCS#10 DER) and checks that it is signed by its own key. Everything in it but the key is
    /// ignored.
    pub fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > MAX_CSR {
            return Err(CsrError::Malformed);
        }
        let request = CertificateSigningRequestDer::from(der);
        let parsed = CertificateSigningRequestParams::from_der(&request).map_err(|error| match error {
            rcgen::Error::InvalidCertificationRequestSignature => CsrError::Unproven,
            rcgen::Error::UnsupportedSignatureAlgorithm => CsrError::Algorithm,
            _ => CsrError::Malformed,
        })?;
        if *parsed.public_key.algorithm() != rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(CsrError::Algorithm);
        }
        let spki = parsed.public_key.subject_public_key_info();
        Ok(Self { der: der.to_vec(), spki, key: parsed.public_key })
    }

    /// The request as it was sent.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The key it is for: DER of its SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the request.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.der)
    }
}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Csr({})", self.digest().short())
    }
}

/// PEM with lines of 64 characters.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|b| char::from(*b)));
        text.push('\n');
    }
    text + "-----END " + label + "-----\n"
}

#[cfg(test)]
mod tests;
