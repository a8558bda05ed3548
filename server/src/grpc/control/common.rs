//! The common parts of an operator's calls.

use futures_util::stream::BoxStream;
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::ServiceId;

use super::super::access::Caller;
use super::super::status::{invalid, refused};
use crate::coordinator::Coordinator;
use crate::releases::ReleaseError;

/// The answer of a call that goes on.
pub(super) type Stream<T> = BoxStream<'static, Result<T, Status>>;

/// Parses `environment/service` and checks that the caller has `role` there.
pub(super) fn service(caller: &Caller, text: &str, role: OperatorRole) -> Result<ServiceId, Status> {
    let service: ServiceId = text.parse().map_err(|error| invalid("service", &error))?;
    caller.may(role, &service.environment)?;
    Ok(service)
}

/// Refuses a service that the fleet never had. One that was removed is still known.
pub(super) fn known(coordinator: &Coordinator, id: &ServiceId) -> Result<(), Status> {
    if coordinator.ledger.read(|state| state.services.contains_key(id)) {
        return Ok(());
    }
    Err(refused(ReleaseError::UnknownService(id.clone())))
}
