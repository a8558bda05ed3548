//! Hosts and their tokens.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tonic::Status;
use windlass_core::fleet::{FleetView, Scheduling};
use windlass_core::host::Liveness;
use windlass_core::slot::Waiting;
use windlass_core::view::{self, HostView, Trouble};
use windlass_core::{HostId, ServiceId, Timestamp};
use windlass_proto::json::encode;
use windlass_proto::pb;

use super::{Caller, answer};
use crate::coordinator::Coordinator;
use crate::engine;
use crate::grpc::status::{invalid, refused};
use crate::hosts::{self, HostAction, HostError};
use crate::ledger::State;
use crate::recovery;
use crate::store::record::{HostRecord, Membership};

/// Labels of one host.
const LABELS: usize = 64;

pub(super) async fn token(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::CreateHostTokenRequest,
) -> Result<pb::CreateHostTokenResponse, Status> {
    let host: HostId = request.host.parse().map_err(|error| invalid("host", &error))?;
    let labels: BTreeMap<String, String> = request.labels.into_iter().collect();
    let plain = |text: &String| (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if labels.len() > LABELS || !labels.iter().all(|(key, value)| plain(key) && plain(value)) {
        return Err(Status::invalid_argument(
            "`labels`: at most 64, keys and values of 1 to 63 printable characters without spaces",
        ));
    }
    let made = coordinator.enrolment.token(host, labels, caller.actor()).await;
    let (token, expires_at) = made.map_err(refused)?;
    Ok(pb::CreateHostTokenResponse { token: token.to_string(), expires_at: expires_at.as_millis() })
}

pub(super) fn list(coordinator: &Coordinator, caller: &Caller) -> Result<Bytes, Status> {
    let now = coordinator.ledger.now();
    let mut views: Vec<HostView> = coordinator.ledger.read(|state| {
        let fleet = coordinator.registry.fleet(state, None, now);
        state.hosts.values().map(|record| view(coordinator, state, &fleet, record)).collect()
    });
    // Most of a long list would be what each of thousands of containers uses.
    views.iter_mut().filter_map(|view| view.stats.as_mut()).for_each(|stats| stats.instances.clear());
    views.iter_mut().for_each(HostView::for_list);
    views.iter_mut().for_each(|view| narrow(view, caller));
    answer::whole(&views, "`windlass host show` tells of one host")
}

/// Leaves out what is of environments that the caller does not see.
pub(super) fn narrow(view: &mut HostView, caller: &Caller) {
    if !caller.sees_fleet() {
        view::narrow(view, |environment| caller.sees(environment));
    }
}

pub(super) fn show(coordinator: &Coordinator, caller: &Caller, host: &str) -> Result<Bytes, Status> {
    let host: HostId = host.parse().map_err(|error| invalid("host", &error))?;
    let now = coordinator.ledger.now();
    let view = coordinator.ledger.read(|state| {
        let fleet = coordinator.registry.fleet(state, None, now);
        let record = state.hosts.get(&host)?;
        let mut view = view(coordinator, state, &fleet, record);
        if record.scheduling == Scheduling::Draining {
            (view.pinned, view.waiting) = draining(coordinator, state, &host, now);
        }
        let slots = state.slots_on(&host).map(|(_, slot)| slot);
        view.gpu_holders = view::gpu_holders(slots, &state.releases);
        view.policy = Some(record.facts.policy.clone());
        view.certificate_expires_at = Some(record.certificate.not_after);
        narrow(&mut view, caller);
        Some(view)
    });
    view.map(|view| encode(&view)).ok_or_else(|| refused(HostError::Unknown(host)))
}

/// The number of slots that can never leave the host, and the waits of the others.
fn draining(coordinator: &Coordinator, state: &State, host: &HostId, now: Timestamp) -> (u32, Vec<String>) {
    let pins = |release| state.releases.get(&release).is_some_and(|release| release.spec.pins_slots());
    let mut pinned = state.slots_on(host).filter(|(_, assignment)| pins(assignment.release())).count();
    let services: BTreeSet<&ServiceId> = state.slots_on(host).map(|(slot, _)| &slot.service).collect();
    let mut waiting = Vec::new();
    for service in services {
        if let Some(rollout) = state.active_rollout(service) {
            waiting.push(format!("{service}: the end of rollout {}", rollout.id));
            continue;
        }
        let waits =
            engine::advance(state, &coordinator.registry, service, now).map(|advance| advance.waiting);
        for wait in waits.into_iter().flatten() {
            pinned += usize::from(matches!(&wait, Waiting::Unsettled { host: on, .. } if on == host));
            waiting.push(format!("{service}: {wait}"));
        }
    }
    (u32::try_from(pinned).unwrap_or(u32::MAX), waiting)
}

pub(super) async fn steer(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::SteerHostRequest,
) -> Result<Bytes, Status> {
    let host: HostId = request.host.parse().map_err(|error| invalid("host", &error))?;
    let action = match request.action() {
        pb::HostAction::Unspecified => return Err(Status::invalid_argument("`action` is missing")),
        pb::HostAction::Cordon => HostAction::Cordon,
        pb::HostAction::Uncordon => HostAction::Uncordon,
        pb::HostAction::Drain => HostAction::Drain,
        pb::HostAction::Evict => HostAction::Evict,
        pb::HostAction::Ban => HostAction::Ban,
    };
    hosts::steer(coordinator, host, action, caller.actor()).await.map_err(refused)?;
    show(coordinator, caller, &request.host)
}

/// A host that is not in the fleet any more is shown by its standing.
pub(super) fn view(
    coordinator: &Coordinator,
    state: &State,
    fleet: &FleetView,
    record: &HostRecord,
) -> HostView {
    if let Some(member) = fleet.members.get(&record.name) {
        let mut view =
            view::host(&record.name, member, coordinator.registry.stats_of(&record.name).as_deref());
        if member.recovering && member.liveness == Liveness::Connected {
            view.state = "recovering".to_owned();
        }
        view.recovery = recovery::of_host(coordinator, state, &record.name);
        return view;
    }
    let gone = windlass_core::fleet::Member {
        facts: record.facts.clone(),
        liveness: Liveness::Lost,
        last_seen: coordinator.registry.last_seen(&record.name),
        isolated_for: None,
        scheduling: record.scheduling,
        has_ingress: false,
        recovering: false,
        issued_seq: state.plans.get(&record.name).map_or(0, |plan| plan.seq),
        parts: std::sync::Arc::default(),
        observation: None,
        last_report: None,
        taken: windlass_core::capacity::Taken::default(),
    };
    let mut view = view::host(&record.name, &gone, None);
    view.state = record.standing.as_str().to_owned();
    view.problems.retain(|problem| matches!(problem.trouble, Trouble::NotHeardOf { .. }));
    view.problems.iter_mut().for_each(|problem| problem.text = out_of_the_fleet(record.standing).to_owned());
    view
}

/// The meaning of a certificate that counts no more for its host, and the way back.
const fn out_of_the_fleet(standing: Membership) -> &'static str {
    match standing {
        Membership::Evicted => {
            "evicted: its certificate is revoked; its containers keep running. It may join again with `windlass host token`"
        }
        Membership::Banned => "banned: its certificate is revoked for good; its containers keep running",
        Membership::Cloned => {
            "cloned: two machines used its certificate, and neither gets another; evict it, and let one of them join again"
        }
        Membership::Member => "it is not connected",
    }
}
