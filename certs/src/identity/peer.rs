//! Reading a leaf certificate, strictly: exactly the names and usages that our CA writes, or nothing.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use windlass_core::{Digest, Timestamp};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Grant, Identity, Role};
use crate::random::hex;

/// Ours have some 600 bytes, with a grant for 32 environments some 3000.
const MAX_DER: usize = 8 * 1024;

/// Everything a leaf certificate says. Whether it is signed and in force is the TLS layer's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Who.
    pub identity: Identity,
    /// Which issue of its certificate this is; two renewals from one generation are a clone.
    pub generation: u64,
    /// The rights of an operator; `None` for everyone else.
    pub grant: Option<Grant>,
    /// The certificate's serial number.
    pub serial: Serial,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// The public key (DER of its SubjectPublicKeyInfo); renewal proves possession of it.
    pub spki: Vec<u8>,
    /// SHA-256 of the certificate's DER.
    pub fingerprint: Digest,
}

/// A certificate's serial number, in hex.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(String);

/// The reason for which a certificate is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeer {
    /// Not X.509, or longer than any of ours.
    #[error("not a certificate")]
    Malformed,
    /// No, several, or other names.
    #[error("the certificate's names are not those of a fleet member: {0}")]
    Names(&'static str),
    /// The usages do not belong to the role.
    #[error("the certificate's usages are not those of role `{0}`")]
    Usage(Role),
    /// A CA's certificate where a leaf belongs.
    #[error("a CA certificate is no identity")]
    Ca,
}

impl PeerIdentity {
    /// Reads a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidPeer> {
        if der.len() > MAX_DER {
            return Err(InvalidPeer::Malformed);
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| InvalidPeer::Malformed)?;
        if !rest.is_empty() {
            return Err(InvalidPeer::Malformed);
        }
        if certificate.is_ca() {
            return Err(InvalidPeer::Ca);
        }
        let names = Names::of(&certificate)?;
        check_usage(&certificate, names.identity.role())?;
        let validity = certificate.validity();
        let at =
            |time: x509_parser::time::ASN1Time| Timestamp::from_millis(time.timestamp().saturating_mul(1000));
        Ok(Self {
            identity: names.identity,
            generation: names.generation,
            grant: names.grant,
            serial: Serial::of(certificate.raw_serial())?,
            not_before: at(validity.not_before),
            not_after: at(validity.not_after),
            spki: certificate.public_key().raw.to_vec(),
            fingerprint: Digest::of(der),
        })
    }

    /// Reads the first certificate of a PEM file. Nothing of it is verified.
    pub fn from_pem(text: &str) -> Result<Self, InvalidPeer> {
        let first = CertificateDer::pem_slice_iter(text.as_bytes()).next();
        let der = first.and_then(Result::ok).ok_or(InvalidPeer::Malformed)?;
        Self::from_der(&der)
    }

    /// Whether `now` lies within its validity.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// When to renew: at half life, moved by up to 10 % of it, so that a fleet that joined together does not renew
    /// together. `random` is from `0.0..1.0`.
    pub fn renew_at(&self, random: f64) -> Timestamp {
        let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
        self.not_before + self.not_after.since(self.not_before).mul_f64(0.45 + random / 10.0)
    }
}

struct Names {
    identity: Identity,
    generation: u64,
    grant: Option<Grant>,
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Result<Self, InvalidPeer> {
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| InvalidPeer::Names("given twice"))?
            .ok_or(InvalidPeer::Names("none"))?;
        let (mut identity, mut generation, mut grant) = (None, None, None);
        for name in &names.value.general_names {
            let GeneralName::URI(uri) = name else {
                return Err(InvalidPeer::Names("one is not a URI"));
            };
            let repeated = if uri.starts_with("spiffe://") {
                identity.replace(uri.parse().map_err(|_| InvalidPeer::Names("no identity"))?).is_some()
            } else if let Some(number) = uri.strip_prefix("windlass:generation/") {
                generation.replace(number_of(number)?).is_some()
            } else if let Some(text) = uri.strip_prefix("windlass:grant/") {
                grant.replace(text.parse().map_err(|_| InvalidPeer::Names("no grant"))?).is_some()
            } else {
                return Err(InvalidPeer::Names("one is unknown"));
            };
            if repeated {
                return Err(InvalidPeer::Names("one is repeated"));
            }
        }
        let identity: Identity = identity.ok_or(InvalidPeer::Names("no identity"))?;
        if grant.is_some() != (identity.role() == Role::Operator) {
            return Err(InvalidPeer::Names("operators have a grant, others have none"));
        }
        let generation = generation.ok_or(InvalidPeer::Names("no generation"))?;
        Ok(Self { identity, generation, grant })
    }
}

fn number_of(text: &str) -> Result<u64, InvalidPeer> {
    text.parse()
        .ok()
        .filter(|number: &u64| number.to_string() == text)
        .ok_or(InvalidPeer::Names("no generation"))
}

/// Agents and operators are clients only; else a stolen agent could play coordinator to others.
fn check_usage(certificate: &X509Certificate<'_>, role: Role) -> Result<(), InvalidPeer> {
    let usage = match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value,
        Ok(None) | Err(_) => return Err(InvalidPeer::Usage(role)),
    };
    let others = usage.any
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    let server = role == Role::Coordinator;
    if usage.client_auth && usage.server_auth == server && !others {
        Ok(())
    } else {
        Err(InvalidPeer::Usage(role))
    }
}

impl Serial {
    fn of(raw: &[u8]) -> Result<Self, InvalidPeer> {
        // RFC 5280 allows 20 bytes.
        if raw.is_empty() || raw.len() > 21 { Err(InvalidPeer::Malformed) } else { Ok(Self(hex(raw))) }
    }

    /// As hex.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Serial {
    type Err = InvalidSerial;
    fn from_str(text: &str) -> Result<Self, InvalidSerial> {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if digits && text.len().is_multiple_of(2) && (2..=42).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSerial(text.chars().take(80).collect()))
        }
    }
}

/// Text that is no serial number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a serial number (lowercase hex)")]
pub struct InvalidSerial(String);

impl TryFrom<String> for Serial {
    type Error = InvalidSerial;
    fn try_from(text: String) -> Result<Self, InvalidSerial> {
        text.parse()
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> String {
        serial.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
