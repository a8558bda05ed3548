//! `windlass.v1.Control`: what operators call. Parse, delegate, render.

mod answer;
mod audit;
mod common;
mod events;
mod fleet;
mod history;
mod hosts;
mod logs;
mod operators;
mod quarantine;
mod recovery;
mod releases;
mod rollouts;
mod routes;
mod services;
mod watch;

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tonic::{Request, Response, Status};
use windlass_certs::identity::OperatorRole;
use windlass_proto::pb;
use windlass_proto::pb::control_server::Control;

use self::common::{Stream, known, service};
use super::access::Caller;
use super::status::{refused, stopping};
use crate::coordinator::Coordinator;
use crate::{revoked, trust};

/// The service.
pub(super) struct ControlService(pub(super) Arc<Coordinator>);

type Reply<T> = Result<Response<T>, Status>;

impl ControlService {
    /// A stream that ends with the coordinator, and says so: an end without a word would be taken for the end
    /// of what was followed.
    fn until_stop<T: Send + 'static>(&self, stream: Stream<T>) -> Response<Stream<T>> {
        let state = Some((stream, self.0.stopping.clone()));
        let guarded = stream::unfold(state, |state| async move {
            let (mut stream, stop) = state?;
            tokio::select! {
                biased;
                () = stop.cancelled() => Some((Err(stopping()), None)),
                item = stream.next() => item.map(|item| (item, Some((stream, stop)))),
            }
        });
        Response::new(guarded.boxed())
    }
}

#[tonic::async_trait]
impl Control for ControlService {
    type WatchRolloutStream = Stream<pb::WatchRolloutResponse>;
    type WatchFleetStream = Stream<pb::WatchFleetResponse>;
    type StreamLogsStream = Stream<pb::StreamLogsResponse>;
    type StreamEventsStream = Stream<pb::StreamEventsResponse>;
    type StreamAuditStream = Stream<pb::StreamAuditResponse>;

    async fn create_host_token(
        &self,
        request: Request<pb::CreateHostTokenRequest>,
    ) -> Reply<pb::CreateHostTokenResponse> {
        hosts::token(&self.0, &Caller::of(&request)?, request.into_inner()).await.map(Response::new)
    }

    async fn list_hosts(&self, request: Request<pb::ListHostsRequest>) -> Reply<pb::ListHostsResponse> {
        Ok(Response::new(pb::ListHostsResponse { view: hosts::list(&self.0, &Caller::of(&request)?)? }))
    }

    async fn get_host(&self, request: Request<pb::GetHostRequest>) -> Reply<pb::GetHostResponse> {
        let caller = Caller::of(&request)?;
        let view = hosts::show(&self.0, &caller, &request.into_inner().host)?;
        Ok(Response::new(pb::GetHostResponse { view }))
    }

    async fn get_history(&self, request: Request<pb::GetHistoryRequest>) -> Reply<pb::GetHistoryResponse> {
        let view = history::get(&self.0, &Caller::of(&request)?, &request.into_inner())?;
        Ok(Response::new(pb::GetHistoryResponse { view }))
    }

    async fn steer_host(&self, request: Request<pb::SteerHostRequest>) -> Reply<pb::SteerHostResponse> {
        let view = hosts::steer(&self.0, &Caller::of(&request)?, request.into_inner()).await?;
        Ok(Response::new(pb::SteerHostResponse { view }))
    }

    async fn preview_recovery(
        &self,
        request: Request<pb::PreviewRecoveryRequest>,
    ) -> Reply<pb::PreviewRecoveryResponse> {
        let view = recovery::preview(&self.0, &request.into_inner())?;
        Ok(Response::new(pb::PreviewRecoveryResponse { view }))
    }

    async fn recover(&self, request: Request<pb::RecoverRequest>) -> Reply<pb::RecoverResponse> {
        let view = recovery::recover(&self.0, &Caller::of(&request)?, &request.into_inner()).await?;
        Ok(Response::new(pb::RecoverResponse { view }))
    }

    async fn get_service(&self, request: Request<pb::GetServiceRequest>) -> Reply<pb::GetServiceResponse> {
        let caller = Caller::of(&request)?;
        let id = service(&caller, &request.into_inner().service, OperatorRole::Viewer)?;
        Ok(Response::new(releases::get_service(&self.0, &id)))
    }

    async fn preview(&self, request: Request<pb::PreviewRequest>) -> Reply<pb::PreviewResponse> {
        let view = releases::preview(&self.0, &Caller::of(&request)?, &request.into_inner())?;
        Ok(Response::new(pb::PreviewResponse { view }))
    }

    async fn submit_release(
        &self,
        request: Request<pb::SubmitReleaseRequest>,
    ) -> Reply<pb::SubmitReleaseResponse> {
        releases::submit(&self.0, &Caller::of(&request)?, request.into_inner()).await.map(Response::new)
    }

    async fn list_releases(
        &self,
        request: Request<pb::ListReleasesRequest>,
    ) -> Reply<pb::ListReleasesResponse> {
        let caller = Caller::of(&request)?;
        let id = service(&caller, &request.into_inner().service, OperatorRole::Viewer)?;
        known(&self.0, &id)?;
        Ok(Response::new(pb::ListReleasesResponse { view: releases::list(&self.0, &id) }))
    }

    async fn get_release(&self, request: Request<pb::GetReleaseRequest>) -> Reply<pb::GetReleaseResponse> {
        let envelope = releases::get(&self.0, &Caller::of(&request)?, &request.into_inner())?;
        Ok(Response::new(pb::GetReleaseResponse { envelope }))
    }

    async fn rollback(&self, request: Request<pb::RollbackRequest>) -> Reply<pb::RollbackResponse> {
        releases::rollback(&self.0, &Caller::of(&request)?, request.into_inner()).await.map(Response::new)
    }

    async fn list_rollouts(
        &self,
        request: Request<pb::ListRolloutsRequest>,
    ) -> Reply<pb::ListRolloutsResponse> {
        let view = rollouts::list(&self.0, &Caller::of(&request)?, &request.into_inner().service)?;
        Ok(Response::new(pb::ListRolloutsResponse { view }))
    }

    async fn get_rollout(&self, request: Request<pb::GetRolloutRequest>) -> Reply<pb::GetRolloutResponse> {
        let view = rollouts::get(&self.0, &Caller::of(&request)?, &request.into_inner().rollout)?;
        Ok(Response::new(pb::GetRolloutResponse { view }))
    }

    async fn watch_rollout(
        &self,
        request: Request<pb::WatchRolloutRequest>,
    ) -> Reply<Self::WatchRolloutStream> {
        let caller = Caller::of(&request)?;
        let stream = watch::rollout(self.0.clone(), &caller, &request.into_inner().rollout)?;
        Ok(self.until_stop(stream))
    }

    async fn watch_fleet(&self, request: Request<pb::WatchFleetRequest>) -> Reply<Self::WatchFleetStream> {
        let caller = Caller::of(&request)?;
        fleet::watch(self.0.clone(), caller, request.into_inner()).map(|stream| self.until_stop(stream))
    }

    async fn explain_rollout(
        &self,
        request: Request<pb::ExplainRolloutRequest>,
    ) -> Reply<pb::ExplainRolloutResponse> {
        let view = rollouts::explain(&self.0, &Caller::of(&request)?, &request.into_inner().rollout).await?;
        Ok(Response::new(pb::ExplainRolloutResponse { view }))
    }

    async fn steer_rollout(
        &self,
        request: Request<pb::SteerRolloutRequest>,
    ) -> Reply<pb::SteerRolloutResponse> {
        let view = rollouts::steer(&self.0, &Caller::of(&request)?, request.into_inner()).await?;
        Ok(Response::new(pb::SteerRolloutResponse { view }))
    }

    async fn steer_service(
        &self,
        request: Request<pb::SteerServiceRequest>,
    ) -> Reply<pb::SteerServiceResponse> {
        services::steer(&self.0, &Caller::of(&request)?, request.into_inner()).await.map(Response::new)
    }

    async fn get_status(&self, request: Request<pb::GetStatusRequest>) -> Reply<pb::GetStatusResponse> {
        let view = rollouts::status(&self.0, &Caller::of(&request)?, &request.into_inner().service)?;
        Ok(Response::new(pb::GetStatusResponse { view }))
    }

    async fn list_quarantine(
        &self,
        request: Request<pb::ListQuarantineRequest>,
    ) -> Reply<pb::ListQuarantineResponse> {
        let view = quarantine::list(&self.0, &Caller::of(&request)?, &request.into_inner().service)?;
        Ok(Response::new(pb::ListQuarantineResponse { view }))
    }

    async fn clear_quarantine(
        &self,
        request: Request<pb::ClearQuarantineRequest>,
    ) -> Reply<pb::ClearQuarantineResponse> {
        let view = quarantine::clear(&self.0, &Caller::of(&request)?, &request.into_inner()).await?;
        Ok(Response::new(pb::ClearQuarantineResponse { view }))
    }

    async fn list_routes(&self, request: Request<pb::ListRoutesRequest>) -> Reply<pb::ListRoutesResponse> {
        let view = routes::list(&self.0, &Caller::of(&request)?, &request.into_inner().service)?;
        Ok(Response::new(pb::ListRoutesResponse { view }))
    }

    async fn forget_ingress(
        &self,
        request: Request<pb::ForgetIngressRequest>,
    ) -> Reply<pb::ForgetIngressResponse> {
        routes::forget(&self.0, &Caller::of(&request)?, request.into_inner()).await.map(Response::new)
    }

    async fn stream_logs(&self, request: Request<pb::StreamLogsRequest>) -> Reply<Self::StreamLogsStream> {
        let caller = Caller::of(&request)?;
        logs::stream(self.0.clone(), &caller, request.into_inner()).map(|stream| self.until_stop(stream))
    }

    async fn stream_events(
        &self,
        request: Request<pb::StreamEventsRequest>,
    ) -> Reply<Self::StreamEventsStream> {
        let caller = Caller::of(&request)?;
        events::stream(self.0.clone(), caller, &request.into_inner()).map(|stream| self.until_stop(stream))
    }

    async fn add_operator(&self, request: Request<pb::AddOperatorRequest>) -> Reply<pb::AddOperatorResponse> {
        operators::add(&self.0, &Caller::of(&request)?, request.into_inner()).await.map(Response::new)
    }

    async fn list_operators(
        &self,
        request: Request<pb::ListOperatorsRequest>,
    ) -> Reply<pb::ListOperatorsResponse> {
        let view = operators::list(&self.0, &Caller::of(&request)?).await?;
        Ok(Response::new(pb::ListOperatorsResponse { view }))
    }

    async fn revoke_operator(
        &self,
        request: Request<pb::RevokeOperatorRequest>,
    ) -> Reply<pb::RevokeOperatorResponse> {
        let view = operators::revoke(&self.0, &Caller::of(&request)?, request.into_inner()).await?;
        Ok(Response::new(pb::RevokeOperatorResponse { view }))
    }

    async fn get_version(&self, _: Request<pb::GetVersionRequest>) -> Reply<pb::GetVersionResponse> {
        Ok(Response::new(pb::GetVersionResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fleet: self.0.ledger.read(|state| state.fleet.to_string()),
            release_version: windlass_core::release::RELEASE_VERSION,
        }))
    }

    async fn get_trust(&self, request: Request<pb::GetTrustRequest>) -> Reply<pb::GetTrustResponse> {
        let after = usize::try_from(request.into_inner().after).unwrap_or(usize::MAX);
        let envelopes = self.0.ledger.read(|state| {
            state.trust_chain.iter().skip(after).map(|envelope| envelope.clone().into()).collect()
        });
        let revocations = self.0.revoked.after(0).map(|(_, envelope)| envelope).unwrap_or_default();
        Ok(Response::new(pb::GetTrustResponse { envelopes, revocations }))
    }

    async fn publish_trust(
        &self,
        request: Request<pb::PublishTrustRequest>,
    ) -> Reply<pb::PublishTrustResponse> {
        let actor = Caller::of(&request)?.actor();
        let envelope = request.into_inner().envelope.to_vec();
        let version = if revoked::is_list(&envelope) {
            self.0.revoked.publish(envelope, actor).await.map_err(refused)?
        } else {
            trust::publish(&self.0, envelope, actor).await.map_err(refused)?
        };
        Ok(Response::new(pb::PublishTrustResponse { version }))
    }

    async fn stream_audit(&self, request: Request<pb::StreamAuditRequest>) -> Reply<Self::StreamAuditStream> {
        Ok(self.until_stop(audit::stream(self.0.clone(), request.into_inner().from)))
    }
}
