//! Metrics of hosts and their GPUs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use windlass_core::fleet::{FleetView, Member, Scheduling};
use windlass_core::host::{DISK_SIZE, GpuLost, GpuStats, HostStats, Liveness, Pressure, XID_ERRORS};
use windlass_core::observation::EngineState;
use windlass_core::view;
use windlass_core::{HostId, Timestamp};

use super::out::{Out, count, number, seconds, yes};
use crate::ledger::State;

/// A host.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    member: Member,
    expires: Timestamp,
    stats: Option<Arc<HostStats>>,
    /// Number of its conditions by code.
    conditions: BTreeMap<&'static str, usize>,
}

type Of<T> = fn(&T) -> f64;

/// Every member of the fleet.
pub(super) fn look(state: &State, fleet: FleetView, fresh: &BTreeMap<HostId, Arc<HostStats>>) -> Vec<Host> {
    let hosts = fleet.members.into_iter().filter_map(|(name, member)| {
        let expires = state.hosts.get(&name)?.certificate.not_after;
        let stats = fresh.get(&name).cloned();
        let conditions = view::host_codes(&member, stats.as_deref());
        Some(Host { name: name.to_string(), member, expires, stats, conditions })
    });
    hosts.collect()
}

impl Host {
    fn labels(&self) -> [(&'static str, &str); 1] {
        [("host", &self.name)]
    }

    fn engine_up(&self) -> bool {
        self.member.observation.as_ref().is_some_and(|seen| seen.engine == EngineState::Available)
    }
}

pub(super) fn write(out: &mut Out<'_>, hosts: &[Host], now: Timestamp) -> fmt::Result {
    about(out, hosts)?;
    let measured = || hosts.iter().filter_map(|host| Some((host, host.stats.as_deref()?)));
    let ages =
        measured().filter_map(|(host, stats)| Some((host.labels(), now.since(stats.told_at?).as_secs_f64())));
    out.gauge("host_measurement_age_seconds", "Time since the last measurement of a host", ages)?;
    let offsets = measured()
        .filter_map(|(host, stats)| Some((host.labels(), seconds(stats.at?) - seconds(stats.told_at?))));
    let help = "By how much the clock of a host is ahead of the coordinator's, its way here included";
    out.gauge("host_clock_offset_seconds", help, offsets)?;
    let gauges: [(&str, &str, Of<HostStats>); 11] = [
        ("host_cpu_ratio", "Share of all processors in use", |of| of.cpu_percent / 100.0),
        ("host_load1", "Load average over a minute", |of| of.load[0]),
        ("host_load5", "Load average over 5 minutes", |of| of.load[1]),
        ("host_load15", "Load average over 15 minutes", |of| of.load[2]),
        ("host_memory_used_bytes", "Memory in use", |of| number(of.memory_used)),
        ("host_memory_size_bytes", "Memory in all", |of| number(of.memory_total)),
        ("host_swap_used_bytes", "Swap in use", |of| number(of.swap_used)),
        ("host_swap_size_bytes", "Swap in all", |of| number(of.swap_total)),
        ("host_engine_disk_used_bytes", "In use on the disk of the engine's data", |of| number(of.disk_used)),
        ("host_engine_disk_size_bytes", "Size of that disk", |of| number(of.disk_total)),
        ("host_instances", "Containers of ours that run", |of| {
            number(u64::try_from(of.instances.len()).unwrap_or(u64::MAX)) + f64::from(of.left_out)
        }),
    ];
    for (name, help, value) in gauges {
        out.gauge(name, help, measured().map(|(host, stats)| (host.labels(), value(stats))))?;
    }
    let counters: [(&str, &str, Of<HostStats>); 6] = [
        ("host_cpu_seconds", "Processor time in use since a host started", |of| of.counters.cpu_seconds),
        ("host_network_receive_bytes", "Bytes received", |of| number(of.counters.network_rx_bytes)),
        ("host_network_transmit_bytes", "Bytes sent", |of| number(of.counters.network_tx_bytes)),
        ("host_disk_read_bytes", "Bytes read from disks", |of| number(of.counters.disk_read_bytes)),
        ("host_disk_written_bytes", "Bytes written to disks", |of| number(of.counters.disk_written_bytes)),
        ("host_oom_kills", "Processes killed for memory", |of| number(of.counters.oom_kills)),
    ];
    for (name, help, value) in counters {
        out.counter(name, help, measured().map(|(host, stats)| (host.labels(), value(stats))))?;
    }
    let modes = measured().filter_map(|(host, stats)| Some((host, stats.cpu?))).flat_map(|(host, cpu)| {
        let all = [("user", cpu.user), ("system", cpu.system), ("iowait", cpu.iowait), ("steal", cpu.steal)];
        all.map(|(mode, percent)| ([("host", host.name.as_str()), ("mode", mode)], percent / 100.0))
    });
    out.gauge("host_cpu_mode_ratio", "Share of all processors by mode", modes)?;
    let waits = measured().filter_map(|(host, stats)| Some((host, stats.pressure?))).flat_map(waits_of);
    out.gauge("host_pressure_ratio", "Share of time in which work waits for a resource", waits)?;
    disks(out, hosts)?;
    gpus(out, hosts)
}

fn waits_of((host, pressure): (&Host, Pressure)) -> impl Iterator<Item = ([(&'static str, &str); 3], f64)> {
    let all = [("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)];
    all.into_iter().flat_map(|(resource, stall)| {
        [("some", stall.some), ("full", stall.full)].map(|(kind, percent)| {
            let labels = [("host", host.name.as_str()), ("resource", resource), ("kind", kind)];
            (labels, percent / 100.0)
        })
    })
}

/// The facts of every member, also of one that is not connected.
fn about(out: &mut Out<'_>, hosts: &[Host]) -> fmt::Result {
    let infos = hosts.iter().map(|host| {
        let facts = &host.member.facts;
        let labels = [
            ("host", host.name.as_str()),
            ("agent_version", &facts.agent_version),
            ("engine_version", &facts.engine_version),
            ("kernel", &facts.kernel),
            ("platform", &facts.platform),
        ];
        (labels, 1.0)
    });
    out.gauge("host_info", "Versions of a host, which is 1", infos)?;
    let gauges: [(&str, &str, Of<Host>); 8] = [
        ("host_up", "Whether a host is connected", |of| yes(of.member.liveness == Liveness::Connected)),
        ("host_lost", "Whether a host is lost", |of| yes(of.member.liveness == Liveness::Lost)),
        ("host_engine_up", "Whether the engine of a host answers", |of| yes(of.engine_up())),
        ("host_schedulable", "Whether a host is schedulable", |of| {
            yes(of.member.scheduling == Scheduling::Ready)
        }),
        ("host_slots", "Slots on it", |of| f64::from(of.member.taken.slots)),
        ("host_memory_reserved_bytes", "Memory that slots reserve", |of| number(of.member.taken.memory)),
        ("host_cores", "Its processors", |of| number(of.member.facts.cpu_millis) / 1000.0),
        ("host_certificate_expiry_timestamp_seconds", "When its certificate ends, since the epoch", |of| {
            seconds(of.expires)
        }),
    ];
    for (name, help, value) in gauges {
        out.gauge(name, help, hosts.iter().map(|host| (host.labels(), value(host))))?;
    }
    let seen = hosts.iter().filter_map(|host| Some((host.labels(), seconds(host.member.last_seen?))));
    out.gauge("host_seen_timestamp_seconds", "When a host was last heard of, since the epoch", seen)?;
    let conditions = hosts.iter().flat_map(|host| {
        let labels = |code| [("host", host.name.as_str()), ("code", code)];
        host.conditions.iter().map(move |(code, found)| (labels(*code), count(*found)))
    });
    out.gauge("host_conditions", "What is wrong with a host itself, by code", conditions)
}

fn disks(out: &mut Out<'_>, hosts: &[Host]) -> fmt::Result {
    let gauges: [(&str, &str, Of<windlass_core::host::DiskStats>); 4] = [
        ("host_disk_used_bytes", "In use on a file system", |of| number(of.used)),
        ("host_disk_size_bytes", DISK_SIZE, |of| number(of.total)),
        ("host_disk_inodes_used", "Inodes in use", |of| number(of.inodes_used)),
        ("host_disk_inodes", "Inodes in all; 0 where they are made as needed", |of| number(of.inodes_total)),
    ];
    for (name, help, value) in gauges {
        let samples = hosts.iter().flat_map(|host| {
            let disks = host.stats.iter().flat_map(|stats| &stats.disks);
            disks.map(move |disk| ([("host", host.name.as_str()), ("mount", &disk.mount)], value(disk)))
        });
        out.gauge(name, help, samples)?;
    }
    Ok(())
}

/// Reads one figure of a GPU; `None` if it cannot tell.
type Reading = fn(&GpuStats) -> Option<f64>;

fn gpus(out: &mut Out<'_>, hosts: &[Host]) -> fmt::Result {
    let infos = hosts.iter().flat_map(|host| {
        host.member.facts.gpus.iter().map(|gpu| {
            let parent = gpu.parent.as_deref().unwrap_or_default();
            let name = ("host", host.name.as_str());
            ([name, ("gpu", &gpu.uuid), ("model", &gpu.name), ("parent", parent)], 1.0)
        })
    });
    out.gauge("gpu_info", "A GPU of a host, which is 1", infos)?;
    let lost = hosts.iter().flat_map(|host| {
        let name = host.name.as_str();
        host.member.facts.gpus_lost.iter().map(move |gpu| ([("host", name), ("gpu", gpu.uuid.as_str())], 1.0))
    });
    out.gauge("gpu_lost", "A GPU that a host had and does not find any more, which is 1", lost)?;
    let drivers = hosts.iter().filter(|host| !host.member.facts.gpu_driver.is_unknown()).map(|host| {
        let driver = &host.member.facts.gpu_driver;
        (
            [
                ("host", host.name.as_str()),
                ("driver_version", &driver.version),
                ("cuda_version", &driver.cuda),
            ],
            1.0,
        )
    });
    out.gauge("gpu_driver_info", "Versions of the driver of a host's GPUs, which is 1", drivers)?;
    let gauges: [(&str, &str, Of<GpuStats>); 5] = [
        ("gpu_throttled", "Whether a GPU is slowed down, by heat or for want of power", |of| {
            yes(of.is_slowed())
        }),
        (
            "gpu_pages_pending",
            "Whether pages of its memory wait for a restart to be taken out of use",
            |of| yes(of.pages_pending),
        ),
        ("gpu_retired_pages", "Pages of its memory that were taken out of use", |of| {
            number(of.retired_pages)
        }),
        ("gpu_remapped_rows", "Rows of its memory that others stand in for", |of| number(of.remapped_rows)),
        ("gpu_remap_failed", "Whether a row of its memory is bad that no other one can stand in for", |of| {
            yes(of.remap_failed)
        }),
    ];
    for (name, help, value) in gauges {
        out.gauge(name, help, of_gpus(hosts, move |gpu| Some(value(gpu))))?;
    }
    // A card that cannot tell has no sample: 0 is a figure.
    let readings: [(&str, &str, Reading); 7] = [
        ("gpu_memory_used_bytes", "Memory in use on a GPU", |of| of.memory().map(|(used, _)| number(used))),
        ("gpu_memory_size_bytes", "Memory of a GPU", |of| of.memory().map(|(_, total)| number(total))),
        ("gpu_busy_ratio", "Share of time in which a GPU was busy", |of| {
            of.readings.utilization.map(|percent| percent / 100.0)
        }),
        ("gpu_temperature_celsius", "Temperature of a GPU", |of| of.readings.temperature),
        ("gpu_power_watts", "Power that a GPU takes", |of| of.readings.power),
        ("gpu_power_limit_watts", "Power that it may take", |of| {
            Some(of.power_limit).filter(|watts| *watts > 0.0)
        }),
        ("gpu_clock_hertz", "Clock of its processors", |of| {
            Some(f64::from(of.clock) * 1e6).filter(|hertz| *hertz > 0.0)
        }),
    ];
    for (name, help, value) in readings {
        out.gauge(name, help, of_gpus(hosts, value))?;
    }
    let throttled = hosts.iter().flat_map(|host| {
        let gpus = host.stats.iter().flat_map(|stats| &stats.gpus);
        gpus.flat_map(move |gpu| {
            let labels =
                move |reason| [("host", host.name.as_str()), ("gpu", gpu.uuid.as_str()), ("reason", reason)];
            gpu.throttled.iter().map(move |reason| (labels(reason.as_str()), 1.0))
        })
    });
    out.gauge("gpu_throttle_reason", "A reason for which a GPU is slowed down now, which is 1", throttled)?;
    let processes = hosts.iter().flat_map(|host| {
        let gpus = host.stats.iter().flat_map(|stats| &stats.gpus);
        gpus.flat_map(move |gpu| {
            gpu.processes.iter().filter_map(move |process| {
                let name = [
                    ("host", host.name.clone()),
                    ("gpu", gpu.uuid.clone()),
                    ("pid", process.pid.to_string()),
                ];
                Some((name, number(process.memory?)))
            })
        })
    });
    out.gauge("gpu_process_memory_bytes", "Memory of a GPU that a process holds", processes)?;
    let counters: [(&str, &str, Of<GpuStats>); 2] = [
        ("gpu_ecc_corrected_errors", "Errors of its memory that were corrected", |of| {
            number(of.ecc_corrected)
        }),
        ("gpu_ecc_uncorrected_errors", "Errors of its memory that were not", |of| number(of.ecc_uncorrected)),
    ];
    for (name, help, value) in counters {
        out.counter(name, help, of_gpus(hosts, move |gpu| Some(value(gpu))))?;
    }
    out.counter("gpu_xid_errors", XID_ERRORS, hosts.iter().flat_map(xids_of))
}

/// The errors of the driver of each GPU that was measured, or is lost, by their cause.
fn xids_of(host: &Host) -> impl Iterator<Item = ([(&'static str, &str); 3], f64)> {
    let measured = move || host.stats.iter().flat_map(|stats| &stats.gpus);
    let is_lost = move |lost: &&GpuLost| !lost.uuid.is_empty() && measured().all(|gpu| gpu.uuid != lost.uuid);
    let lost = host.member.facts.gpus_lost.iter().filter(is_lost);
    let lost = lost.map(|gpu| (gpu.uuid.as_str(), gpu.xids_by_cause()));
    let all = measured().map(|gpu| (gpu.uuid.as_str(), gpu.xids_by_cause())).chain(lost);
    all.flat_map(move |(uuid, causes)| {
        let labels = move |cause| [("host", host.name.as_str()), ("gpu", uuid), ("cause", cause)];
        causes.map(move |(cause, found)| (labels(cause), number(found)))
    })
}

/// The figure of every GPU that tells it, with its labels.
fn of_gpus(
    hosts: &[Host],
    value: impl Fn(&GpuStats) -> Option<f64> + Copy,
) -> impl Iterator<Item = ([(&'static str, &str); 2], f64)> {
    hosts.iter().flat_map(move |host| {
        let gpus = host.stats.iter().flat_map(|stats| &stats.gpus);
        gpus.filter_map(move |gpu| {
            Some(([("host", host.name.as_str()), ("gpu", gpu.uuid.as_str())], value(gpu)?))
        })
    })
}
