//! `windlass.v1.AgentLink`: what agents call. A host's name comes from its certificate.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use windlass_core::{Digest, HostId};
use windlass_proto::pb;
use windlass_proto::pb::agent_link_server::AgentLink;

use super::access::Caller;
use super::status::invalid;
use crate::coordinator::Coordinator;
use crate::plans;
use crate::session::{Calls, Session, receive};

/// Trust documents of one answer.
const TRUST_PAGE: usize = 64;

/// The service.
#[derive(Clone)]
pub(super) struct LinkService {
    coordinator: Arc<Coordinator>,
    logs: Calls,
}

impl LinkService {
    pub(super) fn new(coordinator: Arc<Coordinator>) -> Self {
        Self { coordinator, logs: Calls::default() }
    }
}

#[tonic::async_trait]
impl AgentLink for LinkService {
    type ConnectStream = BoxStream<'static, Result<pb::ConnectResponse, Status>>;
    type SendLogsStream = BoxStream<'static, Result<pb::SendLogsResponse, Status>>;

    async fn send_logs(
        &self,
        request: Request<Streaming<pb::SendLogsRequest>>,
    ) -> Result<Response<Self::SendLogsStream>, Status> {
        let caller = Caller::of(&request)?;
        let (host, cut) = (host(&caller)?, caller.connection.cancel.clone());
        let call = self.logs.begin(&host).ok_or_else(|| {
            Status::resource_exhausted("the host sends as many logs at a time as it may; end one of them")
        })?;
        Ok(Response::new(receive(self.coordinator.clone(), host, call, cut, request.into_inner())))
    }

    async fn connect(
        &self,
        request: Request<Streaming<pb::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let caller = Caller::of(&request)?;
        let (peer, host) = (caller.peer()?.clone(), host(&caller)?);
        let cut = caller.connection.cancel.clone();
        let session = Session::open(self.coordinator.clone(), host, &peer, cut, request.into_inner()).await?;
        Ok(Response::new(session.into_stream()))
    }

    async fn fetch_release(
        &self,
        request: Request<pb::FetchReleaseRequest>,
    ) -> Result<Response<pb::FetchReleaseResponse>, Status> {
        let host = host(&Caller::of(&request)?)?;
        let digest: Digest =
            request.into_inner().digest.parse().map_err(|error| invalid("digest", &error))?;
        let envelope = self.coordinator.ledger.read(|state| plans::release_for(state, &host, &digest));
        let envelope =
            envelope.ok_or_else(|| Status::not_found("no plan of this host names that release"))?;
        Ok(Response::new(pb::FetchReleaseResponse { envelope: envelope.into() }))
    }

    async fn fetch_trust(
        &self,
        request: Request<pb::FetchTrustRequest>,
    ) -> Result<Response<pb::FetchTrustResponse>, Status> {
        let after = usize::try_from(request.into_inner().after).unwrap_or(usize::MAX);
        let envelopes = self.coordinator.ledger.read(|state| {
            let newer = state.trust_chain.iter().skip(after).take(TRUST_PAGE);
            newer.map(|envelope| envelope.clone().into()).collect()
        });
        Ok(Response::new(pb::FetchTrustResponse { envelopes }))
    }
}

fn host(caller: &Caller) -> Result<HostId, Status> {
    caller.peer()?.identity.host().ok_or_else(|| Status::permission_denied("only agents may call this"))
}
