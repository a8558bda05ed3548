//! Getting the next certificate for the same name and key.

use tonic::transport::Channel;
use windlass_certs::csr::{Asked, CertifiedIdentity, RenewalClaim};
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{ClientTls, ConnectOptions, connect};
use windlass_core::{Digest, FleetId};
use windlass_proto::pb::enrolment_client::EnrolmentClient;
use windlass_proto::pb::{ChallengeRequest, ExpiredProof, RenewRequest};

use super::error::SessionError;
use crate::client::CallError;

/// With a certificate that still counts, the connection itself is the proof.
pub(super) async fn valid(
    identity: &CertifiedIdentity,
    ca_pins: &[Digest],
    channel: Channel,
) -> Result<CertifiedIdentity, SessionError> {
    let csr = identity.key().csr().map_err(SessionError::Request)?;
    let request = RenewRequest { csr: csr.der().to_vec().into(), expired: None };
    renew(identity, ca_pins, channel, request).await
}

/// With one that has expired, TLS cannot say who we are: a signature over a fresh challenge does.
pub(super) async fn expired(
    identity: CertifiedIdentity,
    fleet: &FleetId,
    ca_pins: &[Digest],
    server: &str,
    revocations: &Revocations,
) -> Result<CertifiedIdentity, SessionError> {
    let tls = ClientTls::anonymous(fleet.clone(), ca_pins.to_vec(), revocations.clone())?;
    let channel = connect(server, &tls, &ConnectOptions::default()).await?;
    let failed = |status| SessionError::Renew(CallError::new("renew the operator certificate", status));
    let answer =
        EnrolmentClient::new(channel.clone()).challenge(ChallengeRequest {}).await.map_err(failed)?;
    let challenge = answer.into_inner().challenge;
    let wrong = |_| failed(tonic::Status::internal("the challenge has not 32 bytes"));
    let csr = identity.key().csr().map_err(SessionError::Request)?;
    let claim = RenewalClaim {
        fleet: fleet.clone(),
        // The claim names its member like a host; operators' names have the same rules.
        host: identity.peer().identity.name().parse().expect("names in certificates are labels"),
        generation: identity.peer().generation,
        challenge: challenge.as_ref().try_into().map_err(wrong)?,
        csr: csr.digest(),
    };
    let proof = identity.key().prove(&claim).map_err(SessionError::Request)?;
    let leaf = identity.chain().first().map(|der| der.to_vec()).unwrap_or_default();
    let expired = ExpiredProof { certificate: leaf.into(), challenge, proof: proof.0.into() };
    let request = RenewRequest { csr: csr.der().to_vec().into(), expired: Some(expired) };
    renew(&identity, ca_pins, channel, request).await
}

async fn renew(
    identity: &CertifiedIdentity,
    ca_pins: &[Digest],
    channel: Channel,
    request: RenewRequest,
) -> Result<CertifiedIdentity, SessionError> {
    let failed = |status| SessionError::Renew(CallError::new("renew the operator certificate", status));
    let mut client = EnrolmentClient::new(channel);
    let answer = tokio::time::timeout(windlass_proto::limits::CALL_TIMEOUT, client.renew(request))
        .await
        .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer in time")))
        .map_err(failed)?;
    let peer = identity.peer();
    let asked = Asked { identity: &peer.identity, grant: peer.grant.as_ref(), ca_pins };
    CertifiedIdentity::issued(identity.key().clone(), &answer.into_inner().certificate_chain, asked)
        .map_err(SessionError::NotOurs)
}
