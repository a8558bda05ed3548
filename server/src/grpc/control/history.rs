//! Figures of a host or a service over time.

use bytes::Bytes;
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::HostId;
use windlass_proto::json::encode;
use windlass_proto::pb;

use super::{Caller, service};
use crate::coordinator::Coordinator;
use crate::grpc::status::{invalid, refused};
use crate::hosts::HostError;
use crate::releases::ReleaseError;

pub(super) fn get(
    coordinator: &Coordinator,
    caller: &Caller,
    request: &pb::GetHistoryRequest,
) -> Result<Bytes, Status> {
    let now = coordinator.ledger.now();
    let view = match (request.host.as_str(), request.service.as_str()) {
        ("", "") => return Err(Status::invalid_argument("name a `host` or a `service`")),
        ("", text) => {
            let id = service(caller, text, OperatorRole::Viewer)?;
            if !coordinator.ledger.read(|state| state.services.contains_key(&id)) {
                return Err(refused(ReleaseError::UnknownService(id)));
            }
            coordinator.history.service(&id, now)
        }
        (host, "") => {
            let host: HostId = host.parse().map_err(|error| invalid("host", &error))?;
            if !coordinator.ledger.read(|state| state.hosts.contains_key(&host)) {
                return Err(refused(HostError::Unknown(host)));
            }
            coordinator.history.host(&host, now)
        }
        _ => return Err(Status::invalid_argument("name a `host` or a `service`, not both")),
    };
    Ok(view.map(|view| encode(&view)).unwrap_or_default())
}
