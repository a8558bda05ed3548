//! The coordinator's own keys: the CA that enrols hosts, the dispatch key, the audit key.
//!
//! They lie in the data folder with mode 0600, written by `windlass init`. Root and release keys never come
//! here, so that nothing on this machine can author what runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use windlass_certs::ca::{CaError, CertificateAuthority, Issued, Leaf};
use windlass_certs::csr::{CertifiedIdentity, Csr};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::identity::{Grant, Identity};
use windlass_certs::keys::{KeyError, SigningKey};
use windlass_certs::trust::{TrustError, TrustStore};
use windlass_core::{FleetId, HostId, Timestamp};

use crate::config::Lifetimes;
use crate::recovery::{Confirmed, Vouching};
use crate::store::dump::Sealer;

/// CA and keys. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ca: CertificateAuthority,
    dispatch: SigningKey,
    audit: SigningKey,
    lifetimes: Lifetimes,
    /// When the newest of its own certificates ends, in milliseconds.
    own_until: AtomicI64,
}

/// The reason for which the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The CA.
    #[error("failed to load the CA")]
    Ca(#[from] CaError),
    /// A key.
    #[error("failed to load a key")]
    Key(#[from] KeyError),
    /// The trust document cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The trust document is not one.
    #[error("`{path}` is not version 1 of a trust document")]
    Trust {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// Two fleets in one folder.
    #[error("the CA is of fleet `{ca}`, the trust document of fleet `{trust}`")]
    OtherFleet {
        /// The CA's.
        ca: FleetId,
        /// The trust document's.
        trust: FleetId,
    },
}

impl AuthorityError {
    /// The next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Key(error) => error.hint(),
            Self::Read { .. } | Self::Ca(_) => Some(
                "a new fleet gets its folder from `windlass init --server-dir DIR`; one that is there already needs its files back, from the \
                 backup or the machine that has them, never new ones"
                    .to_owned(),
            ),
            Self::Trust { .. } | Self::OtherFleet { .. } => None,
        }
    }
}

/// Reads version 1 of the trust document. It is the anchor here: hosts pin its digest when they join.
pub(crate) fn first_trust(data: &Path) -> Result<TrustStore, AuthorityError> {
    let path = data.join("trust").join("1.json");
    let bytes = std::fs::read(&path).map_err(|source| AuthorityError::Read { path: path.clone(), source })?;
    let open = || -> Result<TrustStore, TrustError> {
        let envelope = Envelope::parse(&bytes, windlass_certs::trust::MAX_LEN)?;
        let claimed: windlass_certs::trust::TrustDocument =
            windlass_certs::json::decode_bounded(envelope.payload_bytes(), windlass_certs::trust::MAX_LEN)
                .map_err(|source| windlass_certs::dsse::VerifyError::Malformed {
                    what: "the trust document",
                    source: Some(source),
                })?;
        TrustStore::pinned(&claimed.fleet, envelope.digest(), &bytes)
    };
    open().map_err(|source| AuthorityError::Trust { path, source })
}

impl Authority {
    /// Loads CA and keys from the data folder.
    pub(crate) fn load(data: &Path, fleet: &FleetId, lifetimes: Lifetimes) -> Result<Self, AuthorityError> {
        let ca = CertificateAuthority::load(&data.join("ca"))?;
        if ca.fleet() != fleet {
            return Err(AuthorityError::OtherFleet { ca: ca.fleet().clone(), trust: fleet.clone() });
        }
        let keys = data.join("keys");
        let dispatch = SigningKey::load(&keys.join("dispatch.key"))?;
        let audit = SigningKey::load(&keys.join("audit.key"))?;
        Ok(Self::new(ca, dispatch, audit, lifetimes))
    }

    /// From keys that are in memory.
    pub(crate) fn new(
        ca: CertificateAuthority,
        dispatch: SigningKey,
        audit: SigningKey,
        lifetimes: Lifetimes,
    ) -> Self {
        Self { inner: Arc::new(Inner { ca, dispatch, audit, lifetimes, own_until: AtomicI64::new(0) }) }
    }

    /// The CA.
    pub(crate) fn ca(&self) -> &CertificateAuthority {
        &self.inner.ca
    }

    /// A certificate for a host.
    pub(crate) fn certify_agent(
        &self,
        host: HostId,
        csr: &Csr,
        generation: u64,
        now: Timestamp,
    ) -> Result<Issued, CaError> {
        let mut leaf = Leaf::agent(Identity::agent(self.inner.ca.fleet().clone(), host), generation);
        leaf.validity = self.inner.lifetimes.agent;
        self.inner.ca.issue(csr, &leaf, now)
    }

    /// The next certificate of an operator, with the grant of the one before.
    pub(crate) fn certify_operator(
        &self,
        identity: Identity,
        grant: Grant,
        csr: &Csr,
        generation: u64,
        now: Timestamp,
    ) -> Result<Issued, CaError> {
        let mut leaf = Leaf::operator(identity, grant, generation);
        leaf.validity = self.inner.lifetimes.operator;
        self.inner.ca.issue(csr, &leaf, now)
    }

    /// The coordinator's own key and certificate.
    pub(crate) fn own(&self, name: HostId, now: Timestamp) -> Result<CertifiedIdentity, CaError> {
        let identity = Identity::coordinator(self.inner.ca.fleet().clone(), name);
        let mut leaf = Leaf::coordinator(identity, 1);
        leaf.validity = self.inner.lifetimes.coordinator;
        let own = self.inner.ca.issue_new(&leaf, now)?;
        self.inner.own_until.store(own.peer().not_after.as_millis(), Ordering::Relaxed);
        Ok(own)
    }

    /// When the newest of the coordinator's own certificates ends; `None` before there was one.
    pub(crate) fn own_until(&self) -> Option<Timestamp> {
        let until = self.inner.own_until.load(Ordering::Relaxed);
        (until > 0).then(|| Timestamp::from_millis(until))
    }

    /// Signs a host plan.
    pub(crate) fn sign_plan(&self, payload: Vec<u8>) -> Envelope {
        Envelope::sign(PayloadType::Plan, payload, &[&self.inner.dispatch])
    }

    /// Signs a traffic table.
    pub(crate) fn sign_routes(&self, payload: Vec<u8>) -> Envelope {
        Envelope::sign(PayloadType::Routes, payload, &[&self.inner.dispatch])
    }

    /// The lifetimes of certificates.
    pub(crate) fn lifetimes(&self) -> Lifetimes {
        self.inner.lifetimes
    }

    /// The CA, to vouch for certificates.
    pub(crate) fn vouching(&self, confirmed: Confirmed, now: Timestamp) -> Vouching {
        let ca = &self.inner.ca;
        Vouching { fleet: ca.fleet().clone(), root: ca.certificate().clone().into_owned(), confirmed, now }
    }

    /// Signs backups of the store, and knows them again.
    pub(crate) fn sealer(&self, now: Timestamp) -> Sealer {
        Sealer::new(self.inner.audit.clone(), self.inner.ca.fleet().clone(), now)
    }

    /// Signs a checkpoint of the audit log.
    pub(crate) fn sign_checkpoint(&self, payload: Vec<u8>) -> Envelope {
        Envelope::sign(PayloadType::Audit, payload, &[&self.inner.audit])
    }
}
