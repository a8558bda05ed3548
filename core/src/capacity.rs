//! How much of a host is taken, and whether more fits.
//!
//! Memory and GPUs are reserved; CPU is shared by weight and limit, so it only orders hosts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::host::HostFacts;
use crate::plan::{Order, Phase, PlanSlot};
use crate::policy;
use crate::release::Spec;
use crate::service::{Assignment, Releases};

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
    pub fn add(&mut self, assignment: &Assignment, releases: &Releases) {
        let want = &assignment.want;
        let target = releases.get(&want.release).map(|release| &release.spec);
        let previous = want.previous.as_ref().and_then(|p| releases.get(&p.release)).map(|r| &r.spec);
        let both = runs_both(want);
        let sum = |a: u64, b: u64| if both { a + b } else { a.max(b) };
        let memory = |spec: Option<&Spec>| spec.map_or(0, |s| s.resources.memory.bytes());
        let cpu = |spec: Option<&Spec>| spec.map_or(0, |s| u64::from(s.resources.cpu_millis));
        self.slots += 1;
        self.memory = self.memory.saturating_add(sum(memory(target), memory(previous)));
        self.cpu_millis = self.cpu_millis.saturating_add(sum(cpu(target), cpu(previous)));
        for spec in [target, previous].into_iter().flatten() {
            self.ports.extend(spec.ports.values().filter_map(|port| port.host));
        }
        let share = target.and_then(|s| s.resources.gpus).and_then(|g| g.memory);
        for uuid in &want.gpus {
            self.take_gpu(uuid, share.map(crate::units::Size::bytes));
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
        let share = spec.resources.gpus.and_then(|g| g.memory).map(crate::units::Size::bytes);
        for uuid in gpus {
            self.take_gpu(uuid, share);
        }
    }

    /// Would one more instance of `spec` fit beside what is taken? Answers with the GPUs it would get.
    pub fn fit(&self, facts: &HostFacts, spec: &Spec) -> Result<Vec<String>, NoRoom> {
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
        if let Some(port) = spec.ports.values().filter_map(|p| p.host).find(|p| self.ports.contains(p)) {
            return Err(NoRoom::Port(port));
        }
        self.fit_gpus(facts, spec)
    }

    fn fit_gpus(&self, facts: &HostFacts, spec: &Spec) -> Result<Vec<String>, NoRoom> {
        let Some(wanted) = spec.resources.gpus.filter(|g| g.count > 0) else { return Ok(Vec::new()) };
        let allowed = facts.policy.gpus.map_or(facts.gpus.len(), |n| n as usize);
        let free: Vec<String> = facts
            .gpus
            .iter()
            .take(allowed)
            .filter(|gpu| match (self.gpus.get(&gpu.uuid), wanted.memory) {
                (None, None) => true,
                (None, Some(share)) => share.bytes() <= gpu.memory,
                (Some(GpuTaken::Memory(used)), Some(share)) => {
                    used.saturating_add(share.bytes()) <= gpu.memory
                }
                (Some(_), _) => false,
            })
            .map(|gpu| gpu.uuid.clone())
            .collect();
        let needed = wanted.count as usize;
        if free.len() < needed {
            let free = u32::try_from(free.len()).unwrap_or(u32::MAX);
            return Err(NoRoom::Gpus { needed: wanted.count, free });
        }
        Ok(free.into_iter().take(needed).collect())
    }
}

/// Do both instances of the slot run at once under this plan?
fn runs_both(want: &PlanSlot) -> bool {
    let previous_runs =
        want.previous.as_ref().is_some_and(|p| matches!(p.phase, Phase::Running | Phase::Draining));
    want.order == Order::StartFirst && want.phase == Phase::Running && previous_runs
}

/// Bytes of memory that releases may take on a host in all.
pub fn memory_limit(facts: &HostFacts) -> u64 {
    policy::allowed_memory(&facts.policy, facts.memory)
}
