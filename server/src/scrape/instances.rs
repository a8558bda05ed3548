//! Instances: what each uses and counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use windlass_core::host::{HostStats, InstanceStats, ProbeStats};
use windlass_core::observation::InstanceState;
use windlass_core::view::StatusView;
use windlass_core::{HostId, Timestamp};

use super::out::{Out, number, seconds, yes};

/// An instance.
#[derive(Debug)]
pub(super) struct Instance {
    environment: String,
    service: String,
    release: String,
    host: String,
    slot: String,
    id: String,
    healthy: bool,
    restarts: u32,
    /// When its main process was last killed for memory.
    oom_at: Option<Timestamp>,
    stats: Option<InstanceStats>,
}

impl Instance {
    /// A healthy one that nobody measured.
    #[cfg(test)]
    pub(super) fn of(service: &str, slot: usize) -> Self {
        Self {
            environment: "default".to_owned(),
            service: service.to_owned(),
            release: "r1".to_owned(),
            host: "h1".to_owned(),
            slot: slot.to_string(),
            id: format!("default.{service}.{slot}.r1.1"),
            healthy: true,
            restarts: 0,
            oom_at: None,
            stats: None,
        }
    }

    fn labels(&self) -> [(&'static str, &str); 6] {
        [
            ("environment", &self.environment),
            ("service", &self.service),
            ("release", &self.release),
            ("host", &self.host),
            ("slot", &self.slot),
            ("id", &self.id),
        ]
    }
}

/// The instances of a service. A slot that has none yet is none.
pub(super) fn look(view: &StatusView, fresh: &BTreeMap<HostId, Arc<HostStats>>) -> Vec<Instance> {
    let there = view.instances.iter().filter(|instance| !instance.id.is_empty());
    let all = there.map(|instance| {
        let stats = fresh.get(&instance.host);
        let mut of = stats.into_iter().flat_map(|stats| &stats.instances);
        Instance {
            environment: view.environment.to_string(),
            service: view.service.to_string(),
            release: instance.release.to_string(),
            host: instance.host.to_string(),
            slot: instance.slot.index.to_string(),
            id: instance.id.clone(),
            healthy: instance.state == InstanceState::Healthy && instance.doubt.is_none(),
            restarts: instance.restarts,
            oom_at: instance.last_exit.filter(|exit| exit.oom_killed).map(|exit| exit.at),
            stats: of.find(|used| used.instance == instance.id).cloned(),
        }
    });
    all.collect()
}

/// A family by name, its help, and where its value is.
type Figure = (&'static str, &'static str, fn(&InstanceStats) -> f64);

pub(super) fn write(out: &mut Out<'_>, instances: &[Instance]) -> fmt::Result {
    let healthy = instances.iter().map(|of| (of.labels(), yes(of.healthy)));
    out.gauge("instance_healthy", "Whether an instance is healthy, as far as is known", healthy)?;
    let runs = instances.iter().map(|of| (of.labels(), f64::from(of.restarts) + 1.0));
    out.counter("instance_runs", "Runs of an instance, the first one included", runs)?;
    let oom = instances.iter().filter_map(|of| Some((of.labels(), seconds(of.oom_at?))));
    let help = "When the main process of an instance was last killed for memory, since the epoch";
    out.gauge("instance_oom_exit_timestamp_seconds", help, oom)?;
    let cards: [Figure; 2] = [
        ("instance_gpu_memory_used_bytes", "Memory of its GPUs that it uses", |of| {
            number(of.gpu_memory_used)
        }),
        ("instance_gpu_memory_limit_bytes", "Memory of its GPUs that it may use", |of| {
            number(of.gpu_memory_limit)
        }),
    ];
    for (name, help, value) in cards {
        let with_gpus =
            instances.iter().filter(|of| of.stats.as_ref().is_some_and(|of| of.gpu_memory_limit > 0));
        out.gauge(name, help, measured(with_gpus, value))?;
    }
    let gauges: [Figure; 6] = [
        ("instance_cpu_cores", "Cores that an instance uses", |of| of.cpu_percent / 100.0),
        ("instance_throttled_ratio", "Share of time in which its limit held it back", |of| {
            of.throttled_percent / 100.0
        }),
        ("instance_memory_bytes", "Memory that it uses, without page cache", |of| number(of.memory_used)),
        ("instance_memory_limit_bytes", "Its limit of memory", |of| number(of.memory_limit)),
        ("instance_pids", "Its processes", |of| number(of.pids)),
        ("instance_pids_limit", "How many it may have; 0 without a limit", |of| number(of.pids_limit)),
    ];
    for (name, help, value) in gauges {
        out.gauge(name, help, measured(instances.iter(), value))?;
    }
    let counters: [Figure; 7] = [
        ("instance_cpu_seconds", "Processor time of an instance", |of| of.counters.cpu_seconds),
        ("instance_throttled_seconds", "Time in which its limit held it back", |of| {
            of.counters.throttled_seconds
        }),
        ("instance_oom_kills", "Its processes that were killed for memory", |of| {
            number(of.counters.oom_kills)
        }),
        ("instance_network_receive_bytes", "Bytes that it received", |of| {
            number(of.counters.network_rx_bytes)
        }),
        ("instance_network_transmit_bytes", "Bytes that it sent", |of| number(of.counters.network_tx_bytes)),
        ("instance_disk_read_bytes", "Bytes that it read from disks", |of| {
            number(of.counters.block_read_bytes)
        }),
        ("instance_disk_written_bytes", "Bytes that it wrote to disks", |of| {
            number(of.counters.block_written_bytes)
        }),
    ];
    for (name, help, value) in counters {
        out.counter(name, help, measured(instances.iter(), value))?;
    }
    probes(out, instances)
}

/// A family by name, its help, and where its value is.
type Answered = (&'static str, &'static str, fn(&ProbeStats) -> f64);

fn probes(out: &mut Out<'_>, instances: &[Instance]) -> fmt::Result {
    let gauges: [Answered; 2] = [
        ("instance_probe_success", "Whether the last answer to its probe was good", |of| yes(of.ok)),
        ("instance_probe_duration_seconds", "Time that the last answer took", |of| of.seconds),
    ];
    for (name, help, value) in gauges {
        out.gauge(name, help, answered(instances, value))?;
    }
    let counters: [Answered; 2] = [
        ("instance_probe_answers", "Answers to its probe in its present run", |of| number(of.answers)),
        ("instance_probe_failures", "The bad ones of them", |of| number(of.failures)),
    ];
    for (name, help, value) in counters {
        out.counter(name, help, answered(instances, value))?;
    }
    Ok(())
}

fn answered(
    instances: &[Instance],
    value: fn(&ProbeStats) -> f64,
) -> impl Iterator<Item = ([(&'static str, &str); 6], f64)> {
    instances.iter().filter_map(move |of| Some((of.labels(), value(&of.stats.as_ref()?.probe?))))
}

fn measured<'a>(
    instances: impl Iterator<Item = &'a Instance>,
    value: fn(&InstanceStats) -> f64,
) -> impl Iterator<Item = ([(&'static str, &'a str); 6], f64)> {
    instances.filter_map(move |of| Some((of.labels(), value(of.stats.as_ref()?))))
}
