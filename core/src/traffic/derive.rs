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
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::digest::Digest;
use crate::id::{HostId, ServiceName, SlotId};
use crate::observation::{Observation, SlotObservation};
use crate::service::{Releases, Service, Slots};

use super::document::{MAX_ENDPOINTS, MAX_NAMES, MAX_SERVICES};
use super::{Endpoint, Name, RoutedService};

use endpoints::Places;
pub(crate) use endpoints::port_of;

/// One environment, at one moment.
pub struct TrafficInputs<'a> {
    /// Its services, ordered by name; those that were removed too, as long as something of them runs.
    pub services: Vec<ServiceSeen<'a>>,
    /// Hosts that belong to the fleet.
    pub hosts: BTreeMap<&'a HostId, HostSeen<'a>>,
    /// Releases by digest.
    pub releases: &'a Releases,
    /// Services of the table before: an instance of which nobody knows whether it is ready keeps its place.
    pub before: &'a [RoutedService],
    /// Whether every agent and ingress of the environment reads tables of version 2.
    pub standbys: bool,
    /// Returns whether the trust document gives a host name to the environment.
    pub allows: &'a dyn Fn(&str) -> bool,
}

/// A service, at one moment.
pub struct ServiceSeen<'a> {
    /// Its record.
    pub service: &'a Service,
    /// Its slots.
    pub slots: &'a Slots,
    /// The release that a rollout moves it to, if one does.
    pub candidate: Option<Digest>,
    /// A step of ours may leave it without an instance: a rollout goes on that is not paused.
    pub moving: bool,
}

/// A host, at one moment.
pub struct HostSeen<'a> {
    /// Its address, as certified when it joined; `None` if it is a name, which no table can have.
    pub address: Option<IpAddr>,
    /// Whether its slots are not known yet: the store was set back.
    pub recovering: bool,
    /// Its last report on any stream. The last word of a host that is silent now stays: an ingress that cannot reach it leaves it
    /// out by itself.
    pub observation: Option<&'a Observation>,
    /// Seq of the newest plan that was made for it.
    pub issued_seq: u64,
    /// Slots of that plan whose part is older than it, see [`crate::fleet::Member::parts`].
    pub parts: Option<&'a BTreeMap<SlotId, u64>>,
}

impl HostSeen<'_> {
    /// Whether its last report was made under the newest part of `slot`. A report under an older part does not tell of a stop
    /// that the part between the two had asked for.
    fn has_confirmed(&self, slot: &SlotId) -> bool {
        let since = self.parts.and_then(|parts| parts.get(slot)).copied().unwrap_or(self.issued_seq);
        self.observation.is_some_and(|seen| seen.seq >= since)
    }
}

/// The content of a table, without number and time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Derived {
    /// Which names lead to which service.
    pub names: Vec<Name>,
    /// Every service with a port, ordered by name.
    pub services: Vec<RoutedService>,
}

/// The reports of hosts about the slots of one service.
type Reported<'a> = Vec<(&'a HostId, &'a HostSeen<'a>, &'a SlotObservation)>;

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
    let order = |entry: &(&HostId, &HostSeen<'_>, &SlotObservation)| -> (SlotId, HostId) {
        (entry.2.slot.clone(), entry.0.clone())
    };
    reported.values_mut().for_each(|slots| slots.sort_by_cached_key(order));
    reported
}

#[cfg(test)]
mod tests;
