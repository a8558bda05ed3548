//! All rows of a board. A part of the state at a time, so that the writer never waits long.

use std::collections::BTreeMap;

use tokio::task::yield_now;
use windlass_core::view::{self, Board, EventView, HostView, RoutesView, RowView};
use windlass_core::{EnvironmentId, HostId, RolloutId, ServiceId, Timestamp};

use super::super::{hosts, rollouts::status_of};
use crate::boards::Looked;
use crate::coordinator::Coordinator;
use crate::ledger::State;
use crate::rollouts;
use crate::routes as tables;
use crate::store::record::HostRecord;

/// Hosts, and services or rollouts, that are looked at together.
const TOGETHER: (usize, usize) = (200, 10);
/// The newest rollouts and events that have a row. Rollouts under way have one in any case.
const NEWEST: (usize, usize) = (200, 1000);

/// Looks all of them up.
pub(super) async fn look(coordinator: &Coordinator, board: Board) -> Looked {
    let now = coordinator.ledger.now();
    let rows = match board {
        Board::Hosts => {
            let put = |mut view: Box<HostView>, rows: &mut Vec<RowView>| {
                view.for_list();
                rows.push(RowView::Host(view));
            };
            hosts(coordinator, now, |_| true, put).await
        }
        Board::Gpus => {
            let has_some =
                |record: &HostRecord| !record.facts.gpus.is_empty() || !record.facts.gpus_lost.is_empty();
            hosts(coordinator, now, has_some, |view, rows| rows.extend(RowView::gpus(&view, now))).await
        }
        Board::Services | Board::Instances => services(coordinator, now, board).await,
        Board::Rollouts => rollouts(coordinator, now).await,
        Board::Events => coordinator.ledger.read(events),
        Board::Routes => routes(coordinator, now, RowView::routes).await,
        Board::Ingresses => routes(coordinator, now, RowView::ingresses).await,
    };
    let (hosts, moving) =
        coordinator.ledger.read(|state| (coordinator.registry.count(state, now), moving(state)));
    Looked { now, rows, hosts, moving }
}

/// Rollouts under way, by environment.
fn moving(state: &State) -> BTreeMap<EnvironmentId, usize> {
    let mut moving = BTreeMap::new();
    for id in state.services.values().filter(|service| service.rollout.is_some()).map(|service| &service.id) {
        *moving.entry(id.environment.clone()).or_default() += 1;
    }
    moving
}

async fn hosts(
    coordinator: &Coordinator,
    now: Timestamp,
    wanted: impl Fn(&HostRecord) -> bool,
    put: impl Fn(Box<HostView>, &mut Vec<RowView>),
) -> Vec<RowView> {
    let names: Vec<HostId> = coordinator.ledger.read(|state| {
        state.hosts.values().filter(|record| wanted(record)).map(|record| record.name.clone()).collect()
    });
    let mut rows = Vec::with_capacity(names.len());
    for names in names.chunks(TOGETHER.0) {
        coordinator.ledger.read(|state| {
            let fleet = coordinator.registry.some(state, names, now);
            for record in names.iter().filter_map(|name| state.hosts.get(name)) {
                let mut view = Box::new(hosts::view(coordinator, state, &fleet, record));
                // As in `host ls`: those are many, and of one host.
                view.stats.iter_mut().for_each(|stats| stats.instances = Vec::new());
                if !view.gpus.is_empty() {
                    let slots = state.slots_on(&view.name).map(|(_, slot)| slot);
                    view.gpu_holders = view::gpu_holders(slots, &state.releases);
                }
                put(view, &mut rows);
            }
        });
        yield_now().await;
    }
    rows
}

async fn services(coordinator: &Coordinator, now: Timestamp, board: Board) -> Vec<RowView> {
    let ids: Vec<ServiceId> = coordinator.ledger.read(|state| state.services.keys().cloned().collect());
    let mut rows = Vec::with_capacity(ids.len());
    for ids in ids.chunks(TOGETHER.1) {
        for id in ids {
            let status = coordinator
                .ledger
                .read(|state| status_of(state, &coordinator.registry, state.services.get(id)?, now));
            match status {
                Some(status) if board == Board::Instances => rows.extend(RowView::instances(&status)),
                Some(status) => rows.push(RowView::of_service(status)),
                None => {}
            }
        }
        yield_now().await;
    }
    rows
}

async fn rollouts(coordinator: &Coordinator, now: Timestamp) -> Vec<RowView> {
    let ids: Vec<RolloutId> = coordinator.ledger.read(|state| {
        // Version 7: the order of ids is that of time.
        let newest = state.rollouts.values().rev().enumerate();
        let shown = newest.filter(|(number, rollout)| *number < NEWEST.0 || !rollout.state.is_final());
        shown.map(|(_, rollout)| rollout.id.clone()).collect()
    });
    let mut rows = Vec::with_capacity(ids.len());
    for ids in ids.chunks(TOGETHER.1) {
        let shown = ids.iter().filter_map(|id| {
            let show = |state: &State| rollouts::show(state, &coordinator.registry, id, now);
            coordinator.ledger.read(show)
        });
        rows.extend(shown.map(RowView::of_rollout));
        yield_now().await;
    }
    rows
}

/// The rows of each environment that has a table.
async fn routes(
    coordinator: &Coordinator,
    now: Timestamp,
    of: fn(&RoutesView) -> Vec<RowView>,
) -> Vec<RowView> {
    let traffic = coordinator.ledger.read(|state| tables::traffic(state, &coordinator.registry));
    let mut rows = Vec::new();
    for environment in traffic.tables.keys() {
        if let Some(view) = view::routes(&traffic, environment, None) {
            rows.extend(of(&coordinator.registry.completed(view, &traffic, now)));
        }
        yield_now().await;
    }
    rows
}

fn events(state: &State) -> Vec<RowView> {
    let newest = state.events.iter().rev().take(NEWEST.1).cloned();
    let view = newest.map(|event| EventView {
        n: event.n,
        at: event.at,
        kind: event.kind,
        subject: event.subject,
        message: event.message,
        actor: event.actor,
    });
    view.map(RowView::Event).collect()
}
