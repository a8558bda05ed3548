//! The fleet's certificate authority. It lives on the coordinator, which enrols hosts; which CAs count is written
//! in the trust document, which the coordinator cannot sign.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use windlass_core::{Digest, FleetId, Timestamp};

use crate::csr::{CertifiedIdentity, Csr, CsrError, IdentityError, TlsKey, pem};
use crate::files::{self, FileError};
use crate::identity::{Grant, Identity, InvalidPeer, MAX_GRANT_ENVIRONMENTS, PeerIdentity, Role};
use crate::random::{self, RandomError};

pub use crate::identity::BACKDATE;

/// Validity of the CA's own certificate.
pub const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Agents and coordinators.
pub const MEMBER_VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// Operators.
pub const OPERATOR_VALIDITY: Duration = Duration::from_secs(8 * 3600);

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";

/// A CA that can issue.
pub struct CertificateAuthority {
    fleet: FleetId,
    certificate: CertificateDer<'static>,
    key: TlsKey,
}

/// The content of a certificate to issue. Nothing of it comes from the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// For whom.
    pub identity: Identity,
    /// The rights of an operator; `None` for everyone else.
    pub grant: Option<Grant>,
    /// Which issue this is.
    pub generation: u64,
    /// From now.
    pub validity: Duration,
}

/// A certificate that was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The leaf, DER.
    pub der: CertificateDer<'static>,
    /// Leaf and CA, PEM: what the holder stores and presents.
    pub chain_pem: String,
    /// Serial, validity and key of the leaf.
    pub peer: PeerIdentity,
}

/// The reason for which the CA could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key.
    #[error("failed to use the CA's key")]
    Key(#[from] CsrError),
    /// The certificate file holds something else.
    #[error("`{path}` is not the certificate of a Windlass CA that belongs to the key beside it")]
    NotACa {
        /// The file.
        path: PathBuf,
    },
    /// Encoding or signing failed.
    #[error("failed to make a certificate")]
    Make(#[source] rcgen::Error),
    /// No randomness for the serial number.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Asked for something that no peer would accept.
    #[error("refused to issue a certificate that is not one of a fleet member: {0}")]
    Refused(&'static str),
    /// The issued certificate differs from the intended one.
    #[error("the certificate that was made is not valid")]
    Invalid(#[source] InvalidPeer),
    /// A new key and its certificate do not fit; cannot happen.
    #[error("failed to put a key and its certificate together")]
    Identity(#[from] IdentityError),
}

impl Leaf {
    /// For a host's agent, 24 h.
    pub const fn agent(identity: Identity, generation: u64) -> Self {
        Self { identity, grant: None, generation, validity: MEMBER_VALIDITY }
    }

    /// For a coordinator, 24 h.
    pub const fn coordinator(identity: Identity, generation: u64) -> Self {
        Self { identity, grant: None, generation, validity: MEMBER_VALIDITY }
    }

    /// For an operator, 8 h.
    pub const fn operator(identity: Identity, grant: Grant, generation: u64) -> Self {
        Self { identity, grant: Some(grant), generation, validity: OPERATOR_VALIDITY }
    }
}

impl CertificateAuthority {
    /// Makes a new CA, valid for ten years.
    pub fn generate(fleet: FleetId, now: Timestamp) -> Result<Self, CaError> {
        let key = TlsKey::generate()?;
        let mut params = empty(serial()?, now - BACKDATE, now + CA_VALIDITY);
        // Two CAs of a fleet, during a replacement, must not have one name.
        let name = format!("Windlass CA of {fleet} {}", Digest::of(&key.spki()).short());
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, fleet.as_str());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(key.pair()).map_err(CaError::Make)?;
        Ok(Self { fleet, certificate: certificate.der().clone(), key })
    }

    /// Reads `ca.pem` and `ca.key` of a folder.
    pub fn load(dir: &Path) -> Result<Self, CaError> {
        let path = dir.join(CERTIFICATE_FILE);
        let not_a_ca = || CaError::NotACa { path: path.clone() };
        let pem = files::read_public(&path)?;
        let key = TlsKey::load(&dir.join(KEY_FILE))?;
        let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| not_a_ca())?;
        let (fleet, spki) = read_ca(&certificate).ok_or_else(not_a_ca)?;
        if spki != key.spki() {
            return Err(not_a_ca());
        }
        Ok(Self { fleet, certificate, key })
    }

    /// Writes `ca.pem` and `ca.key`, both 0600 (the certificate may be opened up), into a folder (made if missing). Never overwrites.
    pub fn save(&self, dir: &Path) -> Result<(), CaError> {
        files::create_private_dir(dir)?;
        self.key.save(&dir.join(KEY_FILE))?;
        Ok(files::create_secret(&dir.join(CERTIFICATE_FILE), self.certificate_pem().as_bytes())?)
    }

    /// Issues a certificate for the key of `csr`; everything else is `leaf`'s.
    pub fn issue(&self, csr: &Csr, leaf: &Leaf, now: Timestamp) -> Result<Issued, CaError> {
        let params = self.params(leaf, now)?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, self.key.pair()).map_err(CaError::Make)?;
        let made = params.signed_by(&csr.key, &issuer).map_err(CaError::Make)?;
        let der = made.der().clone();
        // Whatever we issue, we accept: the reader of the other side runs here too.
        let peer = PeerIdentity::from_der(&der).map_err(CaError::Invalid)?;
        let chain_pem = pem("CERTIFICATE", &der) + &self.certificate_pem();
        Ok(Issued { der, chain_pem, peer })
    }

    /// Makes a key and its certificate in one go: the coordinator's own, or those that `init` makes.
    pub fn issue_new(&self, leaf: &Leaf, now: Timestamp) -> Result<CertifiedIdentity, CaError> {
        let key = TlsKey::generate()?;
        let issued = self.issue(&key.csr()?, leaf, now)?;
        Ok(CertifiedIdentity::new(key, &issued.chain_pem)?)
    }

    /// SHA-256 of the certificate's DER: the pin in join tokens and the trust document.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// Its certificate, DER.
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// Its fleet.
    pub const fn fleet(&self) -> &FleetId {
        &self.fleet
    }

    fn params(&self, leaf: &Leaf, now: Timestamp) -> Result<CertificateParams, CaError> {
        let identity = &leaf.identity;
        if *identity.fleet() != self.fleet {
            return Err(CaError::Refused("of another fleet"));
        }
        if leaf.grant.is_some() != (identity.role() == Role::Operator) {
            return Err(CaError::Refused("operators have a grant, others have none"));
        }
        let environments = leaf.grant.as_ref().and_then(|grant| grant.environments.as_ref());
        if environments.is_some_and(|list| list.is_empty() || list.len() > MAX_GRANT_ENVIRONMENTS) {
            return Err(CaError::Refused("a grant has 1 to 32 environments, or all"));
        }
        let mut params = empty(serial()?, now - BACKDATE, now + leaf.validity);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{} {}", identity.role(), identity.name()));
        let mut names = vec![identity.to_string(), format!("windlass:generation/{}", leaf.generation)];
        names.extend(leaf.grant.as_ref().map(|grant| format!("windlass:grant/{grant}")));
        params.subject_alt_names = names
            .into_iter()
            .map(|name| name.try_into().map(SanType::URI))
            .collect::<Result<_, _>>()
            .map_err(CaError::Make)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if identity.role() == Role::Coordinator {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateAuthority({}, {})", self.fleet, self.fingerprint().short())
    }
}

/// The certificates that count as CAs of `fleet`, from PEM: what a coordinator hands to
/// [`crate::tls::ServerTls`] while a CA is being replaced.
pub fn certificates_from_pem(bytes: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(bytes)
        .take(16)
        .filter_map(Result::ok)
        .filter(|der| read_ca(der).is_some())
        .collect()
}

/// The fleet and the key of a CA certificate of ours.
fn read_ca(der: &[u8]) -> Option<(FleetId, Vec<u8>)> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() || !certificate.is_ca() {
        return None;
    }
    let fleet = certificate.subject().iter_organization().next()?.as_str().ok()?.parse().ok()?;
    Some((fleet, certificate.public_key().raw.to_vec()))
}

fn empty(serial: SerialNumber, not_before: Timestamp, not_after: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial);
    params.not_before = date(not_before);
    params.not_after = date(not_after);
    params.distinguished_name = DistinguishedName::new();
    params
}

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_millis() / 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn serial() -> Result<SerialNumber, RandomError> {
    let mut bytes: [u8; 16] = random::bytes()?;
    // Positive, and always 16 bytes: one spelling in DER and in our lists.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests;
