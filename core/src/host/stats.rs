//! Measurements of a host and of the containers on it, by the agent every few seconds. Lossy: the newest counts.
//!
//! Shares and rates are over the time since the measurement before; counters go up from the start of the host or of the
//! container, so that whoever loses a measurement loses nothing of the sum.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Silent;
use super::gpu::GpuStats;
use crate::time::Timestamp;

/// For so long after it was told a measurement says how the host does now.
pub const FRESH: Duration = Duration::from_secs(30);
/// Disks of one host that are told.
const DISKS: usize = 32;
/// Cards of one host that are told.
const GPUS: usize = 64;
/// Instances of one host that are told.
const INSTANCES: usize = 2048;
/// Bytes of a name in here.
const NAME: usize = 256;

/// Measurements of a host, now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostStats {
    /// When it was measured, by the host's clock.
    pub at: Option<Timestamp>,
    /// When the coordinator was told first, by its own clock, which it sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// Share of all processors in use, 0 to 100.
    pub cpu_percent: f64,
    /// The same by what they did; `None` from an agent that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuModes>,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Memory in use, in bytes.
    pub memory_used: u64,
    /// Memory in all, in bytes.
    pub memory_total: u64,
    /// Swap in use, in bytes.
    #[serde(default)]
    pub swap_used: u64,
    /// Swap in all, in bytes; 0 without any.
    #[serde(default)]
    pub swap_total: u64,
    /// In use on the disk that holds the engine's data, in bytes.
    pub disk_used: u64,
    /// Size of that disk, in bytes.
    pub disk_total: u64,
    /// Every file system on a disk of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskStats>,
    /// Bytes received per second over all interfaces but loopback.
    pub network_rx: f64,
    /// Bytes sent per second over all interfaces but loopback.
    pub network_tx: f64,
    /// The counters that only rise.
    #[serde(default)]
    pub counters: HostCounters,
    /// The pressure on resources; `None` where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// GPUs.
    pub gpus: Vec<GpuStats>,
    /// Containers of ours.
    pub instances: Vec<InstanceStats>,
    /// Containers of ours that were left out, so that the report is not too large.
    #[serde(default)]
    pub left_out: u32,
    /// Parts that could not be measured: for those, nothing or the last known value stands here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Silent>,
}

/// The time of the processors by mode, in percent of all their time. The rest was idle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CpuModes {
    /// Programs, those with a nice value too.
    pub user: f64,
    /// The kernel, interrupts included.
    pub system: f64,
    /// Idle, with a disk that is waited for.
    pub iowait: f64,
    /// Taken by the hypervisor for others.
    pub steal: f64,
}

/// The counters of a host that only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct HostCounters {
    /// Seconds of processor time in use.
    pub cpu_seconds: f64,
    /// Bytes received over all interfaces but loopback.
    pub network_rx_bytes: u64,
    /// Bytes sent over them.
    pub network_tx_bytes: u64,
    /// Bytes read from disks.
    pub disk_read_bytes: u64,
    /// Bytes written to disks.
    pub disk_written_bytes: u64,
    /// Processes that the kernel killed for memory.
    pub oom_kills: u64,
}

/// The help of the size of a file system.
pub const DISK_SIZE: &str = "In use and available on a file system, without what it keeps for root";

/// The fill of a file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DiskStats {
    /// Its mount point.
    pub mount: String,
    /// In use, in bytes.
    pub used: u64,
    /// Bytes that can be used in all.
    pub total: u64,
    /// Inodes in use.
    pub inodes_used: u64,
    /// Inodes in all; 0 where they are made as needed.
    pub inodes_total: u64,
}

/// The pressure on a resource (PSI).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Pressure {
    /// Waits for a processor.
    pub cpu: Stall,
    /// Waits for memory.
    pub memory: Stall,
    /// Waits for disks.
    pub io: Stall,
}

/// The share of the last 10 seconds in which work stood still, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Stall {
    /// Some of it.
    pub some: f64,
    /// All of it.
    pub full: f64,
}

/// Measurements of a container of ours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InstanceStats {
    /// The instance.
    pub instance: String,
    /// Share of one core in use, 0 to 100 per core.
    pub cpu_percent: f64,
    /// Share of the time in which it was held back by its limit, 0 to 100 of the scheduler's periods.
    #[serde(default)]
    pub throttled_percent: f64,
    /// Memory in use without page cache, in bytes.
    pub memory_used: u64,
    /// Its limit, in bytes.
    pub memory_limit: u64,
    /// Processes.
    pub pids: u64,
    /// The limit of processes; 0 without one.
    #[serde(default)]
    pub pids_limit: u64,
    /// Memory of its GPUs that it uses, in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gpu_memory_used: u64,
    /// Memory of them that it may use: what it declared, or all of theirs; 0 without any, or if that is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gpu_memory_limit: u64,
    /// The last answer of its probe; none without a probe, or before the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeStats>,
    /// The counters that only rise.
    #[serde(default)]
    pub counters: InstanceCounters,
}

/// The answers of the probe by which an instance is ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProbeStats {
    /// Whether the last answer was good.
    pub ok: bool,
    /// Seconds that it took.
    pub seconds: f64,
    /// Answers since the present run of the instance began.
    pub answers: u64,
    /// The bad ones of them.
    pub failures: u64,
}

/// The counters of a container that only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct InstanceCounters {
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// Seconds in which it was held back by its limit.
    pub throttled_seconds: f64,
    /// Processes in it that the kernel killed for memory.
    pub oom_kills: u64,
    /// Bytes received; 0 in the host's own network.
    pub network_rx_bytes: u64,
    /// Bytes sent; 0 in the host's own network.
    pub network_tx_bytes: u64,
    /// Bytes read from disks.
    pub block_read_bytes: u64,
    /// Bytes written to disks.
    pub block_written_bytes: u64,
}

/// The use of an instance, as a decision sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Share of one core in use, 0 to 100 per core.
    pub cpu_percent: f64,
    /// Share of the time in which it was held back by its limit, 0 to 100.
    pub throttled_percent: f64,
    /// Memory in use without page cache, in bytes.
    pub memory_used: u64,
    /// Its limit, in bytes.
    pub memory_limit: u64,
    /// Memory of its GPUs that it uses, in bytes.
    pub gpu_memory_used: u64,
    /// Memory of them that it may use; 0 if that is not known.
    pub gpu_memory_limit: u64,
    /// When the coordinator was told, by its own clock.
    pub at: Timestamp,
}

impl Usage {
    /// Memory of its GPUs in use, in thousandths of what it may use; `None` if that is not known.
    pub fn gpu_memory_share(&self) -> Option<u32> {
        let share =
            (u128::from(self.gpu_memory_used) * 1000).checked_div(u128::from(self.gpu_memory_limit))?;
        Some(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Memory in use, in thousandths of its limit; `None` without a limit.
    pub fn memory_share(&self) -> Option<u32> {
        let share = (u128::from(self.memory_used) * 1000).checked_div(u128::from(self.memory_limit))?;
        Some(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Processor time, in thousandths of a limit of so many thousandths of a core; `None` without a limit, or if it is no number.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float that is too large saturates"
    )]
    pub fn cpu_share(&self, limit_millis: u32) -> Option<u32> {
        let share = self.cpu_percent * 10_000.0 / f64::from(limit_millis);
        (share.is_finite() && share >= 0.0).then(|| share.round() as u32)
    }
}

impl HostStats {
    /// Whether the coordinator was told within [`FRESH`].
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.told_at.is_some_and(|at| now.since(at) <= FRESH)
    }

    /// The use of one instance; `None` before the coordinator was told.
    pub fn usage(&self, instance: &str) -> Option<Usage> {
        let at = self.told_at?;
        let found = self.instances.iter().find(|of| of.instance == instance)?;
        Some(Usage {
            cpu_percent: found.cpu_percent,
            throttled_percent: found.throttled_percent,
            memory_used: found.memory_used,
            memory_limit: found.memory_limit,
            gpu_memory_used: found.gpu_memory_used,
            gpu_memory_limit: found.gpu_memory_limit,
            at,
        })
    }

    /// Cuts what is longer than it may be, where it is made and where it is read.
    pub fn bound(&mut self) {
        let left_out = self.instances.len().saturating_sub(INSTANCES);
        self.left_out = self.left_out.saturating_add(u32::try_from(left_out).unwrap_or(u32::MAX));
        self.instances.truncate(INSTANCES);
        self.disks.truncate(DISKS);
        self.gpus.truncate(GPUS);
        self.silent.truncate(DISKS);
        let disks = self.disks.iter_mut().map(|disk| &mut disk.mount);
        let names = self.instances.iter_mut().map(|of| &mut of.instance).chain(disks);
        names
            .chain(self.gpus.iter_mut().map(|gpu| &mut gpu.uuid))
            .for_each(|name| crate::observation::cut(name, NAME));
        for silent in &mut self.silent {
            crate::observation::cut(&mut silent.what, NAME);
            crate::observation::cut(&mut silent.why, NAME);
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_of_the_version_before_is_understood() {
        let old = serde_json::json!({
            "at": "2026-11-28T10:00:00.000Z", "cpu_percent": 12.5, "load": [1.0, 2.0, 3.0], "memory_used": 5,
            "memory_total": 9, "disk_used": 1, "disk_total": 2, "network_rx": 1.0, "network_tx": 2.0, "gpus": [],
            "instances": [{ "instance": "web.1", "cpu_percent": 40.0, "memory_used": 7, "memory_limit": 8, "pids": 3 }],
        });
        let mut stats: HostStats = serde_json::from_value(old).unwrap();
        assert_eq!((stats.cpu, stats.pressure, stats.disks.len()), (None, None, 0));
        assert_eq!(stats.usage("web.1"), None, "nobody was told yet");
        let at = Timestamp::from_millis(5);
        stats.told_at = Some(at);
        let usage = stats.usage("web.1").unwrap();
        assert_eq!((usage.cpu_percent, usage.memory_used, usage.memory_limit, usage.at), (40.0, 7, 8, at));
        assert_eq!(stats.usage("web.2"), None);
        assert!(stats.is_fresh(at + FRESH) && !stats.is_fresh(at + FRESH * 2));
    }

    #[test]
    fn what_a_host_may_say_is_bounded() {
        let long = "ä".repeat(9000);
        let instance = |_| InstanceStats { instance: long.clone(), ..InstanceStats::default() };
        let disk = |_| DiskStats { mount: long.clone(), ..DiskStats::default() };
        let gpu = |_| GpuStats { uuid: long.clone(), ..GpuStats::default() };
        let silent = |_| Silent { what: long.clone(), since: Timestamp::ZERO, why: long.clone() };
        let mut stats = HostStats {
            instances: (0..INSTANCES + 7).map(instance).collect(),
            disks: (0..1000).map(disk).collect(),
            gpus: (0..1000).map(gpu).collect(),
            silent: (0..1000).map(silent).collect(),
            ..HostStats::default()
        };
        stats.bound();
        assert_eq!(stats.left_out, 7);
        assert!(serde_json::to_vec(&stats).unwrap().len() < INSTANCES * (NAME + 400) + 200 * (3 * NAME));
    }
}
