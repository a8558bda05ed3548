//! Rows of each view: cells, what they are sorted by, and the details behind them. Pure.

use std::cmp::Ordering;

use windlass_core::Timestamp;
use windlass_core::view::{HostView, InstanceView, RolloutView, StatusView};

use super::{Snapshot, State, View};
use crate::printer::Colour;
use crate::table;

/// A row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) tone: Tone,
    /// The text of its details.
    pub(super) details: String,
}

/// A cell, and the number that it is sorted by if it has one.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    number: Option<f64>,
}

/// The meaning of a row. Never by colour alone: its state is written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Well,
    Moving,
    Bad,
}

/// Names of columns.
pub(super) const fn columns(view: View) -> &'static [&'static str] {
    match view {
        View::Hosts => &["HOST", "STATE", "CPU", "LOAD", "MEM", "DISK", "NET IN", "NET OUT", "SLOTS", "NOTE"],
        View::Services => &["SERVICE", "RELEASE", "STATE", "HEALTHY", "CPU", "MEM", "RESTARTS", "WHY"],
        View::Rollouts => {
            &["SERVICE", "RELEASE", "STATE", "AVAILABLE", "TRAFFIC", "STARTED", "TOOK", "WAITS FOR"]
        }
        View::Instances => &["SERVICE", "SLOT", "HOST", "RELEASE", "STATE", "CPU", "MEM", "RESTARTS", "WHY"],
        View::Gpus => &["HOST", "GPU", "MODEL", "BUSY", "MEM", "OF", "TEMP", "POWER"],
        View::Events => &["AT", "KIND", "SUBJECT", "MESSAGE"],
    }
}

/// The number of columns of a view.
pub(crate) const fn columns_of(view: View) -> usize {
    columns(view).len()
}

/// The rows of a view that fit the filter, sorted.
pub(super) fn rows(snapshot: &Snapshot, state: &State, now: Timestamp) -> Vec<Row> {
    let mut rows: Vec<Row> = match state.view {
        View::Hosts => snapshot.hosts.iter().map(|of| host(of, now)).collect(),
        View::Services => snapshot.services.iter().map(|of| service(of, now)).collect(),
        View::Rollouts => snapshot.rollouts.iter().map(|of| rollout(of, now)).collect(),
        View::Instances => snapshot.services.iter().flat_map(instances).collect(),
        View::Gpus => snapshot.hosts.iter().flat_map(|of| gpus(of, now)).collect(),
        View::Events => snapshot.events.iter().map(event).collect(),
    };
    let wanted = state.filter.to_lowercase();
    let fits = |row: &Row| row.cells.iter().any(|cell| cell.text.to_lowercase().contains(&wanted));
    rows.retain(fits);
    // As the coordinator sorts them, unless somebody asks: rollouts and events are newest first.
    if state.sort > 0 || state.descending || !matches!(state.view, View::Rollouts | View::Events) {
        rows.sort_by(|a, b| {
            let order = compare(a.cells.get(state.sort), b.cells.get(state.sort));
            if state.descending { order.reverse() } else { order }
        });
    }
    rows
}

/// Numbers before words; what is no number at the end.
fn compare(a: Option<&Cell>, b: Option<&Cell>) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else { return Ordering::Equal };
    match (a.number, b.number) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.text.cmp(&b.text),
    }
}

fn text(text: impl ToString) -> Cell {
    // What others wrote may have control characters, which move the cursor.
    Cell { text: table::printable(&text.to_string()), number: None }
}

fn number(number: f64, text: String) -> Cell {
    Cell { text, number: Some(number) }
}

fn none() -> Cell {
    text("-")
}

fn percent(percent: Option<f64>) -> Cell {
    percent.map_or_else(none, |percent| number(percent, format!("{percent:.0}%")))
}

#[expect(clippy::cast_precision_loss, reason = "to sort by")]
fn bytes(count: Option<u64>) -> Cell {
    count.map_or_else(none, |count| number(count as f64, table::bytes(count)))
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 52 bits")]
fn share(used: u64, total: u64) -> Cell {
    percent((total > 0).then(|| used as f64 / total as f64 * 100.0))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, not below 0")]
fn rate(rate: f64) -> Cell {
    number(rate, format!("{}/s", table::bytes(rate.max(0.0) as u64)))
}

fn host(host: &HostView, now: Timestamp) -> Row {
    let fresh = host.stats.as_ref().filter(|stats| stats.is_fresh(now));
    let old = || host.stats.as_ref().map_or_else(none, |_| text("stale"));
    let of = |cell: Option<Cell>| cell.unwrap_or_else(old);
    let tone = match host.state.as_str() {
        "connected" if host.problems.is_empty() => Tone::Well,
        "connected" | "suspect" | "unknown" | "recovering" => Tone::Moving,
        _ => Tone::Bad,
    };
    let cells = vec![
        text(&host.name),
        text(&host.state),
        of(fresh.map(|stats| percent(Some(stats.cpu_percent)))),
        of(fresh.map(|stats| number(stats.load[0], format!("{:.2}", stats.load[0])))),
        of(fresh.map(|stats| share(stats.memory_used, stats.memory_total))),
        of(fresh.map(|stats| share(stats.disk_used, stats.disk_total))),
        of(fresh.map(|stats| rate(stats.network_rx))),
        of(fresh.map(|stats| rate(stats.network_tx))),
        number(f64::from(host.slots), host.slots.to_string()),
        text(host.problems.first().map_or("-", |problem| &problem.text)),
    ];
    Row { cells, tone, details: table::host(host, now) }
}

fn service(status: &StatusView, now: Timestamp) -> Row {
    let tone = match status.state.as_str() {
        "steady" | "stopped" => Tone::Well,
        "degraded" => Tone::Bad,
        _ => Tone::Moving,
    };
    let cpu: Vec<f64> = status.instances.iter().filter_map(|of| of.cpu_percent).collect();
    let memory: Vec<u64> = status.instances.iter().filter_map(|of| of.memory_used).collect();
    let sum = || memory.iter().fold(0_u64, |sum, used| sum.saturating_add(*used));
    let cells = vec![
        text(format!("{}/{}", status.environment, status.service)),
        status.release.map_or_else(none, text),
        text(&status.state),
        number(f64::from(status.healthy), format!("{}/{}", status.healthy, status.wanted)),
        percent((!cpu.is_empty()).then(|| cpu.iter().sum())),
        bytes((!memory.is_empty()).then(sum)),
        number(f64::from(status.restarts), status.restarts.to_string()),
        status.conditions.first().map_or_else(none, |condition| text(condition.line())),
    ];
    Row { cells, tone, details: table::service(status, None, now, Colour::Off) }
}

#[expect(clippy::cast_precision_loss, reason = "to sort by")]
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
        number(f64::from(rollout.available), format!("{}/{}", rollout.available, rollout.total)),
        traffic.map_or_else(none, text),
        number(-(rollout.created_at.as_millis() as f64), table::ago(rollout.created_at, now)),
        number(rollout.duration_ms as f64, format!("{}s", rollout.duration_ms / 1000)),
        text(rollout.waiting.first().or(rollout.reason.as_ref()).map_or("-", |words| words)),
    ];
    Row { cells, tone, details: table::rollout(rollout, now, Colour::Off) }
}

fn instances(status: &StatusView) -> impl Iterator<Item = Row> {
    status.instances.iter().map(|of| instance(status, of))
}

fn instance(status: &StatusView, of: &InstanceView) -> Row {
    let state = of.state.as_str();
    let tone = match state {
        "healthy" if of.doubt.is_none() => Tone::Well,
        "failed" | "refused" => Tone::Bad,
        _ => Tone::Moving,
    };
    let why = of.not_ready.as_ref().map(ToString::to_string);
    let why = why.or_else(|| of.last_exit.map(|exit| exit.to_string()));
    let cells = vec![
        text(format!("{}/{}", status.environment, status.service)),
        number(f64::from(of.slot.index), of.slot.index.to_string()),
        text(&of.host),
        text(of.release),
        text(format!("{state}{}", if of.doubt.is_some() { "?" } else { "" })),
        percent(of.cpu_percent),
        bytes(of.memory_used),
        number(f64::from(of.restarts), of.restarts.to_string()),
        why.map_or_else(none, text),
    ];
    let doubt = of.doubt.as_ref().map(|doubt| format!("unknown     {doubt}\n")).unwrap_or_default();
    let (cpu, memory) = table::of_instance(of);
    let endpoints: Vec<String> = of.endpoints.iter().map(|(name, at)| format!("{name}={at}")).collect();
    let details = format!(
        "instance    {}\ncontainer   {}\nendpoints   {}\ncpu         {cpu}\nmemory      {memory}\n{doubt}",
        of.id,
        of.container.as_deref().unwrap_or("-"),
        endpoints.join(" "),
    );
    Row { cells, tone, details }
}

fn gpus(host: &HostView, now: Timestamp) -> Vec<Row> {
    let fresh = host.stats.as_ref().filter(|stats| stats.is_fresh(now));
    let row = |gpu: &windlass_core::host::Gpu| {
        let used = fresh.and_then(|stats| stats.gpus.iter().find(|used| used.uuid == gpu.uuid));
        let cells = vec![
            text(&host.name),
            text(&gpu.uuid),
            text(&gpu.name),
            percent(used.map(|used| used.utilization)),
            bytes(used.map(|used| used.memory_used)),
            bytes(Some(gpu.memory)),
            used.map_or_else(none, |used| number(used.temperature, format!("{:.0} °C", used.temperature))),
            used.map_or_else(none, |used| number(used.power, format!("{:.0} W", used.power))),
        ];
        let tone = if used.is_some() { Tone::Well } else { Tone::Moving };
        Row { cells, tone, details: table::host(host, now) }
    };
    host.gpus.iter().map(row).collect()
}

fn event(event: &windlass_core::view::EventView) -> Row {
    let bad = ["failed", "lost", "refused", "rolled_back", "crash_loop"];
    let tone = if bad.iter().any(|word| event.kind.contains(word)) { Tone::Bad } else { Tone::Well };
    let cells = vec![text(event.at), text(&event.kind), text(&event.subject), text(&event.message)];
    let message = table::printable(&event.message);
    Row { cells, tone, details: format!("{}  {}  {}\n{message}\n", event.at, event.kind, event.subject) }
}
