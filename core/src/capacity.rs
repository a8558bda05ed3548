//! How much of a host is taken, and whether more fits.
//!
//! Memory and GPUs are reserved; CPU is shared by weight and limit, so it only orders hosts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::host::{Gpu, HostFacts};
use crate::policy;
use crate::release::Spec;
use crate::service::Releases;
use crate::slot::{Intent, Occupant, Slot};

/// What is reserved on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Bytes of memory.
    pub memory: u64,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Fixed host ports.
    pub ports: BTreeSet<u16>,
    /// GPUs by UUID.
    pub gpus: BTreeMap<String, GpuTaken>,
    /// Slots.
    pub slots: u32,
}

/// What is reserved of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GpuTaken {
    /// All of it.
    Exclusively,
    /// That many bytes of its memory.
    Memory(u64),
}

/// Why something does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Not enough memory.
    #[error("memory: {needed} bytes needed, {free} of {total} free")]
    Memory {
        /// Bytes asked for.
        needed: u64,
        /// Bytes not reserved.
        free: u64,
        /// Bytes that releases may take in all.
        total: u64,
    },
    /// More processors asked for than there are.
    #[error("cpu: {needed} thousandths of a core needed, the host has {total}")]
    Cpu {
        /// Asked for.
        needed: u64,
        /// There are.
        total: u64,
    },
    /// A fixed port is another slot's.
    #[error("port {0} of the host is reserved by another slot")]
    Port(u16),
    /// Not enough GPUs.
    #[error("gpu: {needed} needed, {free} free")]
    Gpus {
        /// Devices asked for.
        needed: u32,
        /// Devices with enough room.
        free: u32,
    },
}

impl Taken {
    /// Adds what one slot takes.
    pub fn add(&mut self, slot: &Slot, releases: &Releases) {
        self.add_slot(slot, releases, Intent::from(slot).runs_both());
    }

    /// Adds what one slot takes; `both` says whether its two instances run at once.
    pub(crate) fn add_slot(&mut self, slot: &Slot, releases: &Releases, both: bool) {
        let spec_of = |occupant: &Occupant| releases.get(&occupant.release).map(|release| &release.spec);
        let target = spec_of(slot.target());
        let other = slot.other().and_then(spec_of);
        let sum = |a: u64, b: u64| if both { a.saturating_add(b) } else { a.max(b) };
        let memory = |spec: Option<&Spec>| spec.map_or(0, |s| s.resources.memory.bytes());
        let cpu = |spec: Option<&Spec>| spec.map_or(0, |s| u64::from(s.resources.cpu_millis));
        self.slots += 1;
        self.memory = self.memory.saturating_add(sum(memory(target), memory(other)));
        self.cpu_millis = self.cpu_millis.saturating_add(sum(cpu(target), cpu(other)));
        for spec in [target, other].into_iter().flatten() {
            self.ports.extend(spec.ports.values().filter_map(|port| port.host));
        }
        let share = match (target.and_then(gpu_share), other.and_then(gpu_share)) {
            (Some(a), Some(b)) => a.zip(b).map(|(a, b)| sum(a, b)),
            (Some(share), None) | (None, Some(share)) => share,
            (None, None) => None,
        };
        for uuid in &slot.target().gpus {
            self.take_gpu(uuid, share);
        }
    }

    fn take_gpu(&mut self, uuid: &str, share: Option<u64>) {
        let now = match (self.gpus.get(uuid), share) {
            (Some(GpuTaken::Exclusively), _) | (_, None) => GpuTaken::Exclusively,
            (Some(GpuTaken::Memory(before)), Some(more)) => GpuTaken::Memory(before.saturating_add(more)),
            (None, Some(more)) => GpuTaken::Memory(more),
        };
        self.gpus.insert(uuid.to_owned(), now);
    }

    /// Adds one more instance of `spec`, with the GPUs it would get.
    pub fn add_instance(&mut self, spec: &Spec, gpus: &[String]) {
        self.slots += 1;
        self.memory = self.memory.saturating_add(spec.resources.memory.bytes());
        self.cpu_millis = self.cpu_millis.saturating_add(u64::from(spec.resources.cpu_millis));
        self.ports.extend(spec.ports.values().filter_map(|port| port.host));
        for uuid in gpus {
            self.take_gpu(uuid, gpu_share(spec).flatten());
        }
    }

    /// Would one more instance of `spec` fit beside what is taken? Answers with the GPUs it would get.
    pub fn fit(&self, facts: &HostFacts, spec: &Spec) -> Result<Vec<String>, NoRoom> {
        self.fit_processes(facts, spec)?;
        if let Some(port) = spec.ports.values().filter_map(|p| p.host).find(|p| self.ports.contains(p)) {
            return Err(NoRoom::Port(port));
        }
        self.fit_gpus(facts, spec, &[])
    }

    /// Is there memory and CPU for one more instance of `spec`?
    pub(crate) fn fit_processes(&self, facts: &HostFacts, spec: &Spec) -> Result<(), NoRoom> {
        let total = memory_limit(facts);
        let needed = spec.resources.memory.bytes();
        let free = total.saturating_sub(self.memory);
        if needed > free {
            return Err(NoRoom::Memory { needed, free, total });
        }
        let cpu = u64::from(spec.resources.cpu_millis);
        if cpu > facts.cpu_millis {
            return Err(NoRoom::Cpu { needed: cpu, total: facts.cpu_millis });
        }
        Ok(())
    }

    /// The devices that one more instance of `spec` would get, those in `preferred` first.
    pub(crate) fn fit_gpus(
        &self,
        facts: &HostFacts,
        spec: &Spec,
        preferred: &[String],
    ) -> Result<Vec<String>, NoRoom> {
        let Some(wanted) = spec.resources.gpus.filter(|g| g.count > 0) else { return Ok(Vec::new()) };
        let allowed = facts.policy.gpus.map_or(facts.gpus.len(), |n| n as usize);
        let fits = |gpu: &&Gpu| self.fits_device(gpu, gpu_share(spec).flatten());
        let mut free: Vec<String> =
            facts.gpus.iter().take(allowed).filter(fits).map(|gpu| gpu.uuid.clone()).collect();
        free.sort_by_key(|uuid| !preferred.contains(uuid));
        let needed = wanted.count as usize;
        if free.len() < needed {
            let free = u32::try_from(free.len()).unwrap_or(u32::MAX);
            return Err(NoRoom::Gpus { needed: wanted.count, free });
        }
        free.truncate(needed);
        Ok(free)
    }

    /// Would one more instance of `spec` fit on each of these devices?
    pub(crate) fn fit_on_devices(
        &self,
        facts: &HostFacts,
        spec: &Spec,
        uuids: &[String],
    ) -> Result<(), NoRoom> {
        let share = gpu_share(spec).flatten();
        let mine = facts.gpus.iter().filter(|gpu| uuids.contains(&gpu.uuid));
        let free = mine.filter(|gpu| self.fits_device(gpu, share)).count();
        if free == uuids.len() {
            return Ok(());
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Err(NoRoom::Gpus { needed: count(uuids.len()), free: count(free) })
    }

    /// Is there room on the device for that share of its memory, or for all of it?
    fn fits_device(&self, gpu: &Gpu, share: Option<u64>) -> bool {
        match (self.gpus.get(&gpu.uuid), share) {
            (None, None) => true,
            (None, Some(share)) => share <= gpu.memory,
            (Some(GpuTaken::Memory(used)), Some(share)) => used.saturating_add(share) <= gpu.memory,
            (Some(_), _) => false,
        }
    }
}

/// What an instance takes of each of its GPUs: bytes of its memory, or (`None` inside) all of it.
fn gpu_share(spec: &Spec) -> Option<Option<u64>> {
    let gpus = spec.resources.gpus.filter(|gpus| gpus.count > 0)?;
    Some(gpus.memory.map(crate::units::Size::bytes))
}

/// Bytes of memory that releases may take on a host in all.
pub fn memory_limit(facts: &HostFacts) -> u64 {
    policy::allowed_memory(&facts.policy, facts.memory)
}

#[cfg(test)]
mod tests;
