//! One fleet's folder: keys, operator certificate, trust documents.

use std::path::{Path, PathBuf};

use windlass_certs::csr::{CertifiedIdentity, IdentityError, TlsKey};
use windlass_certs::dsse::{Envelope, VerifyError};
use windlass_certs::files::{self, FileError};
use windlass_certs::trust::{self, TrustError, TrustStore};
use windlass_core::FleetId;

use super::HomeError;

/// The folder of one fleet.
#[derive(Debug, Clone)]
pub(crate) struct FleetHome {
    root: PathBuf,
    fleet: FleetId,
}

impl FleetHome {
    pub(super) const fn new(root: PathBuf, fleet: FleetId) -> Self {
        Self { root, fleet }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// The key that signs trust documents, unless it was taken offline.
    pub(crate) fn root_key(&self) -> PathBuf {
        self.root.join("root.key")
    }

    /// The key that signs releases.
    pub(crate) fn release_key(&self) -> PathBuf {
        self.root.join("release.key")
    }

    /// The key that signs revocation lists.
    pub(crate) fn revoke_key(&self) -> PathBuf {
        self.root.join("revoke.key")
    }

    /// The operator's key and certificate.
    pub(crate) fn operator(&self) -> Result<CertifiedIdentity, HomeError> {
        CertifiedIdentity::load(&self.operator_path()).map_err(HomeError::Operator)
    }

    /// Replaces the operator's certificate.
    pub(crate) fn save_operator(&self, identity: &CertifiedIdentity) -> Result<(), HomeError> {
        identity.save(&self.operator_path()).map_err(|error| match error {
            IdentityError::File(error) => HomeError::File(error),
            other => HomeError::Operator(other),
        })
    }

    /// The key of a join that was cut off, else a new one; on disk before it is used.
    pub(crate) fn joining_key(&self) -> Result<TlsKey, HomeError> {
        files::create_private_dir(&self.root)?;
        let path = self.joining_path();
        if path.exists() {
            return TlsKey::load(&path).map_err(HomeError::Joining);
        }
        let key = TlsKey::generate().map_err(HomeError::Joining)?;
        key.save(&path).map_err(HomeError::Joining)?;
        Ok(key)
    }

    /// The key is in the identity now.
    pub(crate) fn joined(&self) {
        drop(std::fs::remove_file(self.joining_path()));
    }

    fn joining_path(&self) -> PathBuf {
        self.root.join("joining.key")
    }

    /// The trust document in force, as far as this folder knows. Version 1 is the anchor: it came with the folder,
    /// and only its owner can write here. Every later version must follow from it.
    pub(crate) fn trust(&self) -> Result<TrustStore, HomeError> {
        let failed = |source| HomeError::Trust { fleet: self.fleet.clone(), source };
        let first = self.first_trust()?;
        let pin = pin(&first).map_err(failed)?;
        let mut store = TrustStore::pinned(&self.fleet, pin, &first).map_err(failed)?;
        while let Ok(next) = std::fs::read(self.trust_path(store.version() + 1)) {
            store.advance(&next).map_err(failed)?;
        }
        Ok(store)
    }

    /// Digest of version 1: what hosts and operators who join pin.
    pub(crate) fn trust_pin(&self) -> Result<windlass_core::Digest, HomeError> {
        pin(&self.first_trust()?).map_err(|source| HomeError::Trust { fleet: self.fleet.clone(), source })
    }

    fn first_trust(&self) -> Result<Vec<u8>, HomeError> {
        match std::fs::read(self.trust_path(1)) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(HomeError::NoTrust(self.fleet.clone()))
            }
            Err(source) => Err(HomeError::Read { path: self.trust_path(1), source }),
        }
    }

    /// Keeps a version of the trust document.
    pub(crate) fn save_trust(&self, version: u64, envelope: &[u8]) -> Result<(), FileError> {
        files::create_private_dir(&self.root.join("trust"))?;
        files::replace_secret(&self.trust_path(version), envelope)
    }

    fn trust_path(&self, version: u64) -> PathBuf {
        self.root.join("trust").join(format!("{version}.json"))
    }

    fn operator_path(&self) -> PathBuf {
        self.root.join("operator.pem")
    }
}

fn pin(first: &[u8]) -> Result<windlass_core::Digest, TrustError> {
    let envelope =
        Envelope::parse(first, trust::MAX_LEN).map_err(|error: VerifyError| TrustError::from(error))?;
    Ok(envelope.digest())
}
