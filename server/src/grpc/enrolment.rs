//! `windlass.v1.Enrolment`: the only service that may be called without a certificate.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use windlass_certs::csr::{Csr, Proof};
use windlass_certs::identity::PeerIdentity;
use windlass_certs::join::JoinSecret;
use windlass_certs::keys::PublicKey;
use windlass_proto::pb;
use windlass_proto::pb::enrolment_server::Enrolment;

use super::access::Caller;
use super::status::{invalid, refused};
use crate::coordinator::Coordinator;
use crate::enrolment::{Expired, Join, JoinOperator};

/// The service.
pub(super) struct EnrolmentService(pub(super) Arc<Coordinator>);

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        let from = Caller::of(&request)?.connection.remote.ip();
        let request = request.into_inner();
        let host = request.host.parse().map_err(|error| invalid("host", &error))?;
        let secret = secret(&request.secret)?;
        self.0.enrolment.knows(&host, &secret, from).map_err(refused)?;
        let join = Join {
            host,
            secret,
            csr: csr(&request.csr)?,
            address: request.address,
            receipt_key: PublicKey::from_bytes(&request.receipt_key)
                .map_err(|error| invalid("receipt_key", &error))?,
        };
        let joined = self.0.enrolment.join(join, from).await.map_err(refused)?;
        Ok(Response::new(pb::JoinResponse {
            fleet: joined.fleet.to_string(),
            certificate_chain: joined.chain,
            trust: joined.trust.into_iter().map(Into::into).collect(),
            labels: joined.labels.into_iter().collect(),
        }))
    }

    async fn join_operator(
        &self,
        request: Request<pb::JoinOperatorRequest>,
    ) -> Result<Response<pb::JoinOperatorResponse>, Status> {
        let from = Caller::of(&request)?.connection.remote.ip();
        let request = request.into_inner();
        let name = request.name.parse().map_err(|error| invalid("name", &error))?;
        let secret = secret(&request.secret)?;
        self.0.enrolment.knows_operator(&name, &secret, from).map_err(refused)?;
        let join = JoinOperator { name, secret, csr: csr(&request.csr)? };
        let joined = self.0.enrolment.join_operator(join, from).await.map_err(refused)?;
        Ok(Response::new(pb::JoinOperatorResponse {
            certificate_chain: joined.chain,
            trust: joined.trust.into_iter().map(Into::into).collect(),
        }))
    }

    async fn challenge(
        &self,
        _: Request<pb::ChallengeRequest>,
    ) -> Result<Response<pb::ChallengeResponse>, Status> {
        let challenge =
            self.0.enrolment.challenge().ok_or_else(|| Status::internal("the system has no randomness"))?;
        Ok(Response::new(pb::ChallengeResponse { challenge: challenge.to_vec().into() }))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let csr = csr(&request.csr)?;
        let enrolment = &self.0.enrolment;
        let renewed = match (caller.connection.peer.clone(), request.expired) {
            (Some(peer), _) => enrolment.renew(peer, csr).await,
            (None, Some(proof)) => {
                enrolment.renew_expired(expired(proof)?, csr, caller.connection.remote.ip()).await
            }
            (None, None) => return Err(Status::unauthenticated("a certificate, or proof of an expired one")),
        };
        Ok(Response::new(pb::RenewResponse { certificate_chain: renewed.map_err(refused)? }))
    }
}

fn secret(bytes: &[u8]) -> Result<JoinSecret, Status> {
    JoinSecret::from_bytes(bytes).ok_or_else(|| Status::invalid_argument("`secret` must have 32 bytes"))
}

fn csr(der: &[u8]) -> Result<Arc<Csr>, Status> {
    Csr::from_der(der).map(Arc::new).map_err(|error| invalid("csr", &error))
}

fn expired(proof: pb::ExpiredProof) -> Result<Expired, Status> {
    let challenge = proof.challenge.as_ref().try_into();
    Ok(Expired {
        peer: PeerIdentity::from_der(&proof.certificate)
            .map_err(|error| invalid("expired.certificate", &error))?,
        leaf: proof.certificate.to_vec(),
        challenge: challenge
            .map_err(|_| Status::invalid_argument("`expired.challenge` must have 32 bytes"))?,
        proof: Proof(proof.proof.to_vec()),
    })
}
