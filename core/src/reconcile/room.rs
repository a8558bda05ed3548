//! Is there room on a host: memory, disk, GPUs. Also asked by placement and previews.

use crate::host::Limit;
use crate::release::Spec;

pub use super::input::Capacity;
use super::input::{Container, GpuClaim};

/// Share of the disk that stays free, in percent: below, nothing new is started.
const DISK_RESERVE: u64 = 5;

/// What a slot takes of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// Memory in bytes.
    pub memory: u64,
    /// GPUs.
    pub gpus: Vec<GpuClaim>,
}

impl Claim {
    /// What an instance of a release takes, with these devices.
    pub fn of_release(spec: &Spec, gpus: &[String]) -> Self {
        let memory = spec.resources.gpus.and_then(|wish| wish.memory).map(|size| size.bytes());
        let gpus = gpus.iter().map(|uuid| GpuClaim { uuid: uuid.clone(), memory }).collect();
        Self { memory: spec.resources.memory.bytes(), gpus }
    }

    /// What the containers of a slot take: those that run together, or the largest of those that stand by.
    /// The one that is kept for inspection takes nothing.
    pub(super) fn of_slot(containers: &[&Container], kept: Option<&String>) -> Self {
        let mut running = 0_u64;
        let mut standby = 0;
        let mut gpus = Vec::new();
        for container in containers {
            if container.state.is_up() {
                running = running.saturating_add(container.memory);
            } else if Some(&container.instance) != kept {
                standby = container.memory.max(standby);
            } else {
                continue;
            }
            gpus.extend(container.gpus.iter().cloned());
        }
        Self { memory: running.max(standby), gpus }
    }
}

/// What is missing.
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
        /// How many.
        asked: u32,
        /// How many.
        given: usize,
    },
    /// No GPU runtime.
    #[error("gpu: the engine has no GPU runtime")]
    NoGpuRuntime,
}

const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Does `wanted` fit beside what the other slots take?
pub fn fits<'a>(
    capacity: &Capacity,
    limit: Limit,
    others: impl Iterator<Item = &'a Claim>,
    wanted: &Claim,
) -> Result<(), Shortage> {
    let others: Vec<&Claim> = others.collect();
    let taken = others.iter().fold(0_u64, |sum, claim| sum.saturating_add(claim.memory));
    let allowed = limit.of(capacity.memory);
    let free = allowed.saturating_sub(taken);
    if capacity.memory > 0 && wanted.memory > free {
        return Err(Shortage::Memory {
            needed: mib(wanted.memory),
            free: free >> 20,
            allowed: allowed >> 20,
        });
    }
    gpus_fit(capacity, &others, wanted)
}

fn gpus_fit(capacity: &Capacity, others: &[&Claim], wanted: &Claim) -> Result<(), Shortage> {
    if !wanted.gpus.is_empty() && !capacity.gpu_runtime {
        return Err(Shortage::NoGpuRuntime);
    }
    for claim in &wanted.gpus {
        let Some(total) = capacity.gpus.get(&claim.uuid) else {
            return Err(Shortage::NoSuchGpu(claim.uuid.clone()));
        };
        let held = others.iter().flat_map(|other| &other.gpus).filter(|held| held.uuid == claim.uuid);
        let mut used = 0_u64;
        for held in held {
            match (held.memory, claim.memory) {
                (Some(memory), Some(_)) => used = used.saturating_add(memory),
                (None, _) | (_, None) => return Err(Shortage::GpuTaken(claim.uuid.clone())),
            }
        }
        let (needed, free) = (claim.memory.unwrap_or(0), total.saturating_sub(used));
        if needed > free {
            return Err(Shortage::GpuMemory {
                uuid: claim.uuid.clone(),
                needed: mib(needed),
                free: free >> 20,
            });
        }
    }
    Ok(())
}

/// Does the disk hold `more` bytes beside its reserve? An image takes about twice its compressed size.
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
mod tests {
    use super::*;
    use crate::units::Size;

    const GIB: u64 = 1 << 30;

    fn claim(memory: u64, gpus: &[(&str, Option<u64>)]) -> Claim {
        let gpus = gpus.iter().map(|(uuid, memory)| GpuClaim { uuid: (*uuid).to_owned(), memory: *memory });
        Claim { memory, gpus: gpus.collect() }
    }

    #[test]
    fn what_fits() {
        let capacity = Capacity {
            memory: 10 * GIB,
            gpus: [("a".to_owned(), 8 * GIB), ("b".to_owned(), 8 * GIB)].into(),
            gpu_runtime: true,
            ..Capacity::default()
        };
        let others = [claim(4 * GIB, &[("a", Some(6 * GIB))]), claim(GIB, &[("b", None)])];
        #[rustfmt::skip]
        let table = [
            ("memory left", claim(4 * GIB, &[]), None),
            ("90 % of 10 GiB, 5 taken", claim(4 * GIB + (1 << 20), &[]), Some("memory")),
            ("shares a device", claim(1, &[("a", Some(2 * GIB))]), None),
            ("shares too much", claim(1, &[("a", Some(2 * GIB + 1))]), Some("free")),
            ("wants a shared device alone", claim(1, &[("a", None)]), Some("taken")),
            ("wants a share of one that is held", claim(1, &[("b", Some(1))]), Some("taken")),
            ("unknown device", claim(1, &[("c", None)]), Some("no `c`")),
        ];
        for (case, wanted, want) in table {
            let got =
                fits(&capacity, Limit::Percent(90), others.iter(), &wanted).err().map(|e| e.to_string());
            assert_eq!(got.is_some(), want.is_some(), "{case}: {got:?}");
            assert!(got.unwrap_or_default().contains(want.unwrap_or_default()), "{case}");
        }
        let limit = Limit::Bytes(Size::from_bytes(6 * GIB));
        assert!(fits(&capacity, limit, others.iter(), &claim(2 * GIB, &[])).is_err());
        let no_runtime = Capacity { gpu_runtime: false, ..capacity };
        let error = fits(&no_runtime, limit, [].iter(), &claim(0, &[("a", None)])).unwrap_err();
        assert_eq!(error, Shortage::NoGpuRuntime);
    }

    #[test]
    fn the_disk_keeps_a_reserve() {
        let capacity = Capacity { disk_total: 100 * GIB, disk_free: 10 * GIB, ..Capacity::default() };
        assert!(disk_fits(&capacity, 4 * GIB).is_ok());
        assert!(disk_fits(&capacity, 6 * GIB).is_err());
        assert!(disk_fits(&Capacity::default(), u64::MAX).is_ok(), "unknown is not full");
    }
}
