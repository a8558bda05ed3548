//! The instances that serve: healthy ones on hosts that are not lost, without those that are only kept warm.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::fleet::Fleet;
use crate::host::Liveness;
use crate::id::Counter;
use crate::observation::InstanceState;
use crate::service::{Service, Slots};
use crate::traffic::Weight;

/// The healthy instances of a service, by release.
pub(in crate::view) struct Healthy {
    /// Those of releases that get requests.
    pub(in crate::view) members: BTreeMap<Counter, u32>,
    /// Those that are kept warm, without requests.
    warm: BTreeMap<Counter, u32>,
}

impl Healthy {
    pub(in crate::view) fn of(service: &Service, slots: &Slots, fleet: &dyn Fleet) -> Self {
        let mut found = Self { members: BTreeMap::new(), warm: BTreeMap::new() };
        for (id, slot) in slots {
            let member = fleet.member(slot.host()).filter(|member| member.liveness != Liveness::Lost);
            let seen = member.and_then(|member| member.observation.as_deref()?.slot(id));
            let instances = seen.iter().flat_map(|seen| &seen.instances);
            for instance in instances.filter(|instance| instance.state == InstanceState::Healthy) {
                let is_warm = slot.is_kept() || is_without_traffic(service, fleet, &instance.release);
                let among = if is_warm { &mut found.warm } else { &mut found.members };
                *among.entry(instance.counter).or_insert(0) += 1;
            }
        }
        found
    }

    /// The healthy instances with traffic; if there are none, the warm ones, which may have taken over.
    pub(in crate::view) fn serving(self) -> BTreeMap<Counter, u32> {
        if self.members.is_empty() { self.warm } else { self.members }
    }
}

/// Whether requests go to the other release of the service alone.
fn is_without_traffic(service: &Service, fleet: &dyn Fleet, release: &Digest) -> bool {
    let Some(split) = &service.split else { return false };
    let is_matched = release == &split.new && !split.matches.is_empty();
    let stands_in =
        || fleet.traffic().and_then(|traffic| traffic.alone(&service.id, split)) == Some(*release);
    split.names(release) && split.share(release) == Weight::NONE && !is_matched && !stands_in()
}
