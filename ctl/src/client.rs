//! The coordinator's calls: protobuf inside, domain and view types outside. Nothing else here names `pb`.

mod answers;
mod error;
mod history;
mod join;
mod names;
mod quarantine;
mod stream;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tonic::transport::Channel;
use tonic::{Response, Status};
use windlass_core::view::{
    AskedView, ExplainView, HostView, OperatorView, PreviewView, RecoveryView, ReleaseView, RolloutView,
    RoutesView, StatusView,
};
use windlass_core::{Counter, Digest, HostId, OperatorName, ServiceId, Timestamp};
use windlass_proto::pb::control_client::ControlClient;
use windlass_proto::{limits, pb};

pub(crate) use answers::{Heard, ServiceInfo, Submitted};
pub(crate) use error::CallError;
pub(crate) use join::join_operator;
pub(crate) use stream::{
    AuditItem, EventItem, EventQuery, EventStream, LogChunk, LogLine, LogNote, LogQuery, LogStream,
    RolloutStream,
};

/// The calls of operators.
#[derive(Clone)]
pub(crate) struct Client {
    control: ControlClient<Channel>,
}

/// A command to a host.
pub(crate) use pb::HostAction;
/// A command to a rollout.
pub(crate) use pb::RolloutAction;
/// A command to a service.
pub(crate) use pb::ServiceAction;

type Answer<T> = Result<Response<T>, Status>;

impl Client {
    pub(crate) fn new(channel: Channel) -> Self {
        let control = ControlClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE);
        Self { control }
    }

    /// `environment/service`, or all services if empty.
    pub(crate) async fn routes(&mut self, service: &str) -> Result<Vec<RoutesView>, CallError> {
        let request = pb::ListRoutesRequest { service: service.to_owned() };
        let answer = call("get the routes", self.control.list_routes(request)).await?;
        view("get the routes", &answer.view)
    }

    /// Forgets the ingress of a host.
    pub(crate) async fn forget_ingress(&mut self, host: &HostId) -> Result<(), CallError> {
        let request = pb::ForgetIngressRequest { host: host.to_string() };
        call("forget the ingress", self.control.forget_ingress(request)).await?;
        Ok(())
    }

    /// A new token, as the coordinator answers: see [`crate::invitation`] before anybody gets it.
    pub(crate) async fn host_token(
        &mut self,
        host: &HostId,
        labels: BTreeMap<String, String>,
    ) -> Result<(String, Timestamp), CallError> {
        let labels = labels.into_iter().collect();
        let request = pb::CreateHostTokenRequest { host: host.to_string(), labels };
        let answer = call("make a host token", self.control.create_host_token(request)).await?;
        Ok((answer.token, Timestamp::from_millis(answer.expires_at)))
    }

    pub(crate) async fn hosts(&mut self) -> Result<Vec<HostView>, CallError> {
        let answer = call("list the hosts", self.control.list_hosts(pb::ListHostsRequest {})).await?;
        view("list the hosts", &answer.view)
    }

    pub(crate) async fn host(&mut self, host: &HostId) -> Result<HostView, CallError> {
        let request = pb::GetHostRequest { host: host.to_string() };
        let answer = call("show the host", self.control.get_host(request)).await?;
        view("show the host", &answer.view)
    }

    pub(crate) async fn steer_host(
        &mut self,
        host: &HostId,
        action: HostAction,
    ) -> Result<HostView, CallError> {
        let request = pb::SteerHostRequest { host: host.to_string(), action: action.into() };
        let answer = call("change the host", self.control.steer_host(request)).await?;
        view("change the host", &answer.view)
    }

    /// The differences between hosts and the store.
    pub(crate) async fn preview_recovery(
        &mut self,
        keep_store: &[HostId],
    ) -> Result<RecoveryView, CallError> {
        let what = "compare the hosts with the store";
        let keep_store = keep_store.iter().map(ToString::to_string).collect();
        let request = pb::PreviewRecoveryRequest { keep_store };
        let answer = call(what, self.control.preview_recovery(request)).await?;
        view(what, &answer.view)
    }

    /// Takes it over as it was previewed.
    pub(crate) async fn recover(
        &mut self,
        keep_store: &[HostId],
        preview: Digest,
    ) -> Result<RecoveryView, CallError> {
        let keep_store = keep_store.iter().map(ToString::to_string).collect();
        let request = pb::RecoverRequest { keep_store, preview: preview.to_string() };
        let answer = call("go on", self.control.recover(request)).await?;
        view("go on", &answer.view)
    }

    pub(crate) async fn service(&mut self, service: &ServiceId) -> Result<ServiceInfo, CallError> {
        let what = "look the service up";
        let request = pb::GetServiceRequest { service: service.to_string() };
        let answer = call(what, self.control.get_service(request)).await?;
        let fleet = answer.fleet.parse().map_err(|error| CallError::nonsense(what, error))?;
        Ok(ServiceInfo { fleet, last_counter: answer.last_counter })
    }

    pub(crate) async fn preview(
        &mut self,
        payload: &[u8],
        retry_quarantined: bool,
    ) -> Result<PreviewView, CallError> {
        let request = pb::PreviewRequest { release: payload.to_vec().into(), retry_quarantined };
        let answer = call("preview the release", self.control.preview(request)).await?;
        view("preview the release", &answer.view)
    }

    pub(crate) async fn submit(
        &mut self,
        envelope: Vec<u8>,
        supersede: bool,
        retry_quarantined: bool,
        preview: Option<Digest>,
    ) -> Result<Submitted, CallError> {
        let what = "submit the release";
        let preview = preview.map(|digest| digest.to_string()).unwrap_or_default();
        let request =
            pb::SubmitReleaseRequest { envelope: envelope.into(), supersede, retry_quarantined, preview };
        let answer = call(what, self.control.submit_release(request)).await?;
        let submitted = submitted(what, &answer.rollout, &answer.release)?;
        Ok(Submitted { warnings: answer.warnings, ..submitted })
    }

    pub(crate) async fn rollback(
        &mut self,
        service: &ServiceId,
        to: Option<Counter>,
        ask: bool,
    ) -> Result<Submitted, CallError> {
        let what = "roll back";
        let to = to.map(|counter| counter.to_string()).unwrap_or_default();
        let request = pb::RollbackRequest { service: service.to_string(), to, ask };
        let answer = call(what, self.control.rollback(request)).await?;
        let submitted = submitted(what, &answer.rollout, &answer.release)?;
        Ok(Submitted { warnings: answer.warnings, ..submitted })
    }

    pub(crate) async fn releases(&mut self, service: &ServiceId) -> Result<Vec<ReleaseView>, CallError> {
        let request = pb::ListReleasesRequest { service: service.to_string() };
        let answer = call("list the releases", self.control.list_releases(request)).await?;
        view("list the releases", &answer.view)
    }

    /// The envelope of a release; the newest if `release` is absent.
    pub(crate) async fn release(
        &mut self,
        service: &ServiceId,
        release: Option<Counter>,
    ) -> Result<Vec<u8>, CallError> {
        let release = release.map(|counter| counter.to_string()).unwrap_or_default();
        let request = pb::GetReleaseRequest { service: service.to_string(), release };
        Ok(call("get the release", self.control.get_release(request)).await?.envelope.to_vec())
    }

    pub(crate) async fn rollouts(&mut self, service: &str) -> Result<Vec<RolloutView>, CallError> {
        let request = pb::ListRolloutsRequest { service: service.to_owned() };
        let answer = call("list the rollouts", self.control.list_rollouts(request)).await?;
        view("list the rollouts", &answer.view)
    }

    pub(crate) async fn rollout(&mut self, rollout: &str) -> Result<RolloutView, CallError> {
        let request = pb::GetRolloutRequest { rollout: rollout.to_owned() };
        let answer = call("show the rollout", self.control.get_rollout(request)).await?;
        view("show the rollout", &answer.view)
    }

    pub(crate) async fn explain(&mut self, rollout: &str) -> Result<ExplainView, CallError> {
        let request = pb::ExplainRolloutRequest { rollout: rollout.to_owned() };
        let answer = call("explain the rollout", self.control.explain_rollout(request)).await?;
        view("explain the rollout", &answer.view)
    }

    pub(crate) async fn steer_rollout(
        &mut self,
        rollout: &str,
        action: RolloutAction,
        at: Option<u32>,
    ) -> Result<RolloutView, CallError> {
        let request = pb::SteerRolloutRequest {
            rollout: rollout.to_owned(),
            action: action.into(),
            at,
            ..Default::default()
        };
        let answer = call("steer the rollout", self.control.steer_rollout(request)).await?;
        view("steer the rollout", &answer.view)
    }

    /// Approves what a rollout asks.
    pub(crate) async fn approve_rollout(
        &mut self,
        rollout: &str,
        asked: &AskedView,
    ) -> Result<RolloutView, CallError> {
        let request = pb::SteerRolloutRequest {
            rollout: rollout.to_owned(),
            action: RolloutAction::Approve.into(),
            step: asked.step,
            release: asked.release.to_string(),
            ..Default::default()
        };
        let answer = call("approve the rollout", self.control.steer_rollout(request)).await?;
        view("approve the rollout", &answer.view)
    }

    pub(crate) async fn steer_service(
        &mut self,
        service: &ServiceId,
        action: ServiceAction,
        replicas: u32,
        (supersede, force): (bool, bool),
    ) -> Result<Heard, CallError> {
        let what = match action {
            ServiceAction::Scale => "scale the service",
            ServiceAction::Stop => "stop the service",
            ServiceAction::Remove => "remove the service",
            ServiceAction::Restart => "restart the service",
            ServiceAction::Unspecified => "change the service",
        };
        let service = service.to_string();
        let request = pb::SteerServiceRequest { service, action: action.into(), replicas, supersede, force };
        let answer = call(what, self.control.steer_service(request)).await?;
        Ok(Heard {
            unchanged: answer.unchanged,
            rollout: optional(what, &answer.rollout)?,
            release: optional(what, &answer.release)?,
            volumes: if answer.volumes.is_empty() { Vec::new() } else { view(what, &answer.volumes)? },
        })
    }

    /// `environment/service`, or all services if empty.
    pub(crate) async fn status(&mut self, service: &str) -> Result<Vec<StatusView>, CallError> {
        let request = pb::GetStatusRequest { service: service.to_owned() };
        let answer = call("get the status", self.control.get_status(request)).await?;
        view("get the status", &answer.view)
    }

    /// A new token, as the coordinator answers: see [`crate::invitation`] before anybody gets it.
    pub(crate) async fn add_operator(
        &mut self,
        name: &OperatorName,
        grant: &str,
    ) -> Result<(String, Timestamp), CallError> {
        let request = pb::AddOperatorRequest { name: name.to_string(), grant: grant.to_owned() };
        let answer = call("make an operator token", self.control.add_operator(request)).await?;
        Ok((answer.token, Timestamp::from_millis(answer.expires_at)))
    }

    pub(crate) async fn operators(&mut self) -> Result<Vec<OperatorView>, CallError> {
        let answer =
            call("list the operators", self.control.list_operators(pb::ListOperatorsRequest {})).await?;
        view("list the operators", &answer.view)
    }

    pub(crate) async fn revoke_operator(
        &mut self,
        name: &OperatorName,
        unknown: bool,
    ) -> Result<OperatorView, CallError> {
        let request = pb::RevokeOperatorRequest { name: name.to_string(), unknown };
        let answer = call("revoke the operator", self.control.revoke_operator(request)).await?;
        view("revoke the operator", &answer.view)
    }

    /// Versions of the trust document after `after`, and the newest revocation list, empty if there is none.
    pub(crate) async fn trust(&mut self, after: u64) -> Result<(Vec<Vec<u8>>, Vec<u8>), CallError> {
        let request = pb::GetTrustRequest { after };
        let answer = call("get the trust document", self.control.get_trust(request)).await?;
        let envelopes = answer.envelopes.into_iter().map(|envelope| envelope.to_vec()).collect();
        Ok((envelopes, answer.revocations.to_vec()))
    }

    pub(crate) async fn publish_trust(&mut self, envelope: Vec<u8>) -> Result<u64, CallError> {
        let request = pb::PublishTrustRequest { envelope: envelope.into() };
        Ok(call("publish the trust document", self.control.publish_trust(request)).await?.version)
    }
}

/// A field that is empty where there is nothing.
fn optional<T>(what: &'static str, text: &str) -> Result<Option<T>, CallError>
where
    T: std::str::FromStr,
    T::Err: std::error::Error,
{
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error| CallError::nonsense(what, error)),
    }
}

fn submitted(what: &'static str, rollout: &str, release: &str) -> Result<Submitted, CallError> {
    let rollout = optional(what, rollout)?;
    let release = release.parse().map_err(|error| CallError::nonsense(what, error))?;
    Ok(Submitted { rollout, release, warnings: Vec::new() })
}

/// Every call has a deadline: that of the wire, and a little for the way.
async fn call<T>(what: &'static str, call: impl Future<Output = Answer<T>>) -> Result<T, CallError> {
    let deadline = limits::CALL_TIMEOUT + Duration::from_secs(5);
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(CallError::new(what, status)),
        Err(_) => {
            Err(CallError::new(what, Status::deadline_exceeded("the coordinator did not answer in time")))
        }
    }
}

fn view<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CallError> {
    names::decode(bytes).map_err(|error| CallError::nonsense(what, error))
}
