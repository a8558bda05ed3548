//! Contents that failed.

use bytes::Bytes;
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_proto::json::encode;
use windlass_proto::pb;

use super::{Caller, answer, service};
use crate::coordinator::Coordinator;
use crate::grpc::status::{invalid, refused};
use crate::quarantine;

pub(super) fn list(coordinator: &Coordinator, caller: &Caller, text: &str) -> Result<Bytes, Status> {
    let wanted = match text {
        "" => None,
        text => Some(service(caller, text, OperatorRole::Viewer)?),
    };
    let views = coordinator.ledger.read(|state| quarantine::list(state, wanted.as_ref()));
    let mut views = views.map_err(refused)?;
    views.retain(|view| caller.sees(&view.environment));
    answer::whole(&views, "name a service: `windlass quarantine ls SERVICE`")
}

pub(super) async fn clear(
    coordinator: &Coordinator,
    caller: &Caller,
    request: &pb::ClearQuarantineRequest,
) -> Result<Bytes, Status> {
    let id = service(caller, &request.service, OperatorRole::Deployer)?;
    let release = Some(&request.release).filter(|text| !text.is_empty()).map(|text| text.parse());
    let release = release.transpose().map_err(|error| invalid("release", &error))?;
    let cleared = quarantine::clear(coordinator, id, release, caller.actor()).await.map_err(refused)?;
    Ok(encode(&cleared))
}
