//! `plan`.

use comfy_table::Cell;
use windlass_core::plan::Order;
use windlass_core::view::{Action, PlannedSlot, PreviewView};

use super::{changes, grid, or_dash, printable};
use crate::printer::Colour;

/// The effect that a release would have.
pub(crate) fn plan(plan: &PreviewView, colour: Colour) -> String {
    if plan.unchanged {
        let (environment, service, at) = (&plan.environment, &plan.service, or_dash(plan.current));
        return format!("{environment}/{service}: nothing to change, it is at {at}\n");
    }
    let mut text =
        format!("{}/{}: {} → {}\n", plan.environment, plan.service, or_dash(plan.current), plan.release);
    if plan.current.is_some() {
        text.push('\n');
        text.push_str(&changes(&plan.changes, colour));
    }
    if !plan.slots.is_empty() {
        let has_gpus = plan.slots.iter().any(|slot| !slot.gpus.is_empty());
        let row = |slot: &PlannedSlot| {
            let order = match slot.order {
                Some(Order::StartFirst) => "start first".to_owned(),
                Some(Order::StopFirst) => match &slot.reason {
                    Some(reason) => format!("stop first: {reason}"),
                    None => "stop first".to_owned(),
                },
                None => slot.reason.clone().unwrap_or_else(|| "-".to_owned()),
            };
            let mut row = vec![
                Cell::new(slot.slot.index),
                Cell::new(&slot.host),
                Cell::new(action(slot.action)),
                Cell::new(order),
            ];
            if has_gpus {
                row.push(Cell::new(if slot.gpus.is_empty() { "-".to_owned() } else { slot.gpus.join(" ") }));
            }
            row
        };
        text.push('\n');
        let headers = ["SLOT", "HOST", "ACTION", "ORDER", "GPUS"];
        let headers = if has_gpus { &headers[..] } else { &headers[..4] };
        text.push_str(&grid(headers, plan.slots.iter().map(row).collect(), colour));
    }
    if !plan.steps.is_empty() {
        text.push_str("\nwhat happens:\n");
        for (n, step) in plan.steps.iter().enumerate() {
            text.push_str(&format!("  {}. {step}\n", n + 1));
        }
    }
    if !plan.refused.is_empty() {
        text.push_str("\nhosts that get no instance:\n");
        for refused in &plan.refused {
            text.push_str(&format!("  {}: {}\n", refused.host, refused.reason));
        }
    }
    for warning in &plan.warnings {
        text.push_str(&format!("\n{} {warning}\n", colour.paint(33, "warning:")));
    }
    for of in &plan.problems {
        for problem in &of.problems {
            let warning = colour.paint(33, "warning:");
            text.push_str(&format!("\n{warning} host {}: {}\n", of.host, printable(&problem.text)));
        }
    }
    if let Some(error) = &plan.error {
        text.push_str(&format!("\n{} {error}\n", colour.paint(31, "cannot be done:")));
    }
    text
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Replace => "replace",
        Action::Remove => "remove",
        Action::Keep => "keep",
    }
}
