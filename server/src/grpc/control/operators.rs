//! Operators: letting in, looking at, taking out. For admins of the whole fleet.

use bytes::Bytes;
use tonic::Status;
use windlass_certs::identity::Grant;
use windlass_core::OperatorName;
use windlass_proto::json::encode;
use windlass_proto::pb;

use super::Caller;
use crate::coordinator::Coordinator;
use crate::grpc::status::{invalid, refused};
use crate::operators;

pub(super) async fn add(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::AddOperatorRequest,
) -> Result<pb::AddOperatorResponse, Status> {
    let name: OperatorName = request.name.parse().map_err(|error| invalid("name", &error))?;
    let grant: Grant = request.grant.parse().map_err(|error| invalid("grant", &error))?;
    let made = coordinator.enrolment.operator_token(name, grant, caller.peer()?).await;
    let (token, expires_at) = made.map_err(refused)?;
    Ok(pb::AddOperatorResponse { token: token.to_string(), expires_at: expires_at.as_millis() })
}

pub(super) async fn list(coordinator: &Coordinator, caller: &Caller) -> Result<Bytes, Status> {
    // The caller is shown too. If that cannot be written, the others still are.
    if let Err(error) = coordinator.enrolment.note_operator(caller.peer()?).await {
        tracing::warn!(%error, "failed to note an operator");
    }
    let now = coordinator.ledger.now();
    Ok(encode(&coordinator.ledger.read(|state| operators::list(state, now))))
}

pub(super) async fn revoke(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::RevokeOperatorRequest,
) -> Result<Bytes, Status> {
    let name: OperatorName = request.name.parse().map_err(|error| invalid("name", &error))?;
    let unknown = request.unknown;
    coordinator.enrolment.revoke_operator(name.clone(), unknown, caller.peer()?).await.map_err(refused)?;
    let now = coordinator.ledger.now();
    let view = coordinator.ledger.read(|state| operators::show(state, &name, now));
    view.map(|view| encode(&view)).ok_or_else(|| Status::internal("the operator is gone"))
}
