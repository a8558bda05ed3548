//! The names that a release wants to be reached under: may its environment use them, and does nobody else?

use std::collections::BTreeSet;

use windlass_core::HostId;
use windlass_core::release::Release;
use windlass_core::service::Mode;
use windlass_core::traffic::taken;

use super::ReleaseError;
use crate::ledger::State;

/// Refuses a release whose names are not its service's to have, or that a host of its slots cannot read.
pub(crate) fn check(state: &State, release: &Release) -> Result<(), ReleaseError> {
    let trust = state.trust.document();
    for route in &release.spec.traffic.routes {
        if !trust.allows_host(&release.environment, &route.host) {
            let (host, environment) = (route.host.clone(), release.environment.clone());
            return Err(ReleaseError::NameNotAllowed { host, environment });
        }
    }
    if let Some((route, service)) = taken(release, others(state, release)) {
        return Err(ReleaseError::NameTaken { name: route.name(), service: service.clone() });
    }
    let slots = state.slots.get(&release.service_id()).into_iter().flat_map(|slots| slots.values());
    let hosts: BTreeSet<&HostId> = slots.map(|assignment| assignment.host()).collect();
    let reads = |host: &HostId| {
        state.hosts.get(host).is_none_or(|record| record.facts.reads_release(release.version))
    };
    let too_old: Vec<HostId> = hosts.into_iter().filter(|host| !reads(host)).cloned().collect();
    if too_old.is_empty() { Ok(()) } else { Err(ReleaseError::AgentTooOld(too_old)) }
}

/// Releases of other services of its environment that may answer requests now, or after a way back that nobody asks for.
fn others<'a>(state: &'a State, release: &'a Release) -> impl Iterator<Item = &'a Release> {
    let services = state.services.values().filter(|service| service.mode != Mode::Removed);
    let services = services.filter(|service| service.id.environment == release.environment);
    let names = services.flat_map(|service| {
        let moves_to = state.active_rollout(&service.id).map(|rollout| rollout.to);
        [service.current, service.last_good(), moves_to].into_iter().flatten()
    });
    names.filter_map(|name| state.releases.get(&name.digest))
}
