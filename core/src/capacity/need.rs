//! The needs of a slot's instances on a host: the one count for coordinator and agent, so that an agent does not refuse
//! an instance that was placed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::Gpu;
use crate::release::Spec;
use crate::units::Size;

/// The resources of a host that instances take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// Memory in bytes.
    pub memory: u64,
    /// GPUs by UUID.
    pub gpus: BTreeMap<String, GpuTaken>,
}

/// The part of a GPU that is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GpuTaken {
    /// All of it.
    Exclusively,
    /// Bytes of its memory.
    Memory(u64),
}

impl GpuTaken {
    /// The part of a device that one instance takes: bytes of its memory, or all of it.
    pub fn of(share: Option<u64>) -> Self {
        share.map_or(Self::Exclusively, Self::Memory)
    }

    /// Both at once.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Memory(a), Self::Memory(b)) => Self::Memory(a.saturating_add(b)),
            _ => Self::Exclusively,
        }
    }

    /// The larger of both, where only one is at a time.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Memory(a), Self::Memory(b)) => Self::Memory(a.max(b)),
            _ => Self::Exclusively,
        }
    }
}

impl Need {
    /// The need of one instance of a release, with these devices: no more of them than it asks for.
    pub fn of_release(spec: &Spec, gpus: &[String]) -> Self {
        let wish = spec.resources.gpus;
        let share = GpuTaken::of(wish.and_then(|wish| wish.memory).map(Size::bytes));
        let count = wish.map_or(0, |wish| wish.count as usize);
        let gpus = gpus.iter().take(count).map(|uuid| (uuid.clone(), share));
        Self { memory: spec.resources.memory.bytes(), gpus: gpus.collect() }
    }

    /// The need of the instances of one slot: those that run together, or the largest of those that stand by, as only one of these
    /// will run in their stead. `true` is one that runs.
    pub fn of_slot(instances: impl Iterator<Item = (Self, bool)>) -> Self {
        let (mut running, mut standby) = (Self::default(), Self::default());
        for (need, runs) in instances {
            if runs {
                running.add(&need);
            } else {
                standby = standby.or(need);
            }
        }
        running.or(standby)
    }

    /// Adds what runs beside it.
    pub fn add(&mut self, other: &Self) {
        self.memory = self.memory.saturating_add(other.memory);
        for (uuid, more) in &other.gpus {
            let taken = self.gpus.get(uuid).map_or(*more, |before| before.and(*more));
            self.gpus.insert(uuid.clone(), taken);
        }
    }

    fn or(mut self, other: Self) -> Self {
        self.memory = self.memory.max(other.memory);
        for (uuid, taken) in other.gpus {
            let both = self.gpus.get(&uuid).map_or(taken, |before| before.or(taken));
            self.gpus.insert(uuid, both);
        }
        self
    }
}

/// The reason for which a device cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceFull {
    /// Somebody has it alone, or shares it where it is wanted alone.
    #[error("held by slots, stopped standbys included")]
    Held,
    /// Processes that are in no container of ours hold so many bytes of it.
    #[error("other processes hold {} of it", Size::from_bytes(*.0).rounded())]
    Strangers(u64),
    /// Its driver does not tell how much memory it has, so that it has no shares.
    #[error("its memory is unknown, so that it has no shares")]
    MemoryUnknown,
    /// Its memory is bad, and only a restart or another card mends that.
    #[error("its memory is bad, which a restart or another card mends")]
    Defective,
    /// Not enough memory is left.
    #[error("{} of its memory needed, {} free", Size::from_bytes(*.needed).rounded(), Size::from_bytes(*.free).rounded())]
    Memory {
        /// Bytes asked for.
        needed: u64,
        /// Bytes that are left.
        free: u64,
    },
}

/// Whether the device has room for `wanted` beside what is `taken` of it, where `reserve` bytes are to stay free: by what was
/// promised and by what is really free, whichever is less.
///
/// # Errors
/// Says why not.
pub fn device_fits(
    gpu: &Gpu,
    taken: Option<GpuTaken>,
    wanted: GpuTaken,
    reserve: u64,
) -> Result<(), DeviceFull> {
    let used = match (taken, wanted) {
        (None, _) => 0,
        (Some(GpuTaken::Memory(used)), GpuTaken::Memory(_)) => used,
        (Some(_), _) => return Err(DeviceFull::Held),
    };
    match wanted {
        GpuTaken::Exclusively if gpu.is_crowded(reserve) => Err(DeviceFull::Strangers(gpu.strangers)),
        GpuTaken::Exclusively => Ok(()),
        GpuTaken::Memory(needed) => {
            let all = gpu.for_shares(reserve).ok_or(DeviceFull::MemoryUnknown)?;
            let free = all.saturating_sub(used);
            if needed <= free { Ok(()) } else { Err(DeviceFull::Memory { needed, free }) }
        }
    }
}
