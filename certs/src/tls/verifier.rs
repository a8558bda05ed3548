//! Both verifiers of a peer, as rustls calls them in a handshake.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use windlass_core::{Digest, FleetId};

use super::{TlsError, provider};
use crate::identity::{InvalidPeer, PeerIdentity, Role};
use crate::revocation::Revocations;

/// A chain of ours has a leaf and a CA.
const MAX_INTERMEDIATES: usize = 3;

/// The reason for which a certificate that is signed by our CA is refused all the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("not the certificate of a fleet member")]
    Invalid(#[source] InvalidPeer),
    #[error("a member of fleet `{0}`")]
    Fleet(FleetId),
    #[error("role `{0}` may not be at this end")]
    Role(Role),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

/// The checks of both ends after the signature chain holds.
#[derive(Debug, Clone)]
struct Members {
    fleet: FleetId,
    roles: &'static [Role],
    revocations: Revocations,
}

impl Members {
    fn check(&self, leaf: &CertificateDer<'_>) -> Result<PeerIdentity, Error> {
        let peer = PeerIdentity::from_der(leaf).map_err(Refused::Invalid)?;
        if *peer.identity.fleet() != self.fleet {
            return Err(Refused::Fleet(peer.identity.fleet().clone()).into());
        }
        if !self.roles.contains(&peer.identity.role()) {
            return Err(Refused::Role(peer.identity.role()).into());
        }
        if self.revocations.is_revoked(&peer) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(peer)
    }
}

/// The coordinator's view: no certificate, or a valid one of an agent or an operator.
#[derive(Debug)]
pub(super) struct FleetClients {
    chain: Arc<dyn ClientCertVerifier>,
    members: Members,
}

impl FleetClients {
    pub(super) fn new(
        fleet: FleetId,
        roots: &[CertificateDer<'static>],
        revocations: Revocations,
    ) -> Result<Arc<Self>, TlsError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone()).map_err(TlsError::Rustls)?;
        }
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|_| TlsError::NoRoots)?;
        let members = Members { fleet, roles: &[Role::Agent, Role::Operator], revocations };
        Ok(Arc::new(Self { chain, members }))
    }
}

/// Returns the content of an expired certificate, if one of `roots` signed it, it was good on its last day, and it was not
/// revoked. Renewal needs this for operators: the coordinator keeps no record of their keys.
///
/// # Errors
/// The reason for which it would not have been accepted even then.
pub fn verify_expired(
    fleet: &FleetId,
    roots: &[CertificateDer<'static>],
    revocations: &Revocations,
    leaf: &[u8],
) -> Result<PeerIdentity, TlsError> {
    let peer =
        PeerIdentity::from_der(leaf).map_err(|error| TlsError::Rustls(Refused::Invalid(error).into()))?;
    let clients = FleetClients::new(fleet.clone(), roots, revocations.clone())?;
    let last_day = u64::try_from(peer.not_after.as_millis() / 1000).unwrap_or(0);
    let then = UnixTime::since_unix_epoch(std::time::Duration::from_secs(last_day));
    clients.verify_client_cert(&CertificateDer::from(leaf), &[], then).map_err(TlsError::Rustls)?;
    Ok(peer)
}

/// Returns the content of a certificate that a coordinator has just handed out, if a pinned CA signed it for a member of
/// `fleet`. It counts from its own beginning: the asker's clock may be behind.
///
/// # Errors
/// No certificate behind the leaf is pinned, or the leaf is not signed by one that is, or not one of a member.
pub fn verify_issued(
    fleet: &FleetId,
    pins: &[Digest],
    chain: &[CertificateDer<'static>],
) -> Result<PeerIdentity, TlsError> {
    let unknown = || TlsError::Rustls(CertificateError::UnknownIssuer.into());
    let (leaf, issuers) = chain.split_first().ok_or_else(unknown)?;
    let is_pinned = |issuer: &&CertificateDer<'_>| pins.contains(&Digest::of(issuer));
    let roots: Vec<_> = issuers.iter().take(MAX_INTERMEDIATES).filter(is_pinned).cloned().collect();
    if roots.is_empty() {
        return Err(unknown());
    }
    let peer =
        PeerIdentity::from_der(leaf).map_err(|error| TlsError::Rustls(Refused::Invalid(error).into()))?;
    let first_day = u64::try_from(peer.not_before.as_millis() / 1000).unwrap_or(0);
    let then = UnixTime::since_unix_epoch(std::time::Duration::from_secs(first_day));
    let clients = FleetClients::new(fleet.clone(), &roots, Revocations::new())?;
    clients.verify_client_cert(leaf, &[], then).map_err(TlsError::Rustls)?;
    Ok(peer)
}

impl ClientCertVerifier for FleetClients {
    fn client_auth_mandatory(&self) -> bool {
        false // enrolment and late renewals come without; every other RPC asks for the identity
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(CertificateError::UnknownIssuer.into());
        }
        // Our CAs have path length 0, which webpki does not look at: what signs a leaf is a root, and nothing between.
        let verified = self.chain.verify_client_cert(end_entity, &[], now)?;
        self.members.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned())) // never asked
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A client's view: a coordinator whose chain holds a CA that is pinned. Host names play no part: addresses
/// of coordinators change, their role does not.
#[derive(Debug)]
pub(super) struct FleetServers {
    pins: ArcSwap<Vec<Digest>>,
    members: Members,
    algorithms: WebPkiSupportedAlgorithms,
    /// The last few that were let through, the newest last.
    accepted: Mutex<VecDeque<PeerIdentity>>,
}

/// Coordinators that are remembered: a fleet has one or two, each with a new certificate now and then.
const REMEMBERED: usize = 16;

impl FleetServers {
    pub(super) fn new(fleet: FleetId, pins: Vec<Digest>, revocations: Revocations) -> Arc<Self> {
        let members = Members { fleet, roles: &[Role::Coordinator], revocations };
        let algorithms = provider().signature_verification_algorithms;
        let accepted = Mutex::default();
        Arc::new(Self { pins: ArcSwap::from_pointee(pins), members, algorithms, accepted })
    }

    /// Whether one of those that were let through was revoked since.
    pub(super) fn trusts_revoked(&self) -> bool {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.iter().any(|peer| self.members.revocations.is_revoked(peer))
    }

    fn remember(&self, peer: PeerIdentity) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.retain(|known| known.serial != peer.serial);
        if accepted.len() >= REMEMBERED {
            accepted.pop_front();
        }
        accepted.push_back(peer);
    }

    /// Forgets those that were revoked: their connections are to be ended by whoever asks.
    pub(super) fn forget_revoked(&self) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.retain(|peer| !self.members.revocations.is_revoked(peer));
    }

    pub(super) fn pin(&self, pins: Vec<Digest>) {
        self.pins.store(Arc::new(pins));
    }
}

impl ServerCertVerifier for FleetServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pins = self.pins.load();
        let mut roots = RootCertStore::empty();
        // The coordinator sends its CA along, so that a host needs only the pin, at its first contact too.
        for certificate in intermediates.iter().take(MAX_INTERMEDIATES) {
            if pins.contains(&Digest::of(certificate)) && ca_is_in_force(certificate, now) {
                roots.add(certificate.clone().into_owned())?;
            }
        }
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, self.algorithms.all)?;
        self.remember(self.members.check(end_entity)?);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned())) // never asked
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A trust anchor's own dates are nobody's business to webpki; they are to us.
fn ca_is_in_force(der: &[u8], now: UnixTime) -> bool {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    X509Certificate::from_der(der).is_ok_and(|(rest, ca)| {
        let validity = ca.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        rest.is_empty() && ca.is_ca() && from <= seconds && seconds < to
    })
}

#[cfg(test)]
mod tests;
