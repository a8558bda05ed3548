//! Rollouts and what runs where.

use std::collections::BTreeMap;

use bytes::Bytes;
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::fleet::Fleet as _;
use windlass_core::rollout::{Approved, RolloutCommand};
use windlass_core::service::{Mode, Service, Slots};
use windlass_core::view::{self, StatusView};
use windlass_core::{HostId, RolloutId, ServiceId, Timestamp};
use windlass_proto::pb;

use super::{Caller, answer, known, service};
use crate::coordinator::Coordinator;
use crate::engine;
use crate::grpc::status::refused;
use crate::ledger::State;
use crate::registry::Registry;
use crate::releases::ReleaseError;
use crate::rollouts::{self, RolloutError};

/// Finds a rollout, and checks that the caller has `role` in its environment.
pub(super) fn find(
    coordinator: &Coordinator,
    caller: &Caller,
    text: &str,
    role: OperatorRole,
) -> Result<RolloutId, Status> {
    // Before it is said which services there are.
    if text.contains('/') {
        self::service(caller, text, role)?;
    }
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
    let view = view.ok_or_else(|| refused(RolloutError::Unknown(id.to_string())))?;
    answer::whole(&view, "`windlass rollout ls` tells how far it is")
}

pub(super) fn list(coordinator: &Coordinator, caller: &Caller, text: &str) -> Result<Bytes, Status> {
    let wanted = match text {
        "" => None,
        text => Some(service(caller, text, OperatorRole::Viewer)?),
    };
    // One that was removed keeps its rollouts.
    wanted.as_ref().map_or(Ok(()), |id| known(coordinator, id))?;
    let mut views = rollouts::list(coordinator, wanted.as_ref());
    views.retain(|view| caller.sees(&view.environment));
    answer::whole(&views, "name a service: `windlass rollout ls SERVICE`")
}

pub(super) async fn steer(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::SteerRolloutRequest,
) -> Result<Bytes, Status> {
    let id = || find(coordinator, caller, &request.rollout, OperatorRole::Deployer);
    let steering = match request.action() {
        pb::RolloutAction::Unspecified => return Err(Status::invalid_argument("`action` is missing")),
        pb::RolloutAction::Pause => RolloutCommand::Pause,
        pb::RolloutAction::Resume => RolloutCommand::Resume,
        pb::RolloutAction::Abort => RolloutCommand::Abort,
        pb::RolloutAction::Promote => RolloutCommand::Promote,
        pb::RolloutAction::PromoteFull => RolloutCommand::PromoteFull,
        pb::RolloutAction::Approve => {
            let id = find(coordinator, caller, &request.rollout, OperatorRole::Approver)?;
            let release = request.release.parse();
            let release = release.map_err(|_| Status::invalid_argument("`release` is no digest"))?;
            let approved = Approved { step: request.step, release };
            rollouts::approve(coordinator, id.clone(), approved, caller.actor()).await.map_err(refused)?;
            return show(coordinator, &id);
        }
    };
    let id = id()?;
    let at = request.at.filter(|_| matches!(steering, RolloutCommand::Promote | RolloutCommand::PromoteFull));
    let may_approve = find(coordinator, caller, &request.rollout, OperatorRole::Approver).is_ok();
    let steered = rollouts::steer(coordinator, id.clone(), steering, at, may_approve, caller.actor());
    steered.await.map_err(refused)?;
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
    answer::whole(&views, "name a service: `windlass status SERVICE`")
}

/// Each service is looked at by itself: with thousands of slots in each, the writer would wait long for one look at all.
fn statuses(coordinator: &Coordinator, wanted: Option<&ServiceId>) -> Vec<StatusView> {
    let now = coordinator.ledger.now();
    let ids: Vec<ServiceId> = match wanted {
        Some(id) => vec![id.clone()],
        None => coordinator.ledger.read(|state| state.services.keys().cloned().collect()),
    };
    let views = ids.iter().filter_map(|id| {
        coordinator.ledger.read(|state| status_of(state, &coordinator.registry, state.services.get(id)?, now))
    });
    views.collect()
}

/// `None` for a service that is removed, once every host has said so.
pub(super) fn status_of(
    state: &State,
    registry: &Registry,
    service: &Service,
    now: Timestamp,
) -> Option<StatusView> {
    let none = Slots::new();
    let slots = state.slots.get(&service.id).unwrap_or(&none);
    if service.mode == Mode::Removed && service.is_gone(state.slots.get(&service.id)) {
        return None;
    }
    let fresh = |host| registry.stats_of(host).filter(|stats| stats.is_fresh(now));
    let stats: BTreeMap<HostId, _> =
        slots.values().filter_map(|a| Some((a.host().clone(), fresh(a.host())?))).collect();
    let rollout = state.active_rollout(&service.id);
    let fleet = registry.around(state, &service.id, now);
    let advance = engine::advance_in(state, &fleet, &service.id, now);
    let waiting = advance.map(|advance| advance.waiting).unwrap_or_default();
    let mut view = view::status(service, slots, rollout, &state.releases, &fleet, &stats, &waiting);
    if let Some(traffic) = fleet.traffic() {
        view.conditions.extend(view::routes_conditions(service, slots, traffic, now));
    }
    if view.instances.is_empty() && rollout.is_none() {
        view.with_last(state.newest_rollout(&service.id));
    }
    Some(view)
}

fn show(coordinator: &Coordinator, id: &RolloutId) -> Result<Bytes, Status> {
    let view = coordinator
        .ledger
        .read(|state| rollouts::show(state, &coordinator.registry, id, coordinator.ledger.now()));
    let view = view.ok_or_else(|| refused(RolloutError::Unknown(id.to_string())))?;
    answer::whole(&view, "`windlass rollout ls` tells how far it is")
}
