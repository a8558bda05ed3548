//! Proof of possession: renewing with a certificate that has expired, when TLS can no longer say who one is.
//!
//! The coordinator gives a fresh challenge; the host signs it, with who it is and what it asks for, with its
//! *enrolled* key. The prefix keeps the bytes apart from everything else that key ever signs (TLS handshakes begin
//! with 64 spaces, requests with an ASN.1 sequence).

use rcgen::SigningKey;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use windlass_core::{Digest, FleetId, HostId};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{CsrError, TlsKey};

const PREFIX: &[u8] = b"windlass-renew-v1\0";

/// The claim of a renewing host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalClaim {
    /// Its fleet.
    pub fleet: FleetId,
    /// Its name.
    pub host: HostId,
    /// The generation of the certificate it has.
    pub generation: u64,
    /// The coordinator's challenge to sign, used once.
    pub challenge: [u8; 32],
    /// The request for the new certificate.
    pub csr: Digest,
}

/// A signature over a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof(pub Vec<u8>);

impl RenewalClaim {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = PREFIX.to_vec();
        // Names are labels without a zero byte, so that the separator makes this unambiguous.
        for name in [self.fleet.as_str(), self.host.as_str()] {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.challenge);
        bytes.extend_from_slice(self.csr.as_bytes());
        bytes
    }
}

impl TlsKey {
    /// Signs a claim with this key.
    pub fn prove(&self, claim: &RenewalClaim) -> Result<Proof, CsrError> {
        self.pair().sign(&claim.to_bytes()).map(Proof).map_err(CsrError::Key)
    }
}

/// Whether `proof` over `claim` was made with the key that was enrolled (its SubjectPublicKeyInfo, as kept from
/// [`crate::identity::PeerIdentity::spki`]).
pub fn verify_proof(enrolled_spki: &[u8], claim: &RenewalClaim, proof: &Proof) -> bool {
    let Ok(([], spki)) = SubjectPublicKeyInfo::from_der(enrolled_spki) else { return false };
    let point = spki.subject_public_key.data;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(&claim.to_bytes(), &proof.0).is_ok()
}
