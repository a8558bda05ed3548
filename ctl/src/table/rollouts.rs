//! `rollout ls`, `rollout show`.

use std::time::Duration;

use comfy_table::Cell;
use windlass_core::Timestamp;
use windlass_core::rollout::{Kind, State};
use windlass_core::time::display_duration;
use windlass_core::view::{RolloutView, SlotView, TrafficView};

use super::services::{alone, serving};
use super::{Wait, ago, bytes, failures, fields, grid, printable, state};
use crate::printer::Colour;

/// Rollouts, one per line.
pub(crate) fn rollouts(rollouts: &[RolloutView], now: Timestamp, colour: Colour) -> String {
    if rollouts.is_empty() {
        return "no rollouts\n".to_owned();
    }
    let row = |rollout: &RolloutView| {
        vec![
            Cell::new(&rollout.rollout),
            Cell::new(format!("{}/{}", rollout.environment, rollout.service)),
            Cell::new(kind(rollout.kind)),
            Cell::new(rollout.course()),
            state(rollout.state.as_str()),
            // Instances of one that has ended are those of whatever came after it.
            Cell::new(
                available(rollout).filter(|_| !rollout.state.is_final()).unwrap_or_else(|| "-".to_owned()),
            ),
            Cell::new(ago(rollout.created_at, now)),
            Cell::new(&rollout.actor),
        ]
    };
    let headers = ["ROLLOUT", "SERVICE", "KIND", "RELEASE", "STATE", "AVAILABLE", "STARTED", "BY"];
    grid(&headers, rollouts.iter().map(row).collect(), colour)
}

/// The number of its slots that are available now. Empty before the rollout has a slot, and after its end once another rollout has
/// begun.
fn available(rollout: &RolloutView) -> Option<String> {
    (rollout.total > 0).then(|| format!("{}/{}", rollout.available, rollout.total))
}

/// The same with the release that is counted: `r3 in 1 of 2 slots`.
fn available_of(rollout: &RolloutView) -> Option<String> {
    let of = rollout.counted();
    (rollout.total > 0).then(|| format!("{of} in {} of {} slots", rollout.available, rollout.total))
}

/// The step of a strategy that moves instances instead of traffic: `2 of 6`.
fn step(rollout: &RolloutView) -> Option<String> {
    let alone = rollout.traffic.is_none() && rollout.step > 0 && rollout.steps > 0;
    alone.then(|| format!("{} of {}", rollout.step, rollout.steps))
}

/// The shares of two releases: `r2 10%, r1 90% (step 1 of 3, for 2m)`.
fn shares(traffic: &TrafficView, now: Timestamp) -> String {
    let (release, weight, other) = (traffic.release, traffic.weight, traffic.other);
    let since = traffic.since.map(|at| format!(", for {}", display_duration(whole_seconds(now, at))));
    let since = since.unwrap_or_else(|| ", not in force everywhere yet".to_owned());
    let step = match (traffic.step, traffic.steps) {
        (0, _) | (_, 0) => String::new(),
        (step, of) => format!(" (step {step} of {of}{since})"),
    };
    let alone = alone(traffic.alone, (release, other));
    format!("{release} {weight}, {other} {}{step}{alone}", weight.rest())
}

fn whole_seconds(now: Timestamp, at: Timestamp) -> Duration {
    Duration::from_secs(now.since(at).as_secs())
}

/// One rollout, with the evidence of what failed.
pub(crate) fn rollout(rollout: &RolloutView, now: Timestamp, colour: Colour) -> String {
    let list = |items: Vec<String>| Some(items.join(", ")).filter(|text| !text.is_empty());
    let waits = rollout.waiting.iter().map(|text| Wait::read(text, rollout).text(Duration::ZERO)).collect();
    let duration = Duration::from_secs(rollout.duration_ms / 1000);
    let mut text = fields(&[
        ("rollout", Some(rollout.rollout.to_string())),
        ("service", Some(format!("{}/{}", rollout.environment, rollout.service))),
        ("kind", Some(kind(rollout.kind).to_owned())),
        ("release", Some(rollout.course())),
        ("state", Some(rollout.state.as_str().replace('_', " "))),
        ("reason", rollout.reason.clone()),
        ("waiting", list(waits)),
        ("available", available_of(rollout)),
        ("serving", Some(serving(&rollout.serving))),
        ("step", step(rollout)),
        ("traffic", rollout.traffic.as_ref().map(|traffic| shares(traffic, now))),
        ("started", Some(format!("{} by {}", ago(rollout.created_at, now), rollout.actor))),
        ("duration", Some(display_duration(duration))),
        ("stragglers", list(rollout.stragglers.iter().map(ToString::to_string).collect())),
    ]);
    if !rollout.slots.is_empty() {
        let row = |slot: &SlotView| {
            let progress = match (&slot.refused, slot.pull) {
                (Some(refusal), _) => format!("refused: {refusal}"),
                (None, _) if slot.not_ready.is_some() => {
                    slot.not_ready.as_ref().map(|why| printable(&why.to_string())).unwrap_or_default()
                }
                (None, Some(pull)) if pull.total == 0 => "pulling".to_owned(),
                (None, Some(pull)) => format!("{} of {}", bytes(pull.done), bytes(pull.total)),
                (None, None) => "-".to_owned(),
            };
            vec![
                Cell::new(slot.slot.index),
                Cell::new(&slot.host),
                state(slot.host_state.as_str()),
                Cell::new(slot.release),
                slot.state.map_or_else(|| Cell::new("-"), |s| state(s.as_str())),
                Cell::new(if slot.available { "yes" } else { "no" }),
                Cell::new(progress),
            ]
        };
        let headers = ["SLOT", "HOST", "HOST STATE", "RELEASE", "STATE", "AVAILABLE", "NOTE"];
        text.push('\n');
        text.push_str(&grid(&headers, rollout.slots.iter().map(row).collect(), colour));
    }
    if rollout.state == State::Paused {
        let id = &rollout.rollout;
        text.push_str(&format!(
            "\nit is paused: go on with `windlass rollout resume {id}`, or back with `windlass rollout abort {id}`\n"
        ));
    }
    text.push_str(&super::gates(&rollout.gates, now, colour));
    text.push_str(&super::hooks(rollout, now, colour));
    let hooks = super::failed_hooks(rollout, colour);
    if !hooks.is_empty() {
        text.push_str(&format!("\n{hooks}"));
    }
    text.push_str(&super::conditions(&rollout.conditions, now));
    if !rollout.failures.is_empty() {
        text.push('\n');
        text.push_str(&failures(rollout, colour));
    }
    text
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Deploy => "deploy",
        Kind::Rollback => "rollback",
        Kind::Restart => "restart",
    }
}
