//! `host ls`, `host show`.

use comfy_table::Cell;
use windlass_core::Timestamp;
use windlass_core::host::{Gpu, GpuHealth, GpuLost, HostPolicy};
use windlass_core::observation::EngineState;
use windlass_core::view::HostView;

use super::{ago, bytes, fields, grid, or_dash, state, usage};
use crate::printer::Colour;

/// All hosts.
pub(crate) fn hosts(hosts: &[HostView], now: Timestamp, colour: Colour) -> String {
    if hosts.is_empty() {
        return "no hosts yet; add one with `windlass host token HOST`\n".to_owned();
    }
    let row = |host: &HostView| {
        let (cpu, memory) = usage::of_host(host, now);
        vec![
            Cell::new(&host.name),
            state(&host.state),
            Cell::new(host.scheduling.as_str()),
            Cell::new(labels(host)),
            Cell::new(host.slots),
            Cell::new(format!("{}/{}", bytes(host.memory_reserved), bytes(host.memory))),
            Cell::new(cpu),
            Cell::new(memory),
            Cell::new(if host.gpus.is_empty() { "-".to_owned() } else { host.gpus.len().to_string() }),
            Cell::new(&host.address),
            Cell::new(or_dash(host.last_seen.map(|at| ago(at, now)))),
            Cell::new(host.note().map_or_else(|| "-".to_owned(), |note| super::printable(&note))),
        ]
    };
    let headers = [
        "HOST",
        "STATE",
        "SCHEDULING",
        "LABELS",
        "SLOTS",
        "RESERVED",
        "CPU",
        "MEM",
        "GPUS",
        "ADDRESS",
        "SEEN",
        "NOTE",
    ];
    grid(&headers, hosts.iter().map(row).collect(), colour)
}

/// One host.
pub(crate) fn host(host: &HostView, now: Timestamp) -> String {
    let gpus: Vec<String> = host
        .gpus
        .iter()
        .map(|gpu| gpu_line(host, gpu, now))
        .chain(host.gpus_lost.iter().map(|gpu| lost(host, gpu)))
        .collect();
    let access = host.gpu_access.refusal().filter(|_| !host.gpus.is_empty());
    let stats = host.stats.as_ref().filter(|stats| stats.told_at.is_none() || stats.is_fresh(now));
    let engine = match &host.engine {
        EngineState::Unknown => "not asked yet".to_owned(),
        EngineState::Available if host.engine_version.is_empty() => {
            "Docker, of a version not told yet".to_owned()
        }
        EngineState::Available => format!("Docker {}", host.engine_version),
        EngineState::Unavailable(why) => format!("unavailable: {why}"),
    };
    let plan = match host.plan_refusal.as_ref() {
        Some(refusal) => format!("{} of {}, refused: {refusal}", host.seq, host.issued_seq),
        None => format!("{} of {}", host.seq, host.issued_seq),
    };
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let problems: Vec<String> = host.problems.iter().map(|problem| super::printable(&problem.text)).collect();
    let table = fields(&[
        ("host", Some(host.name.to_string())),
        ("state", Some(host.state.clone())),
        ("recovering", Some(host.recovery.join("\n")).filter(|text| !text.is_empty())),
        (
            "seen",
            Some(
                host.last_seen
                    .map_or_else(|| "not since the coordinator started".to_owned(), |at| ago(at, now)),
            ),
        ),
        ("scheduling", Some(host.scheduling.as_str().to_owned())),
        ("labels", Some(labels(host))),
        ("address", text(&host.address)),
        ("agent", text(&host.agent_version)),
        ("engine", Some(engine)),
        ("system", text(format!("{} {}", host.os, host.kernel).trim())),
        ("platform", text(&host.platform)),
        ("cpu", Some(format!("{} cores{}", host.cpu_millis / 1000, percent(stats.map(|s| s.cpu_percent))))),
        ("memory", Some(format!("{} of {} reserved", bytes(host.memory_reserved), bytes(host.memory)))),
        ("memory used", stats.map(|s| format!("{} of {}", bytes(s.memory_used), bytes(s.memory_total)))),
        ("disk", stats.map(|s| format!("{} of {}", bytes(s.disk_used), bytes(s.disk_total)))),
        ("gpus", Some(gpus.join("\n")).filter(|gpus| !gpus.is_empty())),
        ("gpu driver", driver(host)),
        ("no gpu access", access.map(str::to_owned)),
        ("slots", Some(host.slots.to_string())),
        ("leaving", Some(host.waiting.join("; ")).filter(|text| !text.is_empty())),
        ("plan", Some(plan)),
        (
            "journal",
            host.unwritable.as_ref().map(|why| format!("cannot be written, so nothing new is done: {why}")),
        ),
        ("certificate", host.certificate_expires_at.map(|at| format!("until {}", at.to_the_second()))),
        ("policy", host.policy.as_ref().map(policy)),
        ("conditions", Some(problems.join("\n")).filter(|text| !text.is_empty())),
    ]);
    table + &usage::lines(host, now) + &super::conditions(&host.conditions, now)
}

/// A GPU, how it does, and who has it.
fn gpu_line(host: &HostView, gpu: &Gpu, now: Timestamp) -> String {
    let memory = if gpu.memory == 0 { "memory unknown".to_owned() } else { bytes(gpu.memory) };
    let part = gpu.parent.as_ref().map(|parent| format!(", part of {parent}")).unwrap_or_default();
    let fresh = host.stats.iter().filter(|stats| stats.told_at.is_none() || stats.is_fresh(now));
    let stats = fresh.flat_map(|stats| &stats.gpus).find(|stats| stats.uuid == gpu.uuid);
    let does = stats.map(|stats| {
        let all = [
            stats.readings.utilization.map(|percent| format!(", {percent:.0}% busy")),
            stats.memory().map(|(used, _)| format!(", {} used", bytes(used))),
            stats.readings.temperature.map(|celsius| format!(", {celsius:.0} °C")),
        ];
        all.into_iter().flatten().collect::<String>()
    });
    let strangers = (gpu.strangers > 0).then(|| format!("; others hold {}", bytes(gpu.strangers)));
    let holders = holders(host, &gpu.uuid).unwrap_or_else(|| "free".to_owned());
    let health = match gpu.health {
        GpuHealth::Well => "",
        GpuHealth::Errors => "; reports ERRORS: used only if no other one is free",
        GpuHealth::Defective => "; its memory is BAD: nobody new gets it",
    };
    let line = format!(
        "{} {} ({memory}{part}{}): {holders}{}{health}",
        gpu.uuid,
        gpu.name,
        does.unwrap_or_default(),
        strangers.unwrap_or_default()
    );
    super::printable(&line)
}

/// The slots that have a device, and how much of it.
fn holders(host: &HostView, uuid: &str) -> Option<String> {
    let holders = host.gpu_holders.get(uuid)?.iter().map(|holder| {
        let share = holder.memory.map_or_else(|| "alone".to_owned(), bytes);
        let standby = if holder.standby { ", standby" } else { "" };
        format!("{} ({share}{standby})", holder.slot)
    });
    let holders: Vec<String> = holders.collect();
    (!holders.is_empty()).then(|| holders.join(", "))
}

/// `550.90.07, CUDA 12.4`.
fn driver(host: &HostView) -> Option<String> {
    let driver = &host.gpu_driver;
    let cuda = Some(format!("CUDA {}", driver.cuda)).filter(|_| !driver.cuda.is_empty());
    let version = Some(driver.version.clone()).filter(|version| !version.is_empty());
    let words: Vec<String> = version.into_iter().chain(cuda).collect();
    (!words.is_empty()).then(|| super::printable(&words.join(", ")))
}

fn lost(host: &HostView, gpu: &GpuLost) -> String {
    let holders = holders(host, &gpu.uuid).map(|holders| format!("; held by {holders}")).unwrap_or_default();
    let line = format!("{} {}: LOST since {}: {}{holders}", gpu.uuid, gpu.name, gpu.since, gpu.why);
    super::printable(&line)
}

fn policy(policy: &HostPolicy) -> String {
    let environments = policy
        .environments
        .as_ref()
        .map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    format!(
        "images from {}; environments {}; ports {}-{}",
        policy.registries.join(", "),
        or_dash(environments.or_else(|| Some("any".to_owned()))),
        policy.port_range.0,
        policy.port_range.1
    )
}

fn percent(used: Option<f64>) -> String {
    used.map(|used| format!(", {used:.0}% busy")).unwrap_or_default()
}

fn labels(host: &HostView) -> String {
    let labels: Vec<String> = host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if labels.is_empty() { "-".to_owned() } else { labels.join(",") }
}
