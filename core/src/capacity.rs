//! The resources of a host that are taken, and whether more fits.
//!
//! Memory and GPUs are reserved; CPU is shared by weight and limit, so it only orders hosts.

mod need;
mod refused;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::host::{Gpu, HostFacts};
use crate::policy;
use crate::release::Spec;
use crate::service::Releases;
use crate::slot::{Intent, Occupant, Older, Slot};
use crate::units::{Size, cores};

pub use need::{DeviceFull, GpuTaken, Need, device_fits};
use refused::Refused;

/// The resources reserved on a host.
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

/// The reason for which something does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Not enough memory.
    #[error("memory: {} needed, {} of {} free", rounded(*.needed), rounded(*.free), rounded(*.total))]
    Memory {
        /// Bytes asked for.
        needed: u64,
        /// Bytes not reserved.
        free: u64,
        /// Bytes that releases may take in all.
        total: u64,
    },
    /// More processors asked for than there are.
    #[error("cpu: {} cores needed, the host has {}", cores(*.needed), cores(*.total))]
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
    #[error("gpu: {needed} needed, {free} free{}", in_brackets(.why))]
    Gpus {
        /// Devices asked for.
        needed: u32,
        /// Devices with enough room.
        free: u32,
        /// The others, and what is in the way of each.
        why: String,
    },
    /// It has no GPU.
    #[error("gpu: {0} needed, the host has none")]
    NoGpu(u32),
    /// Its engine gives no GPUs to containers; why.
    #[error("gpu: {0}")]
    NoGpuAccess(String),
}

fn in_brackets(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}

fn rounded(bytes: u64) -> String {
    Size::from_bytes(bytes).rounded()
}

impl Taken {
    /// Adds what one slot takes.
    pub fn add(&mut self, slot: &Slot, releases: &Releases) {
        self.add_slot(slot, releases, Intent::from(slot).runs_both());
    }

    /// Adds what one slot takes; `both` says whether its two instances run at once.
    pub(crate) fn add_slot(&mut self, slot: &Slot, releases: &Releases, both: bool) {
        self.add_slot_before(slot, releases, both, None);
    }

    /// The same for a slot that is to come to `next`, a release with its devices, in the stead of what runs there.
    pub(crate) fn add_slot_before(
        &mut self,
        slot: &Slot,
        releases: &Releases,
        both: bool,
        next: Option<(&Spec, &[String])>,
    ) {
        let of = |occupant: &Occupant| {
            let spec = &releases.get(&occupant.release)?.spec;
            Some((spec, Need::of_release(spec, &occupant.gpus)))
        };
        let (target, other) = (of(slot.target()), slot.other().and_then(of));
        let next = next.map(|(spec, gpus)| (spec, Need::of_release(spec, gpus)));
        self.slots += 1;
        let cpu =
            |of: &Option<(&Spec, Need)>| of.as_ref().map_or(0, |(s, _)| u64::from(s.resources.cpu_millis));
        let (a, b) = (cpu(&target), cpu(&other));
        let present = if both { a.saturating_add(b) } else { a.max(b) };
        self.cpu_millis = self.cpu_millis.saturating_add(present.max(cpu(&next)));
        for (spec, _) in target.iter().chain(&other).chain(&next) {
            self.ports.extend(spec.ports.values().filter_map(|port| port.host));
        }
        let target = target.map(|(_, need)| (need, true));
        let other = other.map(|(_, need)| (need, both));
        let next = next.map(|(_, need)| (need, false));
        // An instance that a restart replaces runs beside the new one.
        let is_kept = slot.older() == Some(Older::Kept);
        let older = slot.restarted().filter(|_| is_kept).and_then(of).map(|(_, need)| (need, true));
        self.take(&Need::of_slot(target.into_iter().chain(other).chain(older).chain(next)));
    }

    fn take(&mut self, need: &Need) {
        self.memory = self.memory.saturating_add(need.memory);
        for (uuid, more) in &need.gpus {
            let taken = self.gpus.get(uuid).map_or(*more, |before| before.and(*more));
            self.gpus.insert(uuid.clone(), taken);
        }
    }

    /// Adds one more instance of `spec`, with the GPUs it would get.
    pub fn add_instance(&mut self, spec: &Spec, gpus: &[String]) {
        self.slots += 1;
        self.cpu_millis = self.cpu_millis.saturating_add(u64::from(spec.resources.cpu_millis));
        self.ports.extend(spec.ports.values().filter_map(|port| port.host));
        self.take(&Need::of_release(spec, gpus));
    }

    /// Returns the GPUs for one more instance of `spec`, or the reason why it does not fit beside what is taken.
    pub fn fit(&self, facts: &HostFacts, spec: &Spec) -> Result<Vec<String>, NoRoom> {
        self.fit_processes(facts, spec)?;
        self.fit_ports(spec)?;
        self.fit_gpus(facts, spec, &[])
    }

    /// Whether the host has the memory for all of it.
    pub(crate) fn is_within(&self, facts: &HostFacts) -> bool {
        self.memory <= memory_limit(facts)
    }

    /// Checks that the fixed ports of `spec` are no other slot's.
    pub(crate) fn fit_ports(&self, spec: &Spec) -> Result<(), NoRoom> {
        let mut ports = spec.ports.values().filter_map(|port| port.host);
        ports.find(|port| self.ports.contains(port)).map_or(Ok(()), |port| Err(NoRoom::Port(port)))
    }

    /// Checks that there is memory and CPU for one more instance of `spec`.
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
        if facts.gpus.is_empty() && facts.gpus_lost.is_empty() {
            return Err(NoRoom::NoGpu(wanted.count));
        }
        if let Some(why) = facts.gpu_access.refusal() {
            return Err(NoRoom::NoGpuAccess(why.to_owned()));
        }
        let share = gpu_share(spec);
        let mut refused = Refused::default();
        let fits = |gpu: &&Gpu| {
            let fits = self.fits_device(facts, gpu, share);
            // A slot may stay where it is.
            let given = gpu.health.is_given() || preferred.contains(&gpu.uuid);
            let fits = fits.and(if given { Ok(()) } else { Err(DeviceFull::Defective) });
            fits.map_err(|why| refused.add(&gpu.uuid, &why)).is_ok()
        };
        let mut free: Vec<&Gpu> = facts.gpus.iter().filter(fits).collect();
        // Devices that are well come first. Shares come together, the fullest device first, so that others stay whole.
        free.sort_by_key(|gpu| {
            let is_shared = share != GpuTaken::Exclusively && self.gpus.contains_key(&gpu.uuid);
            let used = match self.gpus.get(&gpu.uuid) {
                Some(GpuTaken::Memory(used)) => *used,
                Some(GpuTaken::Exclusively) | None => 0,
            };
            let left = gpu.for_shares(0).unwrap_or(0).saturating_sub(used);
            (gpu.health, !preferred.contains(&gpu.uuid), !is_shared, if is_shared { left } else { 0 })
        });
        // Those of the slot count as well: what stands by there comes back on them.
        let held = |uuid: &String| self.gpus.contains_key(uuid) || preferred.contains(uuid);
        let fitting = free.len();
        let mut more = most_devices(facts).saturating_sub(present(facts, held));
        let allowed = free.into_iter().filter(|gpu| {
            let is_held = held(&gpu.uuid);
            let may = is_held || more > 0;
            more -= usize::from(may && !is_held);
            may
        });
        let needed = wanted.count as usize;
        let given: Vec<String> = allowed.map(|gpu| gpu.uuid.clone()).take(needed).collect();
        if given.len() < needed {
            let free = u32::try_from(given.len()).unwrap_or(u32::MAX);
            refused.lost(facts);
            if fitting >= needed {
                refused.policy(facts, present(facts, held));
            }
            return Err(NoRoom::Gpus { needed: wanted.count, free, why: refused.to_string() });
        }
        Ok(given)
    }

    /// Checks that one more instance of `spec` fits on each of these devices.
    pub(crate) fn fit_on_devices(
        &self,
        facts: &HostFacts,
        spec: &Spec,
        uuids: &[String],
    ) -> Result<(), NoRoom> {
        if let Some(why) = facts.gpu_access.refusal().filter(|_| !uuids.is_empty()) {
            return Err(NoRoom::NoGpuAccess(why.to_owned()));
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut refused = Refused::default();
        let new = uuids.iter().filter(|uuid| !self.gpus.contains_key(*uuid)).count();
        let others = present(facts, |uuid| self.gpus.contains_key(uuid));
        let left = most_devices(facts).saturating_sub(others);
        if new > left {
            refused.policy(facts, others);
            let (needed, free) = (count(uuids.len()), count(left));
            return Err(NoRoom::Gpus { needed, free, why: refused.to_string() });
        }
        let share = gpu_share(spec);
        let mine = facts.gpus.iter().filter(|gpu| uuids.contains(&gpu.uuid));
        let fits = |gpu: &&Gpu| {
            self.fits_device(facts, gpu, share).map_err(|why| refused.add(&gpu.uuid, &why)).is_ok()
        };
        let free = mine.filter(fits).count();
        if free == uuids.len() {
            return Ok(());
        }
        refused.lost(facts);
        Err(NoRoom::Gpus { needed: count(uuids.len()), free: count(free), why: refused.to_string() })
    }

    /// Checks that the device has room for that share of its memory, or for all of it.
    fn fits_device(&self, facts: &HostFacts, gpu: &Gpu, wanted: GpuTaken) -> Result<(), DeviceFull> {
        let reserve = facts.policy.gpu_reserve.bytes();
        device_fits(gpu, self.gpus.get(&gpu.uuid).copied(), wanted, reserve)
    }
}

/// The number of devices that the host's policy gives to all releases together, however many have a share of each.
fn most_devices(facts: &HostFacts) -> usize {
    facts.policy.gpus.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// The number of present devices that are held.
fn present(facts: &HostFacts, is_held: impl Fn(&String) -> bool) -> usize {
    facts.gpus.iter().filter(|gpu| is_held(&gpu.uuid)).count()
}

/// The part of each of its GPUs that an instance takes.
fn gpu_share(spec: &Spec) -> GpuTaken {
    GpuTaken::of(spec.resources.gpus.and_then(|gpus| gpus.memory).map(crate::units::Size::bytes))
}

/// Bytes of memory that releases may take on a host in all.
pub fn memory_limit(facts: &HostFacts) -> u64 {
    policy::allowed_memory(&facts.policy, facts.memory)
}

#[cfg(test)]
mod tests;
