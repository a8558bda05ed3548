//! Rollouts and what runs where.

use std::collections::BTreeMap;

use bytes::Bytes;
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::rollout::Steering;
use windlass_core::service::{Mode, Slots};
use windlass_core::view::{self, StatusView};
use windlass_core::{HostId, RolloutId, ServiceId};
use windlass_proto::json::encode;
use windlass_proto::pb;

use super::{Caller, service};
use crate::coordinator::Coordinator;
use crate::engine;
use crate::grpc::status::refused;
use crate::releases::ReleaseError;
use crate::rollouts::{self, RolloutError};

/// Finds a rollout, and checks that the caller has `role` in its environment.
pub(super) fn find(
    coordinator: &Coordinator,
    caller: &Caller,
    text: &str,
    role: OperatorRole,
) -> Result<RolloutId, Status> {
    let (id, service) = coordinator.ledger.read(|state| rollouts::find(state, text)).map_err(refused)?;
    caller.may(role, &service.environment)?;
    Ok(id)
}

pub(super) fn get(coordinator: &Coordinator, caller: &Caller, text: &str) -> Result<Bytes, Status> {
    let id = find(coordinator, caller, text, OperatorRole::Viewer)?;
    show(coordinator, &id)
}

pub(super) async fn explain(coordinator: &Coordinator, caller: &Caller, text: &str) -> Result<Bytes, Status> {
    let id = find(coordinator, caller, text, OperatorRole::Viewer)?;
    // The decisions first: what is shown beside them may then be newer, and never older.
    let decisions = coordinator.ledger.decisions(&id).await.map_err(|error| {
        tracing::error!(%error, "failed to read the decisions of a rollout");
        Status::unavailable("the decisions of the rollout cannot be read")
    })?;
    let view = coordinator.ledger.read(|state| {
        let log = state.rollouts.get(&id)?.log.clone();
        let view = rollouts::show(state, &coordinator.registry, &id, coordinator.ledger.now())?;
        Some(view::explain(view, &log, decisions))
    });
    view.map(|view| encode(&view)).ok_or_else(|| refused(RolloutError::Unknown(id.to_string())))
}

pub(super) fn list(coordinator: &Coordinator, caller: &Caller, text: &str) -> Result<Bytes, Status> {
    let wanted = match text {
        "" => None,
        text => Some(service(caller, text, OperatorRole::Viewer)?),
    };
    let mut views = rollouts::list(coordinator, wanted.as_ref());
    views.retain(|view| caller.sees(&view.environment));
    Ok(encode(&views))
}

pub(super) async fn steer(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::SteerRolloutRequest,
) -> Result<Bytes, Status> {
    let steering = match request.action() {
        pb::RolloutAction::Unspecified => return Err(Status::invalid_argument("`action` is missing")),
        pb::RolloutAction::Pause => Steering::Pause,
        pb::RolloutAction::Resume => Steering::Resume,
        pb::RolloutAction::Abort => Steering::Abort,
    };
    let id = find(coordinator, caller, &request.rollout, OperatorRole::Deployer)?;
    rollouts::steer(coordinator, id.clone(), steering, caller.actor()).await.map_err(refused)?;
    show(coordinator, &id)
}

pub(super) fn status(coordinator: &Coordinator, caller: &Caller, text: &str) -> Result<Bytes, Status> {
    let wanted = match text {
        "" => None,
        text => Some(service(caller, text, OperatorRole::Viewer)?),
    };
    let mut views = statuses(coordinator, wanted.as_ref());
    if let (Some(id), true) = (wanted, views.is_empty()) {
        return Err(refused(ReleaseError::UnknownService(id)));
    }
    views.retain(|view| caller.sees(&view.environment));
    Ok(encode(&views))
}

fn statuses(coordinator: &Coordinator, wanted: Option<&ServiceId>) -> Vec<StatusView> {
    let now = coordinator.ledger.now();
    let registry = &coordinator.registry;
    coordinator.ledger.read(|state| {
        let fleet = registry.fleet(state, None, now);
        let none = Slots::new();
        let services = state.services.values().filter(|known| wanted.is_none_or(|id| &known.id == id));
        // What is removed shows until every host has said so.
        let services = services
            .filter(|known| known.mode != Mode::Removed || !known.is_gone(state.slots.get(&known.id)));
        services
            .map(|known| {
                let slots = state.slots.get(&known.id).unwrap_or(&none);
                let stats: BTreeMap<HostId, _> = slots
                    .values()
                    .filter_map(|a| Some((a.host.clone(), registry.stats_of(&a.host)?)))
                    .collect();
                let rollout = state.active_rollout(&known.id);
                let waiting = match rollout {
                    Some(_) => Vec::new(),
                    None => engine::advance(state, registry, &known.id, now)
                        .map(|a| a.waiting)
                        .unwrap_or_default(),
                };
                view::status(known, slots, rollout, &state.releases, &fleet, &stats, &waiting)
            })
            .collect()
    })
}

fn show(coordinator: &Coordinator, id: &RolloutId) -> Result<Bytes, Status> {
    let view = coordinator
        .ledger
        .read(|state| rollouts::show(state, &coordinator.registry, id, coordinator.ledger.now()));
    view.map(|view| encode(&view)).ok_or_else(|| refused(RolloutError::Unknown(id.to_string())))
}
