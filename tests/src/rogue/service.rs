//! The gRPC side of the rogue: takes down what it hears, answers as it was told.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use windlass_certs::ca::Leaf;
use windlass_certs::csr::Csr;
use windlass_certs::identity::Identity;
use windlass_proto::pb::agent_link_server::AgentLink;
use windlass_proto::pb::connect_request::Message as Heard;
use windlass_proto::pb::connect_response::Message as Spoken;
use windlass_proto::pb::enrolment_server::Enrolment;
use windlass_proto::{json, pb};

use windlass_testkit::now;

use super::keys::{Keys, fleet};
use super::server::{Out, Shared};

const CAPACITY: usize = 64;

/// The services.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) keys: Arc<Keys>,
    pub(super) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Enrolment for Service {
    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        let request = request.into_inner();
        let bad = |error: &dyn std::fmt::Display| Status::invalid_argument(error.to_string());
        let csr = Csr::from_der(&request.csr).map_err(|error| bad(&error))?;
        let host = request.host.parse().map_err(|error| bad(&error))?;
        let leaf = Leaf::agent(Identity::agent(fleet(), host), 1);
        let issued = self.keys.ca.issue(&csr, &leaf, now()).map_err(|error| bad(&error))?;
        let script = self.shared.script();
        Ok(Response::new(pb::JoinResponse {
            fleet: fleet().to_string(),
            certificate_chain: issued.chain_pem,
            trust: script.trust.iter().map(|envelope| envelope.clone().into()).collect(),
            labels: [("role".to_owned(), "app".to_owned())].into(),
        }))
    }

    async fn join_operator(
        &self,
        _: Request<pb::JoinOperatorRequest>,
    ) -> Result<Response<pb::JoinOperatorResponse>, Status> {
        Err(Status::unimplemented("operators join elsewhere"))
    }

    async fn challenge(
        &self,
        _: Request<pb::ChallengeRequest>,
    ) -> Result<Response<pb::ChallengeResponse>, Status> {
        Err(Status::unimplemented("certificates here outlive every test"))
    }

    async fn renew(&self, _: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        Err(Status::unimplemented("certificates here outlive every test"))
    }
}

type Stream = Pin<Box<dyn tokio_stream::Stream<Item = Result<pb::ConnectResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AgentLink for Service {
    type ConnectStream = Stream;

    async fn connect(
        &self,
        request: Request<Streaming<pb::ConnectRequest>>,
    ) -> Result<Response<Stream>, Status> {
        let mut heard = request.into_inner();
        let (out, outgoing) = mpsc::channel(CAPACITY);
        let Some(pb::ConnectRequest { message: Some(Heard::Hello(hello)) }) = heard.message().await? else {
            return Err(Status::invalid_argument("no hello"));
        };
        let trust_version = self.shared.script().announced();
        let welcome = pb::Welcome {
            coordinator_version: "0".to_owned(),
            trust_version,
            heartbeat_ms: 1000,
            ..Default::default()
        };
        let first = pb::ConnectResponse { message: Some(Spoken::Welcome(welcome)) };
        drop(out.send(Ok(first)).await); // the agent may be gone already
        let stream = {
            let mut said = self.shared.said();
            said.hellos.push(hello);
            let stream = said.hellos.len();
            said.observation = None;
            said.live = Some((stream, out.clone()));
            stream
        };
        let shared = self.shared.clone();
        self.shared.handle.spawn(async move {
            while let Ok(Some(message)) = heard.message().await {
                note(&shared, (stream, &out), message).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn fetch_release(
        &self,
        request: Request<pb::FetchReleaseRequest>,
    ) -> Result<Response<pb::FetchReleaseResponse>, Status> {
        let digest = request.into_inner().digest;
        self.shared.said().fetched.push(digest.clone());
        let envelope = self.shared.script().releases.get(&digest).cloned();
        let envelope = envelope.ok_or_else(|| Status::not_found("no such release"))?;
        Ok(Response::new(pb::FetchReleaseResponse { envelope: envelope.into() }))
    }

    type SendLogsStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<pb::SendLogsResponse, Status>> + Send>>;

    async fn send_logs(
        &self,
        _: Request<Streaming<pb::SendLogsRequest>>,
    ) -> Result<Response<Self::SendLogsStream>, Status> {
        Err(Status::unimplemented("nobody asks for logs here"))
    }

    async fn fetch_trust(
        &self,
        request: Request<pb::FetchTrustRequest>,
    ) -> Result<Response<pb::FetchTrustResponse>, Status> {
        let after = request.into_inner().after;
        self.shared.said().trust_asked += 1;
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let envelopes = self.shared.script().trust.iter().skip(skip).map(|one| one.clone().into()).collect();
        Ok(Response::new(pb::FetchTrustResponse { envelopes }))
    }
}

async fn note(shared: &Shared, (stream, out): (usize, &Out), message: pb::ConnectRequest) {
    match message.message {
        Some(Heard::Observation(report)) => {
            let Ok(observation) =
                json::decode::<windlass_core::observation::Observation>("observation", &report.observation)
            else {
                return;
            };
            let ack = pb::ObservationAck { revision: observation.revision };
            {
                let mut said = shared.said();
                // A late message on a stream that was cut is not the agent's word now.
                if said.live.as_ref().is_some_and(|(live, _)| *live == stream) {
                    said.observation = Some(observation);
                }
            }
            let ack = pb::ConnectResponse { message: Some(Spoken::Ack(ack)) };
            drop(out.send(Ok(ack)).await); // the agent may be gone already
        }
        Some(Heard::Receipt(receipt)) => shared.said().receipts.push(receipt.envelope.to_vec()),
        Some(Heard::Heartbeat(beat)) => {
            shared.said().heartbeats += 1;
            // A lease for what is exclusive, as an honest coordinator gives it.
            let ack = pb::HeartbeatAck { number: beat.number, seq: 0 };
            let ack = pb::ConnectResponse { message: Some(Spoken::HeartbeatAck(ack)) };
            drop(out.send(Ok(ack)).await);
        }
        Some(
            Heard::Hello(_)
            | Heard::LogLines(_)
            | Heard::Facts(_)
            | Heard::Kept(_)
            | Heard::Release(_)
            | Heard::Ingress(_)
            | Heard::Stats(_),
        )
        | None => {}
    }
}
