//! The common parts of an operator's calls.

use futures_util::stream::BoxStream;
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::ServiceId;

use super::super::access::Caller;
use super::super::status::invalid;

/// The answer of a call that goes on.
pub(super) type Stream<T> = BoxStream<'static, Result<T, Status>>;

/// Parses `environment/service` and checks that the caller has `role` there.
pub(super) fn service(caller: &Caller, text: &str, role: OperatorRole) -> Result<ServiceId, Status> {
    let service: ServiceId = text.parse().map_err(|error| invalid("service", &error))?;
    caller.may(role, &service.environment)?;
    Ok(service)
}
