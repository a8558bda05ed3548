//! Choosing hosts for many slots of one release, one after the other. Each host is asked for its room when its turn
//! comes, and once it has none it is out: what is taken only grows here. So a slot costs the logarithm of the fleet.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::capacity::{Taken, memory_limit};
use crate::fleet::Member;
use crate::host::Gpu;
use crate::id::HostId;
use crate::release::Spread;

use super::{Candidates, Unfit};

/// The candidates, the next one to be chosen first.
#[derive(Debug)]
pub struct Filling<'a> {
    candidates: &'a Candidates<'a>,
    /// A volume that keeps a second slot of the service away from a host.
    volume: Option<&'a str>,
    queue: BinaryHeap<Reverse<Rank>>,
    /// The resources taken of hosts where they differ from the fleet's word: slots of this service, old and new.
    taken: BTreeMap<usize, Taken>,
    own: BTreeMap<usize, u32>,
    full: BTreeMap<HostId, Unfit>,
}

/// The host that was chosen for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub host: HostId,
    /// The GPUs that the slot gets there.
    pub gpus: Vec<String>,
    /// Slots of this service that were there already.
    pub own: u32,
    /// Memory that was reserved there before, in bytes.
    pub memory_reserved: u64,
}

/// Less comes first: by devices that report errors, then by slots of this service, then by load, then by name (the index of a
/// candidate).
type Rank = (usize, u32, u64, usize);

impl<'a> Filling<'a> {
    pub(super) fn new(
        candidates: &'a Candidates<'a>,
        taken: &BTreeMap<HostId, Taken>,
        own: &BTreeMap<HostId, u32>,
        volume: Option<&'a str>,
    ) -> Self {
        let mut filling = Self {
            candidates,
            volume,
            queue: BinaryHeap::new(),
            taken: BTreeMap::new(),
            own: BTreeMap::new(),
            full: BTreeMap::new(),
        };
        for (index, (host, _)) in candidates.hosts.iter().enumerate() {
            filling.taken.extend(taken.get(*host).map(|taken| (index, taken.clone())));
            filling.own.extend(own.get(*host).map(|count| (index, *count)));
        }
        filling.queue = (0..candidates.hosts.len()).map(|index| Reverse(filling.rank(index))).collect();
        filling
    }

    /// The place for one more slot. It counts as taken from then on.
    ///
    /// # Errors
    /// Says of every host why it is not chosen.
    pub fn next_place(&mut self) -> Result<Place, BTreeMap<HostId, Unfit>> {
        let spec = &self.candidates.release.spec;
        while let Some(Reverse((.., index))) = self.queue.pop() {
            let (host, member) = self.candidates.hosts[index];
            let has_one = self.own.get(&index).is_some_and(|count| *count > 0);
            if let Some(volume) = self.volume.filter(|_| has_one) {
                self.full.insert(host.clone(), Unfit::Volume(volume.to_owned()));
                continue;
            }
            match self.taken.get(&index).unwrap_or(&member.taken).fit(&member.facts, spec) {
                Ok(gpus) => {
                    let taken = self.taken.entry(index).or_insert_with(|| member.taken.clone());
                    let memory_reserved = taken.memory;
                    taken.add_instance(spec, &gpus);
                    let count = self.own.entry(index).or_insert(0);
                    let own = *count;
                    *count += 1;
                    self.queue.push(Reverse(self.rank(index)));
                    return Ok(Place { host: host.clone(), gpus, own, memory_reserved });
                }
                Err(why) => drop(self.full.insert(host.clone(), Unfit::NoRoom(why))),
            }
        }
        let refused = self.candidates.refused.iter().chain(&self.full);
        Err(refused.map(|(host, why)| (host.clone(), why.clone())).collect())
    }

    fn rank(&self, index: usize) -> Rank {
        let (_, member): (_, &Member) = self.candidates.hosts[index];
        let taken = self.taken.get(&index).unwrap_or(&member.taken);
        let own = self.own.get(&index).copied().unwrap_or(0);
        let load = taken.memory.saturating_mul(1000) / memory_limit(&member.facts).max(1);
        match self.candidates.release.spec.placement.spread {
            Spread::Host => (self.ill(index), own, load, index),
            Spread::Pack => (self.ill(index), u32::MAX - own, u64::MAX - load, index),
        }
    }

    /// The number of devices that report errors among those that a slot would get there.
    fn ill(&self, index: usize) -> usize {
        let (_, member): (_, &Member) = self.candidates.hosts[index];
        let (facts, spec) = (&member.facts, &self.candidates.release.spec);
        if spec.resources.gpus.is_none() || facts.gpus.iter().all(|gpu| gpu.health.is_well()) {
            return 0;
        }
        let taken = self.taken.get(&index).unwrap_or(&member.taken);
        let given = taken.fit_gpus(facts, spec, &[]).unwrap_or_default();
        let is_ill = |gpu: &&Gpu| given.contains(&gpu.uuid) && !gpu.health.is_well();
        facts.gpus.iter().filter(is_ill).count()
    }
}

#[cfg(test)]
mod tests;
