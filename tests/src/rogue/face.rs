//! The chain that the rogue shows in a TLS handshake, and the key of its leaf.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::TlsKey;
use windlass_certs::identity::Identity;
use windlass_core::{FleetId, Timestamp};

use windlass_testkit::now;

/// A chain and its key.
#[derive(Debug)]
pub struct Face {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Face {
    /// A certificate that `ca` issues for `leaf` at `at`, followed by the CA's own.
    ///
    /// # Panics
    /// If the CA does not issue it.
    pub fn issued(ca: &CertificateAuthority, leaf: &Leaf, at: Timestamp) -> Self {
        let key = TlsKey::generate().expect("a key can be made");
        let csr = key.csr().expect("a request can be made");
        let issued = ca.issue(&csr, leaf, at).expect("the CA issues it");
        Self { chain: vec![issued.der, ca.certificate().clone()], key: private(&key) }
    }

    /// The coordinator that the fleet expects.
    pub fn coordinator(ca: &CertificateAuthority, at: Timestamp) -> Self {
        Self::issued(ca, &Leaf::coordinator(Identity::coordinator(ca.fleet().clone(), name()), 1), at)
    }

    /// One that was valid until yesterday.
    pub fn expired(ca: &CertificateAuthority) -> Self {
        Self::coordinator(ca, now() - Duration::from_secs(48 * 3600))
    }

    /// The CA's own certificate and key, shown as a leaf. `folder` is for its files.
    ///
    /// # Panics
    /// If the CA cannot be written.
    pub fn of_ca(ca: &CertificateAuthority, folder: &Path) -> Self {
        ca.save(folder).expect("the CA can be written");
        let key = TlsKey::load(&folder.join("ca.key")).expect("and read");
        Self { chain: vec![ca.certificate().clone(), ca.certificate().clone()], key: private(&key) }
    }

    /// The same leaf with other certificates behind it.
    #[must_use]
    pub fn followed_by(mut self, others: &[&CertificateAuthority]) -> Self {
        self.chain.truncate(1);
        self.chain.extend(others.iter().map(|ca| ca.certificate().clone()));
        self
    }

    /// A CA of the same name that nobody pinned.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn other_ca(fleet: FleetId) -> CertificateAuthority {
        CertificateAuthority::generate(fleet, now()).expect("a CA can be made")
    }

    /// A TLS server with this face. It asks nobody for a certificate: it takes whoever comes.
    pub(super) fn config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

fn name() -> windlass_core::HostId {
    super::keys::host("coordinator")
}

fn private(key: &TlsKey) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(key.to_pem().as_bytes()).expect("a key that was written is read")
}
