//! The check of the names that a release wants to be reached under: its environment may use them, and nobody else does.

use std::collections::BTreeSet;

use windlass_core::release::{Release, Route, not_balanced};
use windlass_core::service::Mode;
use windlass_core::traffic::taken;
use windlass_core::{EnvironmentId, HostId, ServiceId, ServiceName};

use super::ReleaseError;
use crate::ledger::State;
use crate::routes::serves;
use crate::store::record::HostRecord;
use crate::words::first_of;

/// Names that a sentence gives.
const NAMED: usize = 3;

/// Refuses a release whose names are not its service's to have, or that a host of its slots cannot read.
pub(crate) fn check(state: &State, release: &Release) -> Result<(), ReleaseError> {
    let trust = state.trust.document();
    for route in &release.spec.traffic.routes {
        if !trust.allows_host(&release.environment, &route.host) {
            let (host, environment) = (route.host.clone(), release.environment.clone());
            return Err(ReleaseError::NameNotAllowed { host, environment });
        }
    }
    if let Some((route, other)) = taken(release, others(state, &release.environment)) {
        return Err(ReleaseError::NameTaken { name: route.name(), service: other.service.clone() });
    }
    if let Some((name, service, host)) = taken_elsewhere(state, release) {
        return Err(ReleaseError::NameElsewhere { name, service: Box::new(service), host });
    }
    let slots = state.slots.get(&release.service_id()).into_iter().flat_map(|slots| slots.values());
    let hosts: BTreeSet<&HostId> = slots.map(|assignment| assignment.host()).collect();
    let reads = |host: &HostId| {
        state.hosts.get(host).is_none_or(|record| record.facts.reads_release(release.version))
    };
    let too_old: Vec<HostId> = hosts.into_iter().filter(|host| !reads(host)).cloned().collect();
    if too_old.is_empty() { Ok(()) } else { Err(ReleaseError::AgentTooOld(too_old)) }
}

/// Refuses a new release that calls a service by name to which no request is routed. A way back is not refused for that.
pub(crate) fn check_uses(state: &State, release: &Release) -> Result<(), ReleaseError> {
    match not_balanced(release, |name| current(state, release, name)) {
        Some(used) => Err(ReleaseError::NotBalanced { used: used.clone() }),
        None => Ok(()),
    }
}

/// The release that a service of the same environment is at, or moves to.
fn current<'a>(state: &'a State, release: &'a Release, name: &ServiceName) -> Option<&'a Release> {
    // It may call itself.
    if *name == release.service {
        return Some(release);
    }
    let id = ServiceId::new(release.environment.clone(), name.clone());
    let service = state.services.get(&id).filter(|service| service.mode != Mode::Removed)?;
    let moves_to = state.active_rollout(&id).map(|rollout| rollout.to);
    state.releases.get(&moves_to.or(service.current)?.digest)
}

/// Says which names lead nowhere once a release has taken over, which services it calls by name that are not there, and which of
/// its names lead nowhere yet: what is missing may come later.
pub(crate) fn warnings(state: &State, release: &Release) -> Vec<String> {
    let missing = release.spec.uses.iter().filter(|name| current(state, release, name).is_none());
    let environment = &release.environment;
    let text = |name: &ServiceName| {
        format!(
            "`uses: [{name}]`: there is no service `{name}` in `{environment}` yet; until it is deployed, nothing answers at its name"
        )
    };
    let nowhere = release.spec.traffic.routes.first().filter(|_| !has_ingress(state, environment)).map(|route| {
        format!(
            "nothing answers at `{}` yet: no ingress serves `{environment}`; `windlass-agent ingress` beside an agent is one",
            route.host
        )
    });
    lost(state, release).into_iter().chain(missing.map(text)).chain(nowhere).collect()
}

/// Says which names of its service lead nowhere once `release` has taken over; `None` if each of them leads on somewhere.
pub(crate) fn lost(state: &State, release: &Release) -> Option<String> {
    let id = release.service_id();
    let service = state.services.get(&id).filter(|service| service.mode != Mode::Removed)?;
    let from = state.active_rollout(&id).and_then(|rollout| rollout.from);
    let now = [service.current, from].into_iter().flatten();
    let now = now.filter_map(|name| state.releases.get(&name.digest)).flat_map(lasting);
    let elsewhere = others(state, &release.environment).filter(|other| other.service_id() != id);
    let after: Vec<&Route> = std::iter::once(release).chain(elsewhere).flat_map(lasting).collect();
    let names: BTreeSet<String> = now
        .filter(|route| !after.iter().any(|after| after.covers(route)))
        .map(|route| format!("`{}`", route.name()))
        .collect();
    let shown = first_of(&names.iter().collect::<Vec<_>>(), NAMED);
    let verb = if names.len() == 1 { "leads" } else { "lead" };
    let has = if lasting(release).next().is_none() { "no `route`" } else { "no such `route`" };
    (!names.is_empty()).then(|| format!("{shown} {verb} nowhere after this: {} has {has}", release.counter))
}

/// The names of a release that outlast its rollout.
fn lasting(release: &Release) -> impl Iterator<Item = &Route> {
    release.spec.traffic.routes.iter().filter(|route| !route.preview)
}

/// Whether an ingress has ever reported from a host of the environment, and was not forgotten.
fn has_ingress(state: &State, environment: &EnvironmentId) -> bool {
    let has_one = |host: &&HostRecord| host.ingress_since.is_some() && serves(state, &host.name, environment);
    state.hosts.values().any(|host| has_one(&host))
}

/// The first name of the release that a service of another environment has, that service, and a host whose ingress serves both:
/// it would lead every request to one of them.
fn taken_elsewhere(state: &State, release: &Release) -> Option<(String, ServiceId, HostId)> {
    let mine = &release.environment;
    let has_ingress = |host: &&HostRecord| host.ingress_since.is_some() && serves(state, &host.name, mine);
    let ingresses: Vec<&HostRecord> = state.hosts.values().filter(has_ingress).collect();
    let environments: BTreeSet<&EnvironmentId> =
        state.services.keys().map(|id| &id.environment).filter(|theirs| *theirs != mine).collect();
    for theirs in environments {
        let Some(host) = ingresses.iter().find(|host| serves(state, &host.name, theirs)) else { continue };
        if let Some((route, other)) = taken(release, others(state, theirs)) {
            return Some((route.name(), other.service_id(), host.name.clone()));
        }
    }
    None
}

/// Releases of the services of an environment that may answer requests now, or after a way back that nobody asks for.
fn others<'a>(state: &'a State, environment: &'a EnvironmentId) -> impl Iterator<Item = &'a Release> {
    let services = state.services.values().filter(|service| service.mode != Mode::Removed);
    let services = services.filter(move |service| service.id.environment == *environment);
    let names = services.flat_map(|service| {
        let moves_to = state.active_rollout(&service.id).map(|rollout| rollout.to);
        [service.current, service.last_good(), moves_to].into_iter().flatten()
    });
    names.filter_map(|name| state.releases.get(&name.digest))
}
