//! The coordinator's end.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;

use super::verifier::FleetClients;
use super::{ALPN, TlsError, provider};
use crate::csr::CertifiedIdentity;
use crate::identity::Role;
use crate::revocation::Revocations;

/// TLS for a listener. Clones share the configuration, so that a renewal reaches every acceptor.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<ArcSwap<ServerConfig>>,
    revocations: Revocations,
}

impl ServerTls {
    /// A listener that presents `identity` (leaf and CA) and accepts clients without a certificate, or with a valid
    /// one of an agent or operator of the same fleet, signed by one of `roots`, not revoked.
    pub fn new(
        identity: &CertifiedIdentity,
        roots: &[CertificateDer<'static>],
        revocations: Revocations,
    ) -> Result<Self, TlsError> {
        let config = configure(identity, roots, revocations.clone())?;
        Ok(Self { config: Arc::new(ArcSwap::from_pointee(config)), revocations })
    }

    /// Takes a new certificate, and new roots while a CA is replaced. Connections that stand are not touched.
    pub fn reload(
        &self,
        identity: &CertifiedIdentity,
        roots: &[CertificateDer<'static>],
    ) -> Result<(), TlsError> {
        self.config.store(Arc::new(configure(identity, roots, self.revocations.clone())?));
        Ok(())
    }

    /// The revoked set, and the live connections.
    pub const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// The configuration of the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

fn configure(
    identity: &CertifiedIdentity,
    roots: &[CertificateDer<'static>],
    revocations: Revocations,
) -> Result<ServerConfig, TlsError> {
    let member = &identity.peer().identity;
    if member.role() != Role::Coordinator {
        return Err(TlsError::WrongRole(member.role()));
    }
    let clients = FleetClients::new(member.fleet().clone(), roots, revocations)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Rustls)?
        .with_client_cert_verifier(clients)
        .with_single_cert(identity.chain().to_vec(), identity.key().private_der())
        .map_err(TlsError::Rustls)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}
