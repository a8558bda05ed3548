//! Is there room on a host: memory, disk, GPUs.

use std::collections::BTreeSet;

use crate::capacity::{DeviceFull, Need, device_fits};
use crate::host::HostPolicy;

use super::container::Container;
pub use super::input::Capacity;

/// Share of the disk that stays free, in percent: below, nothing new is started.
const DISK_RESERVE: u64 = 5;

/// The need of a container.
pub(super) fn need(container: &Container) -> Need {
    let gpus = container.gpus.iter().map(|gpu| (gpu.uuid.clone(), gpu.taken()));
    Need { memory: container.memory, gpus: gpus.collect() }
}

/// The need of the containers of a slot. The one that is kept for inspection takes nothing.
pub(super) fn of_slot(containers: &[&Container], kept: Option<&String>) -> Need {
    let counted = containers.iter().filter(|seen| seen.state.is_up() || Some(&seen.instance) != kept);
    Need::of_slot(counted.map(|seen| (need(seen), seen.state.is_up())))
}

/// The missing resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// Memory.
    #[error("memory: {needed} MiB needed, {free} MiB of the allowed {allowed} MiB are free")]
    Memory {
        /// MiB.
        needed: u64,
        /// MiB.
        free: u64,
        /// MiB.
        allowed: u64,
    },
    /// Disk.
    #[error("disk: {needed} MiB needed beside the reserve of {reserve} MiB, {free} MiB are free")]
    Disk {
        /// MiB.
        needed: u64,
        /// MiB.
        reserve: u64,
        /// MiB.
        free: u64,
    },
    /// A device that is not there.
    #[error("gpu: this host has no `{0}`")]
    NoSuchGpu(String),
    /// A device that another slot holds.
    #[error("gpu: `{0}` is taken by another slot")]
    GpuTaken(String),
    /// A shared device without enough memory.
    #[error("gpu: `{uuid}` has {free} MiB free, {needed} MiB are needed")]
    GpuMemory {
        /// Which.
        uuid: String,
        /// MiB.
        needed: u64,
        /// MiB.
        free: u64,
    },
    /// Fewer devices were given than the release asks for.
    #[error("gpu: the release asks for {asked}, the plan gives {given}")]
    TooFewGpus {
        /// The number that is asked for.
        asked: u32,
        /// The number that is given.
        given: usize,
    },
    /// Devices whose memory nobody can measure, or that others hold.
    #[error("gpu: `{uuid}` {why}")]
    Unusable {
        /// Which.
        uuid: String,
        /// Why, in words.
        why: String,
    },
    /// More devices than the host's policy allows to all releases together.
    #[error("gpus: releases would hold {would} GPUs of this host, its policy allows {most}")]
    GpuPolicy {
        /// So many.
        would: usize,
        /// Allowed.
        most: u32,
    },
    /// The engine gives no GPUs to containers.
    #[error("gpu: {0}")]
    NoGpuAccess(String),
    /// Nobody knows whether the devices work.
    #[error("gpu: nothing is started on them while they do not answer: {0}")]
    GpusSilent(String),
}

const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Checks that `wanted` fits beside the needs of the other slots.
pub fn fits<'a>(
    capacity: &Capacity,
    policy: &HostPolicy,
    others: impl Iterator<Item = &'a Need>,
    wanted: &Need,
) -> Result<(), Shortage> {
    let mut taken = Need::default();
    others.for_each(|other| taken.add(other));
    let allowed = policy.max_memory.of(capacity.memory);
    let free = allowed.saturating_sub(taken.memory);
    if capacity.memory > 0 && wanted.memory > free {
        return Err(Shortage::Memory {
            needed: mib(wanted.memory),
            free: free >> 20,
            allowed: allowed >> 20,
        });
    }
    if wanted.gpus.is_empty() { Ok(()) } else { gpus_fit(capacity, policy, &taken, wanted) }
}

/// The devices are there, answer, and have room: an instance that serves is stopped for another one only then.
fn gpus_fit(capacity: &Capacity, policy: &HostPolicy, taken: &Need, wanted: &Need) -> Result<(), Shortage> {
    if let Some(why) = capacity.gpu_access.refusal() {
        return Err(Shortage::NoGpuAccess(why.to_owned()));
    }
    if let Some(why) = &capacity.gpus_silent {
        return Err(Shortage::GpusSilent(why.clone()));
    }
    let all: BTreeSet<&String> = taken.gpus.keys().chain(wanted.gpus.keys()).collect();
    let would = all.into_iter().filter(|uuid| capacity.gpus.contains_key(*uuid)).count();
    let is_more = wanted.gpus.keys().any(|uuid| !taken.gpus.contains_key(uuid));
    if let Some(most) = policy.gpus.filter(|most| is_more && would > *most as usize) {
        return Err(Shortage::GpuPolicy { would, most });
    }
    for (uuid, wanted) in &wanted.gpus {
        let Some(gpu) = capacity.gpus.get(uuid) else {
            return Err(Shortage::NoSuchGpu(uuid.clone()));
        };
        let held = taken.gpus.get(uuid).copied();
        let unusable = |why: String| Shortage::Unusable { uuid: uuid.clone(), why };
        device_fits(gpu, held, *wanted, policy.gpu_reserve.bytes()).map_err(|full| match full {
            DeviceFull::Held => Shortage::GpuTaken(uuid.clone()),
            DeviceFull::Strangers(used) => {
                unusable(format!("is not free: other processes of this host hold {} MiB of it", used >> 20))
            }
            DeviceFull::MemoryUnknown => {
                unusable("does not tell how much memory it has, so that it has no shares".to_owned())
            }
            DeviceFull::Defective => {
                unusable("has bad memory, which a restart or another card mends".to_owned())
            }
            DeviceFull::Memory { needed, free } => {
                Shortage::GpuMemory { uuid: uuid.clone(), needed: mib(needed), free: free >> 20 }
            }
        })?;
    }
    Ok(())
}

/// Checks that the disk holds `more` bytes beside its reserve. An image takes about twice its compressed size.
pub fn disk_fits(capacity: &Capacity, more: u64) -> Result<(), Shortage> {
    let reserve = capacity.disk_total / 100 * DISK_RESERVE;
    let fits = capacity.disk_total == 0 || capacity.disk_free >= reserve.saturating_add(more);
    if fits {
        Ok(())
    } else {
        Err(Shortage::Disk { needed: mib(more), reserve: mib(reserve), free: capacity.disk_free >> 20 })
    }
}

#[cfg(test)]
mod tests;
