//! Tables and sentences for people: views in, text out. Pure: no terminal, no clock.

mod audit;
mod conditions;
mod contexts;
mod explain;
mod failure;
mod gates;
mod hint;
mod hooks;
mod hosts;
mod instances;
mod operators;
mod plain;
mod plans;
mod quarantine;
mod recovery;
mod releases;
mod rollouts;
mod routes;
mod services;
mod sparks;
#[cfg(test)]
pub(crate) mod tests;
mod trust;
mod usage;
mod wait;

use comfy_table::{Cell, Color, Table, presets};
use windlass_core::Timestamp;
use windlass_core::time::display_duration;

use crate::printer::Colour;

pub(crate) use audit::audit;
pub(crate) use conditions::conditions;
pub(crate) use contexts::contexts;
pub(crate) use explain::explain;
pub(crate) use failure::failures;
pub(crate) use gates::{gates, recomputed};
pub(crate) use hooks::{failed as failed_hooks, hooks, words as hook_words};
pub(crate) use hosts::{host, hosts};
pub(crate) use instances::instances;
pub(crate) use operators::operators;
pub(crate) use plain::printable;
pub(crate) use plans::plan;
pub(crate) use quarantine::quarantine;
pub(crate) use recovery::recovery;
pub(crate) use releases::{changes, going_back, release, releases};
pub(crate) use rollouts::{rollout, rollouts};
pub(crate) use routes::{endpoint_state, ingress_state, routes};
pub(crate) use services::{healthy, service, services};
pub(crate) use sparks::history;
pub(crate) use trust::trust;
pub(crate) use usage::{error_share, latency, of_instance, of_probe, per_second};
pub(crate) use wait::Wait;

/// A table without lines, as wide as it needs to be.
fn grid(headers: &[&str], rows: Vec<Vec<Cell>>, colour: Colour) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    match colour {
        Colour::On => table.enforce_styling(),
        Colour::Off => table.force_no_tty(),
    };
    table.set_header(headers.iter().map(Cell::new));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A state, coloured by what it means to a person.
fn state(text: &str) -> Cell {
    let cell = Cell::new(text.replace('_', " "));
    match text {
        "healthy" | "connected" | "succeeded" | "steady" | "active" | "pass" => cell.fg(Color::Green),
        "exited" | "timed_out" | "out_of_memory" | "not_started" | "interrupted" | "failed" | "lost"
        | "refused" | "rolled_back" | "aborted" | "evicted" | "banned" | "cloned" | "revoked"
        | "no instances" | "fail" => cell.fg(Color::Red),
        "recovering" | "pulling" | "starting" | "unready" | "draining" | "stands_in" | "suspect"
        | "unknown" | "pending" | "preparing" | "advancing" | "soaking" | "paused" | "rolling_back"
        | "stopping" | "removing" | "invited" | "expired" | "inconclusive" | "provider_error" => {
            cell.fg(Color::Yellow)
        }
        _ => cell,
    }
}

/// Something that may not be there.
fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// An age, by two units at most, as a point in time.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    age(at, now) + " ago"
}

/// An age, by two units at most.
fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(at).as_secs();
    let rounded = match seconds {
        0..=119 => seconds,
        120..=7199 => seconds / 60 * 60,
        7200..=172_799 => seconds / 3600 * 3600,
        _ => seconds / 86_400 * 86_400,
    };
    display_duration(std::time::Duration::from_secs(rounded))
}

/// Bytes as people read them: `512 MiB`, `1.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// `name  value` lines with aligned values, the further lines of a value too; absent values are left out.
fn fields(rows: &[(&str, Option<String>)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let line = |(name, value): &(&str, Option<String>)| {
        let indent = format!("\n{:width$}", "");
        value.as_ref().map(|value| format!("{name:width$}{}\n", value.replace('\n', &indent)))
    };
    rows.iter().filter_map(line).collect()
}
