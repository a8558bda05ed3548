//! The table of an environment, derived from what its services are to be and what hosts report.
//!
//! ```text
//!  services, slots, releases ─┐
//!  observations of hosts ─────┼──▶ derive ──▶ Derived {names, services} ──▶ a new seq, if it is not the one before
//!  the table before ──────────┘
//! ```
//!
//! Nothing here knows the time, and everything is in one order: two derivations from the same state are equal.

mod endpoints;
mod inputs;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{HostId, ServiceName};

use super::bounds::{MAX_ENDPOINTS, MAX_NAMES, MAX_SERVICES};
use super::{Endpoint, Name, RoutedService};

use endpoints::Places;
pub(crate) use endpoints::port_of;
use inputs::Reported;
pub use inputs::{HostSeen, ServiceSeen, TrafficInputs};

/// The content of a table, without number and time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Derived {
    /// Which names lead to which service.
    pub names: Vec<Name>,
    /// Every service with a port, ordered by name.
    pub services: Vec<RoutedService>,
}

/// Derives the table of an environment.
pub fn derive(scene: &TrafficInputs<'_>) -> Derived {
    let mut reported = reported(scene);
    let before: BTreeMap<&ServiceName, &RoutedService> =
        scene.before.iter().map(|service| (&service.service, service)).collect();
    let mut derived = Derived::default();
    let (mut taken, mut room) = (BTreeSet::new(), MAX_ENDPOINTS);
    // An instance that stands by takes no place from one that serves.
    let instances = reported.values().flatten().flat_map(|(.., slot)| &slot.instances);
    let has_room = instances.map(|instance| instance.endpoints.len()).sum::<usize>() <= MAX_ENDPOINTS;
    for seen in &scene.services {
        let name = &seen.service.id.name;
        let places = Places {
            seen,
            releases: scene.releases,
            before: before.get(name).map(|before| by_host(before)).unwrap_or_default(),
            reported: reported.remove(name).unwrap_or_default(),
            standbys: scene.standbys && has_room,
        };
        let Some(service::Part { routed, names }) = service::derive(&places, room, scene.allows) else {
            continue;
        };
        if derived.services.len() == MAX_SERVICES {
            break;
        }
        room -= routed.endpoints.len();
        derived.services.push(routed);
        for name in names {
            // Of two services with one name, which nobody can deploy, the first one keeps it.
            if derived.names.len() < MAX_NAMES && taken.insert((name.host.clone(), name.path.clone())) {
                derived.names.push(name);
            }
        }
    }
    derived.names.sort_by(|a, b| (&a.host, &a.path).cmp(&(&b.host, &b.path)));
    derived
}

fn by_host(service: &RoutedService) -> BTreeMap<&HostId, Vec<&Endpoint>> {
    let mut by_host: BTreeMap<&HostId, Vec<&Endpoint>> = BTreeMap::new();
    service.endpoints.iter().for_each(|endpoint| by_host.entry(&endpoint.host).or_default().push(endpoint));
    by_host
}

/// The reports of hosts, by service, in the order of slots and hosts.
fn reported<'a>(scene: &'a TrafficInputs<'a>) -> BTreeMap<&'a ServiceName, Reported<'a>> {
    let services: BTreeMap<_, _> =
        scene.services.iter().map(|seen| (&seen.service.id, &seen.service.id.name)).collect();
    let mut reported: BTreeMap<&ServiceName, Reported<'a>> = BTreeMap::new();
    for (host, seen) in &scene.hosts {
        for slot in seen.observation.into_iter().flat_map(|observation| &observation.slots) {
            if let Some(name) = services.get(&slot.slot.service) {
                reported.entry(*name).or_default().push((*host, seen, slot));
            }
        }
    }
    reported.values_mut().for_each(|slots| slots.sort_by(|a, b| (&a.2.slot, a.0).cmp(&(&b.2.slot, b.0))));
    reported
}

#[cfg(test)]
mod tests;
