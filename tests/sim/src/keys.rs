//! The keys of the simulated fleet, made once per process: nothing that is decided depends on them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use windlass_certs::ca::CertificateAuthority;
use windlass_certs::csr::{Csr, TlsKey};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{Roles, TrustDocument, TrustStore};
use windlass_core::plan::HostPlan;
use windlass_core::{Counter, FleetId, ServiceId, Timestamp};
use windlass_server::embedded;
use windlass_testkit::keys::{self as testkit, key};

/// When every simulation begins.
pub const BEGIN: Timestamp = Timestamp::from_millis(1_750_000_000_000);
/// Hosts of a simulation, at most; each may join again with another key.
pub const MOST_HOSTS: usize = 6;

/// Every key in one hand.
pub struct Keys {
    /// Signs trust documents.
    pub root: SigningKey,
    /// Signs releases.
    pub release: SigningKey,
    /// Nobody the trust document knows.
    pub stranger: SigningKey,
    /// Signs receipts of every host.
    pub receipts: SigningKey,
    /// The coordinator's.
    pub server: embedded::Keys,
    /// TLS keys of hosts: requests, DER.
    requests: Vec<Vec<u8>>,
    dispatch: SigningKey,
    audit: SigningKey,
    ca: windlass_core::Digest,
}

/// The fleet's name.
///
/// # Panics
/// Never: it is a constant.
pub fn fleet() -> FleetId {
    "sim".parse().expect("a fleet's name")
}

/// The keys.
///
/// # Panics
/// Without randomness.
pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(Keys::generate)
}

impl Keys {
    fn generate() -> Self {
        let request = || TlsKey::generate().and_then(|key| key.csr()).expect("the kernel has randomness");
        let ca = CertificateAuthority::generate(fleet(), BEGIN).expect("a CA can be made");
        let (dispatch, audit, fingerprint) = (key(), key(), ca.fingerprint());
        Self {
            root: key(),
            release: key(),
            stranger: key(),
            receipts: key(),
            server: embedded::Keys::new(ca, dispatch.clone(), audit.clone()),
            requests: (0..MOST_HOSTS * 2).map(|_| request().der().to_vec()).collect(),
            dispatch,
            audit,
            ca: fingerprint,
        }
    }

    /// A host's request for a certificate. It has two keys, which it uses in turn.
    ///
    /// # Panics
    /// Never: it was made here.
    pub fn request(&self, host: usize, joined: usize) -> Csr {
        let request = &self.requests[(host * 2 + joined % 2) % self.requests.len()];
        Csr::from_der(request).expect("a request of ours")
    }

    /// A version of the trust document, signed.
    ///
    /// # Panics
    /// Never: a trust document is JSON.
    pub fn trust(&self, version: u64, floors: &BTreeMap<ServiceId, Counter>) -> Vec<u8> {
        let roles = Roles {
            release: vec![testkit::releases(&[&self.release])],
            dispatch: testkit::role(&[&self.dispatch]),
            audit: testkit::role(&[&self.audit]),
            revoke: None,
        };
        let document = TrustDocument {
            fleet: fleet(),
            version,
            ca: vec![self.ca],
            floors: floors.clone(),
            ..testkit::document(&self.root, roles, BEGIN)
        };
        testkit::seal_trust(&document, &[&self.root])
    }

    /// A plan, signed by the key of coordinators.
    ///
    /// # Panics
    /// Never: a plan is JSON.
    pub fn plan(&self, plan: &HostPlan) -> Vec<u8> {
        testkit::seal(PayloadType::Plan, plan, &[&self.dispatch]).to_bytes()
    }

    /// A trust store that has version 1.
    ///
    /// # Panics
    /// Never: it was signed here.
    pub fn first_trust(&self) -> TrustStore {
        let envelope = self.trust(1, &BTreeMap::new());
        let parsed = Envelope::parse(&envelope, windlass_certs::trust::MAX_LEN).expect("an envelope of ours");
        TrustStore::pinned(&fleet(), parsed.digest(), &envelope).expect("signed by the root key")
    }
}
