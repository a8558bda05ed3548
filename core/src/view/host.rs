//! A host, as `host ls` and `host show` print it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capacity::{GpuTaken, Taken};
use crate::fleet::{Member, Scheduling};
use crate::host::{Gpu, GpuAccess, GpuDriver, GpuLost, HostPolicy, HostStats, Liveness};
use crate::id::{HostId, SlotId};
use crate::observation::{EngineState, Refusal};
use crate::plan::Phase;
use crate::service::Releases;
use crate::slot::{Occupant, Slot};
use crate::time::Timestamp;

use super::condition::{self, ConditionView};
use super::trouble::{self, Problem};

/// A host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostView {
    /// Its name.
    #[serde(default)]
    pub host: Option<HostId>,
    /// `host`, as version 0.1 names it.
    #[schemars(extend("deprecated" = true))]
    pub name: HostId,
    /// Whether the host is there. An evicted or banned host says so here.
    pub state: String,
    /// Whether the host may get slots.
    pub scheduling: Scheduling,
    /// Labels pinned on it.
    pub labels: BTreeMap<String, String>,
    /// Address at which its ports are reached.
    pub address: String,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// Version of its agent.
    pub agent_version: String,
    /// Version of its engine.
    pub engine_version: String,
    /// Whether the host's engine can be asked.
    pub engine: EngineState,
    /// Operating system.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// Platform of images.
    pub platform: String,
    /// Processors, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Memory reserved by slots, in bytes.
    pub memory_reserved: u64,
    /// GPUs.
    pub gpus: Vec<Gpu>,
    /// GPUs that were there and cannot be given away now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus_lost: Vec<GpuLost>,
    /// Access of containers to GPUs.
    #[serde(default)]
    pub gpu_access: GpuAccess,
    /// The driver of its GPUs.
    #[serde(default, skip_serializing_if = "GpuDriver::is_unknown")]
    pub gpu_driver: GpuDriver,
    /// Slots that have a GPU, by its UUID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpu_holders: BTreeMap<String, Vec<GpuHolder>>,
    /// Slots it has.
    pub slots: u32,
    /// Slots that cannot leave it, while it drains: their named volumes are here, or their last rollout did not succeed.
    #[serde(default)]
    pub pinned: u32,
    /// Waits of the drain, in words; only in `host show`.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// Seq of the newest plan made for it.
    pub issued_seq: u64,
    /// Seq of the newest plan it has taken.
    pub seq: u64,
    /// Why it did not take its newest plan.
    pub plan_refusal: Option<Refusal>,
    /// Why its agent can write nothing down, and so does nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritable: Option<String>,
    /// Its measured values, if there are any; each of its instances only in `host show`.
    pub stats: Option<HostStats>,
    /// Its policy; only in `host show`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<HostPolicy>,
    /// Slots and releases that it holds and a restored store does not know, in words; empty if it is not recovering.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recovery: Vec<String>,
    /// Conditions of the host itself, those that a person set too; the most important first.
    #[serde(default)]
    pub host_conditions: Vec<ConditionView>,
    /// `host_conditions`, as version 0.1 prints them.
    #[serde(default)]
    #[schemars(extend("deprecated" = true))]
    pub problems: Vec<Problem>,
    /// Conditions that its agent found: of the host and its devices, and, only in `host show`, of the instances and slots on it.
    #[serde(default)]
    pub conditions: Vec<ConditionView>,
    /// When its certificate ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<Timestamp>,
}

/// A slot that has a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GpuHolder {
    /// Which.
    pub slot: SlotId,
    /// Bytes of its memory; none if it has the GPU alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Whether only a stopped instance of the slot, kept for a return, has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standby: bool,
}

impl HostView {
    /// Keeps of its conditions what a list of hosts has: those of the host itself and of its devices.
    pub fn for_list(&mut self) {
        self.conditions.retain(|found| found.slot.is_none() && found.instance.is_none());
    }

    /// The most important thing that is wrong with the host itself, and how many others are.
    pub fn note(&self) -> Option<String> {
        let found = condition::of_host(&self.conditions).map(|found| found.message.as_str());
        let mut all = self.problems.iter().map(|problem| problem.text.as_str()).chain(found);
        let first = all.next()?;
        Some(match all.count() {
            0 => first.to_owned(),
            more => format!("{first} (and {more} more)"),
        })
    }
}

/// Which slots of a host have which of its GPUs.
pub fn gpu_holders<'a>(
    slots: impl Iterator<Item = &'a Slot>,
    releases: &Releases,
) -> BTreeMap<String, Vec<GpuHolder>> {
    let mut holders: BTreeMap<String, Vec<GpuHolder>> = BTreeMap::new();
    for slot in slots {
        let mut taken = Taken::default();
        taken.add(slot, releases);
        for (uuid, taken) in taken.gpus {
            let memory = match taken {
                GpuTaken::Exclusively => None,
                GpuTaken::Memory(memory) => Some(memory),
            };
            let (standby, slot) = (is_standby(slot, &uuid), slot.id().clone());
            holders.entry(uuid).or_default().push(GpuHolder { slot, memory, standby });
        }
    }
    holders
}

/// Whether nothing in the slot is to run on the device now, or to start there.
fn is_standby(slot: &Slot, uuid: &String) -> bool {
    let other = slot.other().is_some_and(|other| other.gpus.contains(uuid));
    let runs = |of: &Occupant| of.gpus.contains(uuid) && of.run != Phase::Standby && of.run != Phase::Absent;
    other && ![Some(slot.target()), slot.other(), slot.restarted()].into_iter().flatten().any(runs)
}

/// Shows a host. `member.taken` counts every slot on it here.
pub fn host(name: &HostId, member: &Member, stats: Option<&HostStats>) -> HostView {
    let facts = &member.facts;
    let observation = member.observation.as_deref();
    let problems = trouble::of(member, stats);
    let conditions = observation.map(|seen| condition::conditions(name, seen)).unwrap_or_default();
    HostView {
        host: Some(name.clone()),
        name: name.clone(),
        state: member.liveness.as_str().to_owned(),
        scheduling: member.scheduling,
        labels: facts.labels.clone(),
        address: facts.address.clone(),
        last_seen: member.last_seen,
        agent_version: facts.agent_version.clone(),
        engine_version: facts.engine_version.clone(),
        engine: observation.map(|o| o.engine.clone()).unwrap_or_default(),
        os: facts.os.clone(),
        kernel: facts.kernel.clone(),
        platform: facts.platform.clone(),
        cpu_millis: facts.cpu_millis,
        memory: facts.memory,
        memory_reserved: member.taken.memory,
        gpus: facts.gpus.clone(),
        gpus_lost: facts.gpus_lost.clone(),
        gpu_access: facts.gpu_access.clone(),
        gpu_driver: facts.gpu_driver.clone(),
        gpu_holders: BTreeMap::new(),
        pinned: 0,
        waiting: Vec::new(),
        slots: member.taken.slots,
        issued_seq: member.issued_seq,
        seq: observation.map_or(0, |o| o.seq),
        plan_refusal: observation.and_then(|o| o.plan_refusal.clone()),
        unwritable: observation.and_then(|o| o.unwritable.clone()),
        stats: stats.filter(|_| member.liveness == Liveness::Connected).cloned(),
        policy: None,
        recovery: Vec::new(),
        host_conditions: trouble::of_host(name, &problems, &conditions),
        problems,
        conditions,
        certificate_expires_at: None,
    }
}
