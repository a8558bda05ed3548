//! The end of agents and operators.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::version::TLS13;
use windlass_core::{Digest, FleetId};

use super::verifier::FleetServers;
use super::{ALPN, TlsError, provider};
use crate::csr::CertifiedIdentity;
use crate::identity::Role;
use crate::join::JoinToken;
use crate::revocation::Revocations;

/// TLS towards a coordinator. Clones share the configuration: a channel that reconnects after
/// [`ClientTls::reload`] shows the new certificate.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ArcSwap<ClientConfig>>,
    servers: Arc<FleetServers>,
    fleet: FleetId,
}

impl ClientTls {
    /// Accepts coordinators of `fleet` whose chain holds a CA with one of these fingerprints (the trust document's
    /// `ca`), and shows `identity`.
    pub fn new(
        fleet: FleetId,
        ca_pins: Vec<Digest>,
        identity: &CertifiedIdentity,
        revocations: Revocations,
    ) -> Result<Self, TlsError> {
        Self::build(fleet, ca_pins, Some(identity), revocations)
    }

    /// The same without showing a certificate: for renewing one that has expired.
    pub fn anonymous(
        fleet: FleetId,
        ca_pins: Vec<Digest>,
        revocations: Revocations,
    ) -> Result<Self, TlsError> {
        Self::build(fleet, ca_pins, None, revocations)
    }

    /// First contact: only the token is known.
    pub fn join(token: &JoinToken) -> Result<Self, TlsError> {
        Self::anonymous(token.fleet().clone(), vec![token.ca_pin()], Revocations::new())
    }

    /// Shows a renewed certificate from the next connection on.
    pub fn reload(&self, identity: &CertifiedIdentity) -> Result<(), TlsError> {
        self.config.store(Arc::new(configure(&self.fleet, self.servers.clone(), Some(identity))?));
        Ok(())
    }

    /// Accepts these CAs from the next connection on: a new trust version is in force.
    pub fn pin(&self, ca_pins: Vec<Digest>) {
        self.servers.pin(ca_pins);
    }

    /// Whether a coordinator that was let through was revoked since. Its connection must be ended; the answer is given once.
    pub fn must_part(&self) -> bool {
        let parts = self.servers.trusts_revoked();
        self.servers.forget_revoked();
        parts
    }

    /// The configuration of the next handshake.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.load_full()
    }

    fn build(
        fleet: FleetId,
        ca_pins: Vec<Digest>,
        identity: Option<&CertifiedIdentity>,
        revocations: Revocations,
    ) -> Result<Self, TlsError> {
        let servers = FleetServers::new(fleet.clone(), ca_pins, revocations);
        let config = configure(&fleet, servers.clone(), identity)?;
        Ok(Self { config: Arc::new(ArcSwap::from_pointee(config)), servers, fleet })
    }
}

fn configure(
    fleet: &FleetId,
    servers: Arc<FleetServers>,
    identity: Option<&CertifiedIdentity>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Rustls)?
        .dangerous() // named so for what it could be; ours checks more than the built-in one
        .with_custom_certificate_verifier(servers);
    let mut config = match identity {
        Some(identity) => {
            let member = &identity.peer().identity;
            if member.role() == Role::Coordinator || member.fleet() != fleet {
                return Err(TlsError::WrongRole(member.role()));
            }
            builder
                .with_client_auth_cert(identity.chain().to_vec(), identity.key().private_der())
                .map_err(TlsError::Rustls)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false; // nothing to tell an onlooker
    Ok(config)
}
