//! The state that a table is derived from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::observation::{Observation, SlotObservation};
use crate::service::{Releases, Service, Slots};
use crate::traffic::RoutedService;

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
    pub(super) fn has_confirmed(&self, slot: &SlotId) -> bool {
        let since = self.parts.and_then(|parts| parts.get(slot)).copied().unwrap_or(self.issued_seq);
        self.observation.is_some_and(|seen| seen.seq >= since)
    }
}

/// The reports of hosts about the slots of one service.
pub(super) type Reported<'a> = Vec<(&'a HostId, &'a HostSeen<'a>, &'a SlotObservation)>;
