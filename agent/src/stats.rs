//! Measurements of the host: processors, memory, disk, network, GPUs, and each container of ours.
//!
//! Read from `/proc` and the control groups (v1 and v2), never from the engine's statistics, which take a
//! second per container.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use windlass_core::host::{HostStats, InstanceStats, ProbeStats};
use windlass_core::observation::Observation;
use windlass_process::aside::Aside;

use crate::{clock, gpu, probe};

mod cgroup;
pub mod disk;
mod mounts;
mod proc;

/// Time to the second measurement: shares and rates come from two.
const FIRST: Duration = Duration::from_secs(1);
/// Time between two measurements of the host.
pub const EVERY: Duration = Duration::from_secs(5);

/// The channels between the collector and the other tasks of the agent.
#[derive(Debug)]
pub struct Wires {
    /// The reconciler's observation: its containers are measured.
    pub observation: watch::Receiver<Arc<Observation>>,
    /// The known GPUs.
    pub gpus: watch::Receiver<gpu::Shared>,
    /// The use that our containers make of the GPUs.
    pub gpu_use: watch::Receiver<Arc<gpu::Use>>,
    /// The figures of probes.
    pub answers: probe::Answers,
    /// Publishes measurements.
    pub stats: watch::Sender<Arc<HostStats>>,
    /// Asks the task to end.
    pub cancel: CancellationToken,
}

/// Measures until it is cancelled. What the kernel does not answer is not waited for: the last measurement stands, and
/// says when it was made.
pub async fn run(wires: Wires) -> anyhow::Result<()> {
    let (kernel, disks) = (Aside::new("statistics", 1), mounts::Mounts::default());
    let mut collector = None;
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = wires.cancel.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        let is_first = collector.is_none();
        let containers = running(&wires.observation.borrow());
        let named = containers.clone();
        let mut measuring: Collector = collector.take().unwrap_or_default();
        let measured = kernel.call("kernel", EVERY, move || {
            let stats = measuring.measure(&containers);
            (measuring, stats)
        });
        let (measured, ()) = tokio::join!(measured, disks.look());
        disk::look();
        match measured {
            Ok((measuring, stats)) => {
                collector = Some(measuring);
                if is_first {
                    tick.reset_after(FIRST);
                    continue;
                }
                let mut stats = beside(stats, disk::engine(), &wires.gpus.borrow());
                disks.fill(&mut stats);
                with_gpus(&mut stats, &wires.gpu_use.borrow(), &named);
                with_probes(&mut stats, &wires.answers.all(), &named);
                stats.bound();
                wires.stats.send_replace(Arc::new(stats));
            }
            Err(error) => tracing::warn!(%error, "the kernel does not say how this host does"),
        }
    }
}

/// The measurement with what others know.
fn beside(stats: HostStats, disk: Option<disk::Space>, gpus: &gpu::Seen) -> HostStats {
    let disk = disk.unwrap_or_default();
    let silent = disk::silent().into_iter().chain(gpus.silent.clone()).collect();
    let (disk_used, disk_total) = (disk.used, disk.total());
    HostStats { disk_used, disk_total, gpus: gpus.stats.clone(), silent, ..stats }
}

/// Fills in what instances use of GPUs. `named` are the instances by the engine's id.
fn with_gpus(stats: &mut HostStats, used: &gpu::Use, named: &BTreeMap<String, String>) {
    for (container, (used, limit)) in used {
        let Some(instance) = named.get(container) else { continue };
        for of in stats.instances.iter_mut().filter(|of| &of.instance == instance) {
            (of.gpu_memory_used, of.gpu_memory_limit) = (*used, *limit);
        }
    }
}

/// Fills in what the probes of instances say. `named` are the instances by the engine's id.
fn with_probes(
    stats: &mut HostStats,
    answers: &BTreeMap<String, ProbeStats>,
    named: &BTreeMap<String, String>,
) {
    let answered = answers.iter().filter_map(|(container, probe)| Some((named.get(container)?, *probe)));
    let by_name: BTreeMap<&String, ProbeStats> = answered.collect();
    for of in &mut stats.instances {
        of.probe = by_name.get(&of.instance).copied();
    }
}

/// The containers whose process runs: instance by the engine's id.
fn running(observation: &Observation) -> BTreeMap<String, String> {
    let all = observation.slots.iter().flat_map(|slot| &slot.instances);
    let up = all.filter(|instance| instance.state.is_running());
    up.filter_map(|instance| Some((instance.container.clone()?, instance.id.clone()))).collect()
}

/// Remembers the counters of the last time, as shares and rates come from differences.
#[derive(Debug)]
struct Collector {
    groups: cgroup::Groups,
    last: Option<(Instant, proc::Counters)>,
}

impl Default for Collector {
    fn default() -> Self {
        Self { groups: cgroup::Groups::new("/sys/fs/cgroup".into()), last: None }
    }
}

impl Collector {
    fn measure(&mut self, containers: &BTreeMap<String, String>) -> HostStats {
        let now = Instant::now();
        let counters = proc::counters();
        let memory = proc::memory();
        let mut stats = HostStats {
            at: Some(clock::now()),
            load: proc::load(),
            memory_used: memory.total.saturating_sub(memory.available),
            memory_total: memory.total,
            swap_used: memory.swap_total.saturating_sub(memory.swap_free),
            swap_total: memory.swap_total,
            counters: counters.sums(),
            pressure: proc::pressure(),
            ..HostStats::default()
        };
        if let Some((then, before)) = &self.last {
            stats.cpu_percent = counters.busy_since(before);
            stats.cpu = Some(counters.modes_since(before));
            let seconds = now.duration_since(*then).as_secs_f64();
            (stats.network_rx, stats.network_tx) = counters.network_since(before, seconds);
        }
        self.last = Some((now, counters));
        self.groups.follow(containers.keys());
        let own = proc::Namespace::own();
        stats.instances = containers
            .iter()
            .filter_map(|(container, instance)| {
                let usage = self.groups.measure(container, &own, now)?;
                Some(InstanceStats {
                    instance: instance.clone(),
                    cpu_percent: usage.cpu_percent,
                    throttled_percent: usage.throttled_percent,
                    memory_used: usage.memory,
                    memory_limit: if usage.limit > memory.total { memory.total } else { usage.limit },
                    pids: usage.pids,
                    pids_limit: usage.pids_limit,
                    gpu_memory_used: 0,
                    gpu_memory_limit: 0,
                    probe: None,
                    counters: usage.counters,
                })
            })
            .collect();
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_thing_told_has_the_load_of_processors() {
        let stats = watch::Sender::default();
        let mut told = stats.subscribe();
        let wires = Wires {
            observation: watch::channel(Arc::default()).1,
            gpus: watch::channel(Arc::default()).1,
            gpu_use: watch::channel(Arc::default()).1,
            answers: probe::Answers::default(),
            stats,
            cancel: CancellationToken::new(),
        };
        let measured = async {
            told.changed().await.unwrap();
            told.borrow().cpu.is_some()
        };
        tokio::select! {
            ended = run(wires) => panic!("{ended:?}"),
            measured = tokio::time::timeout(Duration::from_secs(30), measured) => assert!(measured.unwrap()),
        }
    }

    #[test]
    fn what_a_probe_said_is_told_with_its_instance() {
        let named = BTreeMap::from([("c1".to_owned(), "web.0".to_owned())]);
        let instance = |name: &str| InstanceStats { instance: name.to_owned(), ..InstanceStats::default() };
        let instances = vec![instance("web.0"), instance("web.1")];
        let mut stats = HostStats { instances, ..HostStats::default() };
        let probe = ProbeStats { ok: true, seconds: 0.25, answers: 4, failures: 1 };
        let answers = BTreeMap::from([("c1".to_owned(), probe), ("gone".to_owned(), ProbeStats::default())]);
        with_probes(&mut stats, &answers, &named);
        let told: Vec<_> = stats.instances.iter().map(|of| of.probe).collect();
        assert_eq!(told, [Some(probe), None]);
    }

    #[test]
    fn what_an_instance_uses_of_gpus_is_told_with_it() {
        let named = BTreeMap::from([("c1".to_owned(), "web.0".to_owned())]);
        let instance = |name: &str| InstanceStats { instance: name.to_owned(), ..InstanceStats::default() };
        let mut stats =
            HostStats { instances: vec![instance("web.0"), instance("web.1")], ..HostStats::default() };
        let used = gpu::Use::from([("c1".to_owned(), (5, 8)), ("gone".to_owned(), (9, 9))]);
        with_gpus(&mut stats, &used, &named);
        let told: Vec<_> =
            stats.instances.iter().map(|of| (of.gpu_memory_used, of.gpu_memory_limit)).collect();
        assert_eq!(told, [(5, 8), (0, 0)]);
        stats.told_at = Some(windlass_core::Timestamp::ZERO);
        let share = |name| stats.usage(name).unwrap().gpu_memory_share();
        assert_eq!((share("web.0"), share("web.1")), (Some(625), None));
    }
}
