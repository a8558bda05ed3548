//! Traffic: what every ingress is to have and has.

use bytes::Bytes;
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::{HostId, view};
use windlass_proto::pb;

use super::{Caller, answer, service};
use crate::coordinator::Coordinator;
use crate::grpc::status::{invalid, refused};
use crate::releases::ReleaseError;
use crate::routes;

pub(super) fn list(coordinator: &Coordinator, caller: &Caller, text: &str) -> Result<Bytes, Status> {
    let wanted = match text {
        "" => None,
        text => Some(service(caller, text, OperatorRole::Viewer)?),
    };
    let traffic = coordinator.ledger.read(|state| {
        let known = wanted.as_ref().is_none_or(|id| state.services.contains_key(id));
        known.then(|| routes::traffic(state, &coordinator.registry))
    });
    let (Some(traffic), wanted) = (traffic, wanted.as_ref()) else {
        return Err(refused(wanted.map_or_else(
            || ReleaseError::Write(crate::ledger::WriteError::Stopping),
            ReleaseError::UnknownService,
        )));
    };
    let environments = traffic.tables.keys().filter(|name| caller.sees(name));
    let environments = environments.filter(|name| wanted.is_none_or(|id| &id.environment == *name));
    let only = wanted.map(|id| &id.name);
    let now = coordinator.ledger.now();
    let views = environments.filter_map(|name| view::routes(&traffic, name, only));
    let views: Vec<_> = views.map(|view| coordinator.registry.completed(view, &traffic, now)).collect();
    answer::whole(&views, "name a service: `windlass routes SERVICE`")
}

pub(super) async fn forget(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::ForgetIngressRequest,
) -> Result<pb::ForgetIngressResponse, Status> {
    let host: HostId = request.host.parse().map_err(|error| invalid("host", &error))?;
    routes::forget(coordinator, host, caller.actor()).await.map_err(refused)?;
    Ok(pb::ForgetIngressResponse {})
}
