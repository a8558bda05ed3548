//! Gates of a rollout, with the newest verdict of each; and verdicts that were computed again.

use comfy_table::Cell;
use windlass_core::Timestamp;
use windlass_core::gate::Verdict;
use windlass_core::view::{GateView, RecomputedView};

use super::{ago, grid, printable, state};
use crate::printer::Colour;

/// The gates of the step that a rollout is at; nothing if there are none.
pub(crate) fn gates(gates: &[GateView], now: Timestamp, colour: Colour) -> String {
    if gates.is_empty() {
        return String::new();
    }
    let row = |gate: &GateView| {
        let name = if gate.dry_run { format!("{} (dry run)", gate.gate) } else { gate.gate.clone() };
        let (verdict, when, why) = gate.newest.as_ref().map_or_else(
            || (Cell::new("-"), "-".to_owned(), "no window has ended yet".to_owned()),
            |newest| (cell(newest.verdict), ago(newest.until, now), printable(&newest.why)),
        );
        let why = if gate.pages { format!("no answer for 10 min: {why}") } else { why };
        vec![
            Cell::new(name),
            Cell::new(gate.step),
            Cell::new(format!("{}/{}", gate.passed, gate.desired)),
            verdict,
            Cell::new(when),
            Cell::new(why),
        ]
    };
    let headers = ["GATE", "STEP", "PASSED", "NEWEST", "ENDED", "WHY"];
    format!("\n{}", grid(&headers, gates.iter().map(row).collect(), colour))
}

/// Every stored verdict, and what it is when it is computed again.
pub(crate) fn recomputed(view: &RecomputedView, colour: Colour) -> String {
    if view.verdicts.is_empty() {
        return "no verdict of a gate is stored for this rollout\n".to_owned();
    }
    let rows = view.verdicts.iter().map(|verdict| {
        let note = if verdict.stored == verdict.computed { "" } else { "DIFFERS: " };
        vec![
            Cell::new(verdict.n),
            Cell::new(&verdict.gate),
            Cell::new(verdict.step),
            Cell::new(verdict.until),
            cell(verdict.stored),
            cell(verdict.computed),
            Cell::new(format!("{note}{}", printable(&verdict.why))),
        ]
    });
    let headers = ["DECISION", "GATE", "STEP", "WINDOW UNTIL", "STORED", "COMPUTED", "WHY"];
    let mut text = grid(&headers, rows.collect(), colour);
    let count = view.verdicts.len();
    text.push_str(&match view.differing {
        0 => format!("\nall {count} stored verdicts are the same when they are computed again\n"),
        differing => format!("\n{differing} of {count} stored verdicts differ from what their record says\n"),
    });
    if view.omitted > 0 {
        text.push_str(&format!("{} decisions were too many to be written\n", view.omitted));
    }
    text
}

fn cell(verdict: Verdict) -> Cell {
    state(verdict.as_str())
}
