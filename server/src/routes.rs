//! Traffic tables: derived when something changed, numbered and stored in one write, signed when sent.
//!
//! A table is stored whole, since what it was derived from (the observations of hosts) is not: so a restart signs the same
//! bytes again, and two tables with one number never exist.

mod ingresses;
mod tables;

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_core::host::Liveness;
use windlass_core::service::Slots;
use windlass_core::traffic::{
    self, Derived, IngressReport, ROUTES_VERSION, Routes, ServiceSeen, Table, TrafficInputs,
};
use windlass_core::{Digest, EnvironmentId, HostId, ServiceId, Timestamp};

use crate::coordinator::Coordinator;
use crate::in_order::InOrder;
use crate::ledger::{Change, State, WriteError};
use crate::registry::Registry;
use crate::store::record::RoutesRecord;

pub(crate) use ingresses::{forget, raise, reported, serves, traffic};
pub(crate) use tables::Tables;
use tables::payload;

/// Makes a new table of `environment`, if what it says has changed. Answers whether it did. One that is `moving` is likely to
/// change again, and only derived where that is stored.
pub(crate) async fn refresh(
    coordinator: &Coordinator,
    environment: EnvironmentId,
    moving: bool,
) -> Result<bool, WriteError> {
    let now = coordinator.ledger.now();
    let is_due = |state: &State| moving || next(state, &coordinator.registry, &environment, now).is_some();
    if !coordinator.ledger.read(is_due) {
        return Ok(false);
    }
    let registry = coordinator.registry.clone();
    coordinator
        .ledger
        .write(move |batch| {
            let record = next(batch.state, &registry, &environment, batch.now);
            let is_new = record.is_some();
            if let Some(record) = record {
                batch.change(Change::Routes(environment, Box::new(record)));
            }
            is_new
        })
        .await
}

/// The record of the next table; `None` if the newest one says all there is to say.
fn next(
    state: &State,
    registry: &Registry,
    environment: &EnvironmentId,
    now: Timestamp,
) -> Option<RoutesRecord> {
    // A table from a store that is older than its fleet would undo what the fleet has done since.
    if state.is_recovering() {
        return None;
    }
    let record = state.routes.get(environment);
    let before = record.and_then(|record| record.table.as_deref());
    // After a restart the table stands until its hosts have said what they run, or are lost.
    let is_awaited = |host: &HostId| {
        let is_member = state.hosts.get(host).is_some_and(|record| record.is_member());
        is_member && !registry.has_reported(host) && registry.liveness(host, now) != Liveness::Lost
    };
    let endpoints = before.iter().flat_map(|table| &table.routes.services).flat_map(|of| &of.endpoints);
    if endpoints.map(|endpoint| &endpoint.host).collect::<BTreeSet<_>>().into_iter().any(is_awaited) {
        return None;
    }
    let floor = record.map_or(0, |record| record.floor);
    let Derived { names, services } = derive(state, registry, environment, before);
    let epoch = state.trust.document().epoch;
    let is_known = match before {
        None => names.is_empty() && services.is_empty() && floor == 0,
        Some(Table { routes, .. }) => {
            (routes.epoch, &routes.names, &routes.services) == (epoch, &names, &services)
                && routes.seq > floor
        }
    };
    if is_known {
        return None;
    }
    let routes = Routes {
        version: Routes::version_for(&services),
        fleet: state.fleet.clone(),
        environment: environment.clone(),
        epoch,
        seq: record.map_or(0, RoutesRecord::newest) + 1,
        issued_at: now,
        names,
        services,
    };
    if let Err(error) = routes.check() {
        // Cannot happen: a property test watches that what is derived holds.
        tracing::error!(%environment, %error, "the traffic table that was derived does not hold");
        return None;
    }
    let digest = Digest::of(&payload(&routes));
    Some(RoutesRecord { floor, table: Some(Arc::new(Table::next(before, routes, digest))) })
}

fn derive(
    state: &State,
    registry: &Registry,
    environment: &EnvironmentId,
    before: Option<&Table>,
) -> Derived {
    let none = Slots::new();
    // Services without a port are in no table: thousands of their instances are not looked at.
    let with_ports: BTreeSet<_> = state
        .releases
        .values()
        .filter(|release| &release.environment == environment && !release.spec.ports.is_empty())
        .map(|release| &release.service)
        .collect();
    if with_ports.is_empty() {
        return Derived::default();
    }
    let of_it = |id: &ServiceId| &id.environment == environment && with_ports.contains(&id.name);
    let services = state.services.values().filter(|service| of_it(&service.id));
    let services = services.map(|service| {
        let rollout = state.active_rollout(&service.id);
        let goes_on = |rollout: &windlass_core::rollout::Rollout| {
            rollout.state != windlass_core::rollout::State::Paused
        };
        ServiceSeen {
            service,
            slots: state.slots.get(&service.id).unwrap_or(&none),
            candidate: rollout.map(|rollout| rollout.to.digest),
            moving: rollout.is_some_and(goes_on),
        }
    });
    let reports = registry.observations();
    let (mut reports, mut plans) = (InOrder::new(&reports), InOrder::new(&state.plans));
    let members = state.hosts.values().filter(|record| record.is_member());
    let hosts = members.map(|record| {
        let plan = plans.get(&record.name);
        let seen = traffic::HostSeen {
            address: record.address.parse().ok(),
            recovering: state.awaits_that(record),
            observation: reports.get(&record.name).map(|observation| &**observation),
            issued_seq: plan.map_or(0, |plan| plan.seq),
            parts: plan.map(|plan| &*plan.since),
        };
        (&record.name, seen)
    });
    let trust = state.trust.document();
    traffic::derive(&TrafficInputs {
        services: services.collect(),
        hosts: hosts.collect(),
        releases: &state.releases,
        before: before.map_or(&[], |table| table.routes.services.as_slice()),
        standbys: reads_newest(state, registry, environment, before),
        allows: &|host| trust.allows_host(environment, host),
    })
}

/// Whether every agent and every ingress of an environment reads tables of the newest version: one that does not would stay
/// on the table before. Ingresses that have said nothing since the coordinator began read what they read before.
fn reads_newest(
    state: &State,
    registry: &Registry,
    environment: &EnvironmentId,
    before: Option<&Table>,
) -> bool {
    let ingresses = traffic(state, registry).ingresses;
    let of_it = ingresses.values().filter(|ingress| ingress.serves.contains(environment));
    let was_newest = before.is_some_and(|table| table.routes.version == ROUTES_VERSION);
    let reads = |report: &IngressReport| report.routes_versions.contains(&ROUTES_VERSION);
    let mut members = state.hosts.values().filter(|record| record.serves(environment));
    members.all(|record| record.facts.reads_routes(ROUTES_VERSION))
        && of_it.map(|ingress| &ingress.processes).all(|processes| match processes.serving() {
            None => was_newest,
            Some(_) => processes.all().all(reads),
        })
}

/// Every environment that has a table, or may have one.
pub(crate) fn environments(state: &State) -> BTreeSet<EnvironmentId> {
    let of_services = state.services.keys().map(|id| id.environment.clone());
    of_services.chain(state.routes.keys().cloned()).collect()
}

/// Environments whose newest table is not above what hosts have shown.
pub(crate) fn raised(state: &State) -> BTreeSet<EnvironmentId> {
    let behind = |record: &RoutesRecord| {
        record.table.as_ref().map_or(0, |table| table.routes.seq) <= record.floor && record.floor > 0
    };
    state.routes.iter().filter(|(_, record)| behind(record)).map(|(name, _)| name.clone()).collect()
}

/// Names that lead to an instance of a service now; none if requests to it get no answer anyway.
pub(crate) fn serving(state: &State, service: &ServiceId) -> Vec<String> {
    let record = state.routes.get(&service.environment);
    let Some(table) = record.and_then(|record| record.table.as_deref()) else { return Vec::new() };
    let of_it = table.routes.services.iter().filter(|routed| routed.service == service.name);
    if !of_it.flat_map(|routed| &routed.endpoints).any(|endpoint| !endpoint.draining) {
        return Vec::new();
    }
    let names = table.routes.names.iter().filter(|name| name.service == service.name);
    names.map(|name| format!("{}{}", name.host, if name.path == "/" { "" } else { &name.path })).collect()
}
