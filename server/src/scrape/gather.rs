//! Looks everything up. One service at a time, so that the writer never waits long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use windlass_core::host::HostStats;
use windlass_core::service::Slots;
use windlass_core::view::{self, StatusView};
use windlass_core::{HostId, RolloutId, ServiceId, Timestamp};

use super::{ROLLOUTS, Scrape, fleet, hosts, instances, routes, services};
use crate::config::Detail;
use crate::coordinator::Coordinator;
use crate::engine;
use crate::ledger::State;

/// Inputs of a scrape beside the coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// Interval of backups.
    pub(crate) backup_every: Duration,
    /// Level of detail.
    pub(crate) detail: Detail,
}

/// Looks everything up. Blocks: it looks at files, too.
pub(crate) fn gather(
    coordinator: &Coordinator,
    place: &Place,
    handshakes: BTreeMap<&'static str, u64>,
) -> Scrape {
    let now = coordinator.ledger.now();
    let fleet = fleet::look(coordinator, &place.data, place.backup_every);
    let mut scrape = Scrape::at(now, fleet, handshakes);
    if place.detail == Detail::Fleet {
        return scrape;
    }
    let traffic = coordinator.ledger.read(|state| crate::routes::traffic(state, &coordinator.registry));
    scrape.routes = routes::look(&traffic, now);
    let fresh = coordinator.registry.fresh_stats(now);
    scrape.hosts = coordinator.ledger.read(|state| {
        let fleet = coordinator.registry.fleet(state, None, now);
        hosts::look(state, fleet, &fresh)
    });
    let (ids, newest) = coordinator.ledger.read(|state| {
        let ids: Vec<ServiceId> = state.services.keys().cloned().collect();
        (ids, newest_rollouts(state))
    });
    let mut asked = 0;
    for id in ids {
        let looked = coordinator.ledger.read(|state| {
            let view = status(coordinator, state, &id, &fresh, now)?;
            let rollout = newest.get(&id).and_then(|rollout| state.rollouts.get(rollout));
            let is_active = state.active_rollout(&id).is_some_and(|_| asked < ROLLOUTS);
            asked += usize::from(is_active);
            let advance =
                is_active.then(|| engine::advance(state, &coordinator.registry, &id, now)).flatten();
            let waiting = advance.map(|advance| advance.waiting).unwrap_or_default();
            Some(services::look(view, rollout, &waiting))
        });
        let Some(service) = looked else { continue };
        if place.detail == Detail::Instances {
            scrape.add_instances(instances::look(service.view(), &fresh));
        }
        scrape.services.push(service);
    }
    scrape
}

/// The rollout of each service that was made last: their ids rise with time.
fn newest_rollouts(state: &State) -> BTreeMap<ServiceId, RolloutId> {
    state.rollouts.values().map(|rollout| (rollout.service.clone(), rollout.id.clone())).collect()
}

/// The status of a service that has not gone; `fresh` says what its instances use.
pub(crate) fn status(
    coordinator: &Coordinator,
    state: &State,
    id: &ServiceId,
    fresh: &BTreeMap<HostId, Arc<HostStats>>,
    now: Timestamp,
) -> Option<StatusView> {
    let (service, none) = (state.services.get(id)?, Slots::new());
    let slots = state.slots.get(id).unwrap_or(&none);
    if service.is_gone(state.slots.get(id)) {
        return None;
    }
    let hosts: BTreeSet<&HostId> = slots.values().map(|assignment| assignment.host()).collect();
    let stats = hosts.into_iter().filter_map(|host| Some((host.clone(), fresh.get(host)?.clone()))).collect();
    let fleet = coordinator.registry.around(state, id, now);
    let rollout = state.active_rollout(id);
    Some(view::status(service, slots, rollout, &state.releases, &fleet, &stats, &[]))
}
