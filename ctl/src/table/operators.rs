//! `operator ls`.

use comfy_table::Cell;
use windlass_core::Timestamp;
use windlass_core::view::OperatorView;

use super::{ago, grid, or_dash, state};
use crate::printer::Colour;

/// All operators, and who was invited.
pub(crate) fn operators(operators: &[OperatorView], now: Timestamp, colour: Colour) -> String {
    if operators.is_empty() {
        return "nobody is known yet\n".to_owned();
    }
    let row = |operator: &OperatorView| {
        let until = operator.certificate_expires_at.map_or_else(
            || "-".to_owned(),
            |at| if at <= now { format!("{} ", ago(at, now)) + "over" } else { at.to_string() },
        );
        let note = match (&operator.revoked_by, &operator.invited_as, operator.invited_until) {
            (Some(by), None, _) => format!("revoked by {by}"),
            (_, Some(grant), Some(until)) => format!("a token as {grant} until {until}"),
            _ => "-".to_owned(),
        };
        vec![
            Cell::new(&operator.name),
            state(&operator.state),
            Cell::new(or_dash(operator.grant.as_ref())),
            // `init` made whoever has a grant and came with nobody's token.
            Cell::new(operator.added_by.as_deref().unwrap_or(if operator.grant.is_some() {
                "init"
            } else {
                "-"
            })),
            Cell::new(until),
            Cell::new(note),
        ]
    };
    let headers = ["OPERATOR", "STATE", "MAY", "ADDED BY", "CERTIFICATE UNTIL", "NOTE"];
    grid(&headers, operators.iter().map(row).collect(), colour)
}
