//! Commands to a service without a new release.

use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::rollout::ServiceCommand;
use windlass_proto::json::encode;
use windlass_proto::pb;

use super::{Caller, service};
use crate::coordinator::Coordinator;
use crate::grpc::status::refused;
use crate::services;

pub(super) async fn steer(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::SteerServiceRequest,
) -> Result<pb::SteerServiceResponse, Status> {
    let id = service(caller, &request.service, OperatorRole::Deployer)?;
    let verb = match request.action() {
        pb::ServiceAction::Unspecified => return Err(Status::invalid_argument("`action` is missing")),
        pb::ServiceAction::Scale => ServiceCommand::Scale(request.replicas),
        pb::ServiceAction::Stop => ServiceCommand::Stop,
        pb::ServiceAction::Remove => ServiceCommand::Remove,
        pb::ServiceAction::Restart => {
            let started = services::restart(coordinator, id, caller.actor()).await.map_err(refused)?;
            return Ok(pb::SteerServiceResponse {
                rollout: started.rollout.map(|id| id.to_string()).unwrap_or_default(),
                release: started.release.to_string(),
                ..Default::default()
            });
        }
    };
    let how = services::How { supersede: request.supersede, force: request.force };
    let told = services::command(coordinator, id, verb, how, caller.actor()).await.map_err(refused)?;
    Ok(pb::SteerServiceResponse {
        unchanged: told.unchanged,
        rollout: String::new(),
        release: told.release.map(|release| release.to_string()).unwrap_or_default(),
        volumes: encode(&told.volumes),
    })
}
