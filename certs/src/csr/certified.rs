//! A key with its certificate, as it lies on disk.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use windlass_core::Digest;
use zeroize::Zeroizing;

use super::{CsrError, TlsKey};
use crate::files::{self, FileError, Stage};
use crate::identity::{Grant, Identity, InvalidPeer, PeerIdentity};
use crate::tls::{TlsError, verify_issued};

/// The leaf, and the CA that issued it.
const MAX_CHAIN: usize = 4;
const KEY_END: &str = "-----END PRIVATE KEY-----";

/// A TLS key and its certificate chain (leaf first, then the CA), known to belong together.
///
/// On disk it is one PEM file of mode 0600, key first, replaced as a whole: no crash leaves a key with another
/// key's certificate.
#[derive(Debug, Clone)]
pub struct CertifiedIdentity {
    key: TlsKey,
    chain: Vec<CertificateDer<'static>>,
    peer: PeerIdentity,
}

/// The reason for which a key and a chain are no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key.
    #[error("failed to read the key")]
    Key(#[source] CsrError),
    /// The file holds something else.
    #[error("`{path}` is not a key with its certificates (PEM)")]
    NotAnIdentity {
        /// The file.
        path: PathBuf,
    },
    /// No certificate, or more than a chain has.
    #[error("a chain has 1 to {MAX_CHAIN} certificates in PEM")]
    Chain,
    /// The leaf is not one of ours.
    #[error("the certificate is not that of a fleet member")]
    Leaf(#[source] InvalidPeer),
    /// Somebody else's certificate.
    #[error("the certificate is for another key")]
    OtherKey,
    /// Of a CA that the trust document does not name.
    #[error("the certificate is not one of this fleet's CA")]
    OtherCa(#[source] Box<TlsError>),
    /// Somebody else's name.
    #[error("the certificate is that of `{got}`, not of `{want}`")]
    OtherName {
        /// The member that asked.
        want: Box<Identity>,
        /// Whom it names.
        got: Box<Identity>,
    },
    /// Another role or scope than was promised.
    #[error("the certificate lets its holder be {got}, {want} was promised")]
    OtherGrant {
        /// The promised value.
        want: String,
        /// The value in the certificate.
        got: String,
    },
}

/// Requirements on a certificate that a member asks a coordinator for. The coordinator is believed in nothing of it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// For whom.
    pub identity: &'a Identity,
    /// With which grant; any if nobody promised one.
    pub grant: Option<&'a Grant>,
    /// Fingerprints of the CAs that count.
    pub ca_pins: &'a [Digest],
}

impl IdentityError {
    /// The next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Key(_) | Self::NotAnIdentity { .. } | Self::Chain | Self::Leaf(_) | Self::OtherKey => {
                Some("join the host again, or ask an admin for a new operator certificate".to_owned())
            }
            Self::OtherCa(_) | Self::OtherName { .. } | Self::OtherGrant { .. } => {
                Some("do not use this coordinator before an admin has looked at it".to_owned())
            }
        }
    }
}

impl CertifiedIdentity {
    /// Puts a key and the chain that was issued for it together.
    pub fn new(key: TlsKey, chain_pem: &str) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .take(MAX_CHAIN + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| IdentityError::Chain)?;
        Self::from_der(key, chain)
    }

    /// The same, and the chain is what was asked for: of a pinned CA, for this name and with this grant. Everything
    /// that a coordinator hands out goes through here before it is kept.
    pub fn issued(key: TlsKey, chain_pem: &str, asked: Asked<'_>) -> Result<Self, IdentityError> {
        let issued = Self::new(key, chain_pem)?;
        let fleet = asked.identity.fleet();
        let peer = verify_issued(fleet, asked.ca_pins, &issued.chain)
            .map_err(|error| IdentityError::OtherCa(Box::new(error)))?;
        if peer.identity != *asked.identity {
            let (want, got) = (Box::new(asked.identity.clone()), Box::new(peer.identity));
            return Err(IdentityError::OtherName { want, got });
        }
        match asked.grant {
            Some(want) if peer.grant.as_ref() != Some(want) => {
                let got = peer.grant.map_or_else(|| "nothing".to_owned(), |grant| grant.to_string());
                Err(IdentityError::OtherGrant { want: want.to_string(), got })
            }
            _ => Ok(issued),
        }
    }

    /// The same as [`CertifiedIdentity::new`] from DER, leaf first.
    pub fn from_der(key: TlsKey, chain: Vec<CertificateDer<'static>>) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(IdentityError::Chain)?;
        if chain.len() > MAX_CHAIN {
            return Err(IdentityError::Chain);
        }
        let peer = PeerIdentity::from_der(leaf).map_err(IdentityError::Leaf)?;
        if peer.spki != key.spki() {
            return Err(IdentityError::OtherKey);
        }
        Ok(Self { key, chain, peer })
    }

    /// Reads the file that [`CertifiedIdentity::save`] wrote.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let other = || IdentityError::NotAnIdentity { path: path.to_owned() };
        let bytes = files::read_secret(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| other())?;
        let (key, chain) = text.split_once(KEY_END).ok_or_else(other)?;
        let key = Zeroizing::new(format!("{key}{KEY_END}\n"));
        Self::new(TlsKey::from_pem(&key).map_err(IdentityError::Key)?, chain)
    }

    /// Writes the file, or replaces it as a whole.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        self.save_telling(path, &|_| {})
    }

    /// The same, and says how far it is.
    pub fn save_telling(&self, path: &Path, tell: &dyn Fn(Stage)) -> Result<(), IdentityError> {
        let mut pem = self.key.to_pem();
        pem.push_str(&self.chain_pem());
        Ok(files::replace_secret_telling(path, pem.as_bytes(), tell)?)
    }

    /// The content of the leaf.
    pub const fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    /// The key, for the next request.
    pub const fn key(&self) -> &TlsKey {
        &self.key
    }

    /// Leaf first, then the CA.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| super::pem("CERTIFICATE", der)).collect()
    }
}
