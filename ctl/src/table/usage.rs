//! Usage of hosts and instances, in cells and lines. A figure that is old is never shown: its age stands in its place.

use comfy_table::Cell;
use windlass_core::Timestamp;
use windlass_core::host::{HostStats, InstanceStats, ProbeStats};
use windlass_core::view::{HostView, InstanceView, StatusView};

use super::{ago, bytes, fields, grid};
use crate::printer::Colour;

/// Processors and memory of a host in a list.
pub(crate) fn of_host(host: &HostView, now: Timestamp) -> (String, String) {
    match fresh(host.stats.as_ref(), now) {
        Ok(Some(stats)) => {
            (percent(stats.cpu_percent), share(stats.memory_used, stats.memory_total).unwrap_or_default())
        }
        Ok(None) => ("-".to_owned(), "-".to_owned()),
        Err(stale) => (stale, "-".to_owned()),
    }
}

/// Processors and memory of an instance.
pub(crate) fn of_instance(instance: &InstanceView) -> (String, String) {
    let cpu = instance.cpu_percent.map(|percent| {
        let held = instance.throttled_percent.filter(|held| *held >= 1.0);
        format!("{percent:.0}%{}", held.map(|held| format!(" (throttled {held:.0}%)")).unwrap_or_default())
    });
    let memory = instance.memory_used.map(|used| match instance.memory_limit {
        Some(limit) if limit > 0 => format!("{}/{}", bytes(used), bytes(limit)),
        Some(_) | None => bytes(used),
    });
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    (or_dash(cpu), or_dash(memory))
}

/// The last result of the probe of an instance, and its duration: `ok 12ms`.
pub(crate) fn of_probe(probe: Option<&ProbeStats>) -> String {
    probe.map_or_else(
        || "-".to_owned(),
        |probe| {
            let word = if probe.ok { "ok" } else { "bad" };
            let millis = probe.seconds * 1000.0;
            if millis < 10.0 { format!("{word} {millis:.1}ms") } else { format!("{word} {millis:.0}ms") }
        },
    )
}

/// A rate of requests.
pub(crate) fn per_second(rate: Option<f64>) -> String {
    rate.map_or_else(
        || "-".to_owned(),
        |rate| if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") },
    )
}

/// A share of requests that failed. One that is not zero is never shown as zero.
pub(crate) fn error_share(ratio: Option<f64>) -> String {
    ratio.map_or_else(
        || "-".to_owned(),
        |ratio| match ratio * 100.0 {
            none if none <= 0.0 => "0%".to_owned(),
            little if little < 0.1 => "<0.1%".to_owned(),
            some if some < 10.0 => format!("{some:.1}%"),
            much => format!("{much:.0}%"),
        },
    )
}

/// A latency.
pub(crate) fn latency(seconds: Option<f64>) -> String {
    seconds.map_or_else(
        || "-".to_owned(),
        |seconds| match seconds * 1000.0 {
            few if few < 10.0 => format!("{few:.1}ms"),
            some if some < 10_000.0 => format!("{some:.0}ms"),
            _ => format!("{seconds:.0}s"),
        },
    )
}

/// Processors and memory of all instances of a service; a dash where nothing was measured.
pub(crate) fn of_service(status: &StatusView) -> (String, String) {
    let cpu: Vec<f64> = status.instances.iter().filter_map(|of| of.cpu_percent).collect();
    let memory: Vec<u64> = status.instances.iter().filter_map(|of| of.memory_used).collect();
    if cpu.is_empty() {
        return ("-".to_owned(), "-".to_owned());
    }
    (percent(cpu.iter().sum()), bytes(memory.iter().fold(0, |sum, used| sum.saturating_add(*used))))
}

/// Everything that was measured of a host.
pub(crate) fn lines(host: &HostView, now: Timestamp) -> String {
    let stats = match fresh(host.stats.as_ref(), now) {
        Ok(None) => return String::new(),
        Err(stale) => return format!("\nmeasured: {stale}\n"),
        Ok(Some(stats)) => stats,
    };
    let load = stats.load.map(|load| format!("{load:.2}")).join(" ");
    let modes = stats.cpu.map(|cpu| {
        format!(
            "{:.0}% user, {:.0}% system, {:.0}% iowait, {:.0}% steal",
            cpu.user, cpu.system, cpu.iowait, cpu.steal
        )
    });
    let swap =
        (stats.swap_total > 0).then(|| format!("{} of {}", bytes(stats.swap_used), bytes(stats.swap_total)));
    let rate = |rate: f64| format!("{}/s", bytes(whole(rate)));
    let waits = stats
        .pressure
        .map(|of| format!("cpu {:.0}%, memory {:.0}%, io {:.0}%", of.cpu.some, of.memory.some, of.io.some));
    let disks: Vec<String> = stats
        .disks
        .iter()
        .map(|disk| {
            let inodes = share(disk.inodes_used, disk.inodes_total).map(|share| format!(", inodes {share}"));
            let space = share(disk.used, disk.total).unwrap_or_default();
            let mount = super::printable(&disk.mount);
            format!("{mount} {space} of {}{}", bytes(disk.total), inodes.unwrap_or_default())
        })
        .collect();
    let gpus: Vec<String> = stats
        .gpus
        .iter()
        .map(|gpu| {
            let readings = gpu.readings;
            let all = [
                readings.utilization.map(|percent| format!("{percent:.0}% busy")),
                Some(format!("{} of {}", bytes(gpu.memory_used), bytes(gpu.memory_total))),
                readings.temperature.map(|celsius| format!("{celsius:.0} °C")),
                readings.power.map(|watts| format!("{watts:.0} W")),
            ];
            let all: Vec<String> = all.into_iter().flatten().collect();
            format!("{} {}", super::printable(&gpu.uuid), all.join(", "))
        })
        .collect();
    let some = |lines: Vec<String>| Some(lines.join("\n")).filter(|text| !text.is_empty());
    let mut text = "\n".to_owned();
    text.push_str(&fields(&[
        ("load", Some(load)),
        ("processors", modes),
        ("swap", swap),
        ("network", Some(format!("{} in, {} out", rate(stats.network_rx), rate(stats.network_tx)))),
        ("pressure", waits),
        ("disks", some(disks)),
        ("gpu use", some(gpus)),
    ]));
    text + &instances(&stats.instances)
}

fn instances(all: &[InstanceStats]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let row = |of: &InstanceStats| {
        let counters = &of.counters;
        vec![
            Cell::new(super::printable(&of.instance)),
            Cell::new(percent(of.cpu_percent)),
            Cell::new(percent(of.throttled_percent)),
            Cell::new(format!("{}/{}", bytes(of.memory_used), bytes(of.memory_limit))),
            Cell::new(of_probe(of.probe.as_ref())),
            Cell::new(counters.oom_kills),
            Cell::new(of.pids),
            Cell::new(format!("{}/{}", bytes(counters.network_rx_bytes), bytes(counters.network_tx_bytes))),
            Cell::new(format!(
                "{}/{}",
                bytes(counters.block_read_bytes),
                bytes(counters.block_written_bytes)
            )),
        ]
    };
    let headers = [
        "INSTANCE",
        "CPU",
        "THROTTLED",
        "MEMORY",
        "PROBE",
        "OOM KILLS",
        "PIDS",
        "NET IN/OUT",
        "DISK READ/WRITTEN",
    ];
    format!("\n{}", grid(&headers, all.iter().map(row).collect(), Colour::Off))
}

/// The measurement, if it says how the host does now; its age, if it does not.
fn fresh(stats: Option<&HostStats>, now: Timestamp) -> Result<Option<&HostStats>, String> {
    match stats {
        Some(stats) if stats.told_at.is_some() && !stats.is_fresh(now) => {
            Err(stats.told_at.map(|at| format!("stale, {}", ago(at, now))).unwrap_or_default())
        }
        stats => Ok(stats),
    }
}

fn percent(percent: f64) -> String {
    format!("{percent:.0}%")
}

/// `used` of `total` in percent; `None` of nothing.
fn share(used: u64, total: u64) -> Option<String> {
    let percent = u128::from(used) * 100 / u128::from(total.max(1));
    (total > 0).then(|| format!("{percent}%"))
}

/// Bytes without a fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people, not below 0")]
fn whole(rate: f64) -> u64 {
    rate.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_has_a_word_and_a_time() {
        let probe = |ok, seconds| ProbeStats { ok, seconds, answers: 2, failures: 1 };
        for (probe, want) in [
            (None, "-"),
            (Some(probe(true, 0.0042)), "ok 4.2ms"),
            (Some(probe(false, 0.25)), "bad 250ms"),
            (Some(probe(true, 3.0)), "ok 3000ms"),
        ] {
            assert_eq!(of_probe(probe.as_ref()), want);
        }
    }
}
