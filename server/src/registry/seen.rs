//! The newest observation of each host.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use windlass_core::observation::{Instance, Observation};
use windlass_core::{HostId, ServiceId, SlotId, Timestamp};

use super::Registry;

impl Registry {
    /// Takes in what was stored of a host before the start.
    pub(crate) fn remember(&self, host: &HostId, observation: Arc<Observation>) {
        self.with(host, |live| live.observation = Some(observation));
    }

    /// A host reported what it sees. What is older than what it has said on this stream counts as a sign of life only.
    pub(crate) fn observed(&self, host: &HostId, observation: Arc<Observation>, now: Timestamp) {
        self.with(host, |live| {
            live.seen(now, &self.clock);
            let known = live.observation.as_ref().filter(|_| live.current);
            if known.is_some_and(|known| known.revision > observation.revision) {
                return;
            }
            live.observation = Some(observation);
            live.current = true;
            live.reported = true;
            live.unstored = true;
        });
    }

    /// Observations to be stored; they count as stored.
    pub(crate) fn take_unstored(&self) -> Vec<(HostId, Arc<Observation>)> {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let unstored = hosts.iter_mut().filter(|(_, live)| live.unstored);
        unstored
            .filter_map(|(host, live)| {
                live.unstored = false;
                Some((host.clone(), live.observation.clone()?))
            })
            .collect()
    }

    /// The newest observation of a host.
    pub(crate) fn observation_of(&self, host: &HostId) -> Option<Arc<Observation>> {
        self.look(host, |live| live.observation.clone()).flatten()
    }

    /// Every host that has shown something of a service, with that.
    pub(crate) fn instances_of(&self, service: &ServiceId) -> Vec<(HostId, SlotId, Instance)> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for (host, live) in hosts.iter() {
            let slots = live.observation.iter().flat_map(|seen| &seen.slots);
            for slot in slots.filter(|slot| &slot.slot.service == service) {
                let instances = slot.instances.iter();
                found.extend(instances.map(|instance| (host.clone(), slot.slot.clone(), instance.clone())));
            }
        }
        found
    }

    /// Whether a host has reported since the coordinator began.
    pub(crate) fn has_reported(&self, host: &HostId) -> bool {
        self.look(host, |live| live.reported).unwrap_or_default()
    }

    /// The newest observation of every host.
    pub(crate) fn observations(&self) -> BTreeMap<HostId, Arc<Observation>> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().filter_map(|(host, live)| Some((host.clone(), live.observation.clone()?))).collect()
    }
}
