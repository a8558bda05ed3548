//! The words of each row: its cells, in the order of the columns of its board, and the details behind them. Pure.

use windlass_core::Timestamp;
use windlass_core::view::{
    EventView, GpuRow, HostView, InstanceRow, RolloutView, RowView, ScreenView, ServiceRow,
};

use super::row::{Row, Tone, details, none, text};
use super::traffic;
use crate::printer::Colour;
use crate::table;

/// Characters of a UUID that tell two GPUs apart: `GPU-` and the first group.
const SHORT: usize = 12;

/// The rows of a screen, as they come.
pub(super) fn rows(screen: &ScreenView, now: Timestamp) -> Vec<Row> {
    screen.rows.iter().map(|row| shown(row, now)).collect()
}

fn shown(row: &RowView, now: Timestamp) -> Row {
    match row {
        RowView::Host(of) => host(of, now),
        RowView::Service(of) => service(of, now),
        RowView::Rollout(of) => rollout(of, now),
        RowView::Instance(of) => instance(of, now),
        RowView::Gpu(of) => gpu(of),
        RowView::Event(of) => event(of),
        RowView::Route(of) => traffic::route(of, now),
        RowView::Ingress(of) => traffic::ingress(of, now),
    }
}

fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(none, |percent| format!("{percent:.0}%"))
}

fn bytes(count: Option<u64>) -> String {
    count.map_or_else(none, table::bytes)
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 52 bits")]
fn share(used: u64, total: u64) -> String {
    percent((total > 0).then(|| used as f64 / total as f64 * 100.0))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, not below 0")]
fn rate(rate: f64) -> String {
    format!("{}/s", table::bytes(rate.max(0.0) as u64))
}

fn host(host: &HostView, now: Timestamp) -> Row {
    let fresh = host.stats.as_ref().filter(|stats| stats.is_fresh(now));
    let old = || host.stats.as_ref().map_or_else(none, |_| text("stale"));
    let of = |cell: Option<String>| cell.unwrap_or_else(old);
    let tone = match host.state.as_str() {
        "connected" if host.note().is_none() => Tone::Well,
        "connected" | "suspect" | "unknown" | "recovering" => Tone::Moving,
        _ => Tone::Bad,
    };
    let cells = vec![
        text(&host.name),
        text(&host.state),
        of(fresh.map(|stats| percent(Some(stats.cpu_percent)))),
        of(fresh.map(|stats| format!("{:.2}", stats.load[0]))),
        of(fresh.map(|stats| share(stats.memory_used, stats.memory_total))),
        of(fresh.map(|stats| share(stats.disk_used, stats.disk_total))),
        of(fresh.map(|stats| rate(stats.network_rx))),
        of(fresh.map(|stats| rate(stats.network_tx))),
        host.slots.to_string(),
        host.note().map_or_else(none, text),
    ];
    Row { cells, tone, details: table::host(host, now) }
}

fn service(row: &ServiceRow, now: Timestamp) -> Row {
    let status = &row.status;
    let tone = match status.state.as_str() {
        "steady" | "stopped" => Tone::Well,
        "degraded" => Tone::Bad,
        _ => Tone::Moving,
    };
    let cells = vec![
        text(format!("{}/{}", status.environment, status.service)),
        status.release.map_or_else(none, text),
        text(&status.state),
        table::healthy(status),
        percent(row.cpu_percent),
        bytes(row.memory_used),
        status.restarts.to_string(),
        status.why().map_or_else(none, text),
    ];
    let mut details = table::service(status, None, now, Colour::Off);
    if row.left_out > 0 {
        details.push_str(&format!("and {} instances more\n", row.left_out));
    }
    Row { cells, tone, details }
}

fn rollout(rollout: &RolloutView, now: Timestamp) -> Row {
    use windlass_core::rollout::State;
    let tone = match rollout.state {
        State::Succeeded | State::Superseded => Tone::Well,
        State::RolledBack | State::Aborted | State::Failed => Tone::Bad,
        _ => Tone::Moving,
    };
    let traffic = rollout.traffic.as_ref().map(|of| format!("{} {}", of.release, of.weight));
    let cells = vec![
        text(format!("{}/{}", rollout.environment, rollout.service)),
        text(rollout.release),
        text(rollout.state.as_str().replace('_', " ")),
        format!("{}/{}", rollout.available, rollout.total),
        traffic.map_or_else(none, text),
        table::ago(rollout.created_at, now),
        format!("{}s", rollout.duration_ms / 1000),
        text(rollout.waiting.first().or(rollout.reason.as_ref()).map_or("-", |words| words)),
    ];
    Row { cells, tone, details: table::rollout(rollout, now, Colour::Off) }
}

fn instance(row: &InstanceRow, now: Timestamp) -> Row {
    let of = &row.instance;
    let state = of.state.as_str();
    let tone = match state {
        "healthy" if of.doubt.is_none() => Tone::Well,
        "failed" | "refused" => Tone::Bad,
        _ => Tone::Moving,
    };
    let probe = table::of_probe(of.probe.as_ref());
    let cells = vec![
        text(format!("{}/{}", row.environment, row.service)),
        of.slot.index.to_string(),
        text(&of.host),
        text(of.release),
        text(format!("{state}{}", if of.doubt.is_some() { "?" } else { "" })),
        percent(of.cpu_percent),
        bytes(of.memory_used),
        probe.clone(),
        of.restarts.to_string(),
        of.trouble().map_or_else(none, text),
    ];
    let (cpu, memory) = table::of_instance(of);
    let endpoints: Vec<String> = of.endpoints.iter().map(|(name, at)| format!("{name}={at}")).collect();
    let answers = of.probe.map(|probe| format!(", {} of {} bad", probe.failures, probe.answers));
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let lines = [
        ("instance", some(of.instance.clone())),
        ("container", of.container.clone()),
        ("since", of.since.map(|at| table::ago(at, now))),
        ("endpoints", some(endpoints.join(" "))),
        ("cpu", Some(cpu)),
        ("memory", Some(memory)),
        ("probe", Some(probe + answers.as_deref().unwrap_or_default())),
        ("gpus", some(of.gpus.join(" "))),
        ("not ready", of.not_ready.as_ref().map(ToString::to_string)),
        ("last exit", of.last_exit.map(|exit| exit.to_string())),
        ("refused", of.refused.as_ref().map(ToString::to_string)),
        ("unknown", of.doubt.clone()),
    ];
    Row { cells, tone, details: details(&lines) }
}

fn celsius(degrees: f64) -> String {
    format!("{degrees:.0} °C")
}

fn watts(power: f64) -> String {
    format!("{power:.0} W")
}

fn of_memory((used, total): (u64, u64)) -> String {
    format!("{} of {}", table::bytes(used), table::bytes(total))
}

fn gpu(row: &GpuRow) -> Row {
    let (gpu, used) = (&row.gpu, row.stats.as_ref());
    let readings = used.map(|used| used.readings).unwrap_or_default();
    let cells = vec![
        text(&row.host),
        text(&gpu.uuid),
        text(&gpu.name),
        percent(readings.utilization),
        bytes(used.and_then(|used| used.memory()).map(|(used, _)| used)),
        if gpu.memory == 0 { "unknown".to_owned() } else { bytes(Some(gpu.memory)) },
        readings.temperature.map_or_else(none, celsius),
        readings.power.map_or_else(none, watts),
        row.state().to_owned(),
    ];
    let tone = match row.state() {
        "lost" | "errors" => Tone::Bad,
        "well" => Tone::Well,
        _ => Tone::Moving,
    };
    let wrong: Vec<&str> = row.conditions.iter().map(|found| found.message.as_str()).collect();
    let holders = row.holders.iter().map(|holder| {
        format!("{} ({})", holder.slot, holder.memory.map_or_else(|| "alone".to_owned(), table::bytes))
    });
    let holders: Vec<String> = holders.collect();
    let process = |of: &windlass_core::host::GpuProcess| {
        format!("{} ({})", of.pid, of.memory.map_or_else(|| "unknown".to_owned(), table::bytes))
    };
    let processes: Vec<String> = used.iter().flat_map(|used| &used.processes).map(process).collect();
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let errors = |used: &windlass_core::host::GpuStats| {
        format!(
            "{} corrected, {} not; {} of the driver{}",
            used.ecc_corrected,
            used.ecc_uncorrected,
            used.xid_count,
            some(format!(", the last one XID {}", used.xid)).filter(|_| used.xid > 0).unwrap_or_default()
        )
    };
    let lines = [
        ("host", Some(row.host.to_string())),
        ("gpu", Some(format!("{} {}", gpu.uuid, gpu.name))),
        ("part of", gpu.parent.clone()),
        ("lost", row.lost.as_ref().map(|lost| format!("since {}: {}", lost.since, lost.why))),
        ("wrong", some(wrong.join("; "))),
        ("held by", Some(some(holders.join(", ")).unwrap_or_else(|| "nobody".to_owned()))),
        ("others hold", (gpu.strangers > 0).then(|| table::bytes(gpu.strangers))),
        ("busy", readings.utilization.map(|busy| percent(Some(busy)))),
        ("memory", used.and_then(|used| used.memory()).map(of_memory)),
        ("temperature", readings.temperature.map(celsius)),
        ("power", readings.power.map(watts)),
        ("clock", used.filter(|used| used.clock > 0).map(|used| format!("{} MHz", used.clock))),
        (
            "power limit",
            used.filter(|used| used.power_limit > 0.0).map(|used| format!("{:.0} W", used.power_limit)),
        ),
        ("slowed by", used.and_then(|used| some(used.throttled.join(", ")))),
        ("errors", used.map(errors)),
        ("processes", some(processes.join(", "))),
    ];
    Row { cells, tone, details: details(&lines) }
}

/// Names a GPU by the beginning of its UUID, and its model without the maker; the details have both in full.
pub(super) fn short_names(row: &mut Row) {
    let [_, uuid, model, ..] = row.cells.as_mut_slice() else { return };
    if uuid.chars().count() > SHORT + 1 {
        *uuid = uuid.chars().take(SHORT).chain(['…']).collect();
    }
    if let Some(rest) = model.strip_prefix("NVIDIA ") {
        *model = rest.to_owned();
    }
}

fn event(event: &EventView) -> Row {
    let bad = ["failed", "lost", "refused", "rolled_back", "crash_loop"];
    let tone = if bad.iter().any(|word| event.kind.contains(word)) { Tone::Bad } else { Tone::Well };
    let cells = vec![text(event.at), text(&event.kind), text(&event.subject), text(&event.message)];
    let lines = [
        ("at", Some(event.at.to_string())),
        ("kind", Some(event.kind.clone())),
        ("subject", Some(event.subject.clone())),
        ("message", Some(event.message.clone())),
    ];
    Row { cells, tone, details: details(&lines) }
}
