//! `context ls`.

use comfy_table::Cell;
use windlass_core::Timestamp;

use super::{grid, or_dash};
use crate::commands::ContextView;
use crate::printer::Colour;

/// All contexts.
pub(crate) fn contexts(contexts: &[ContextView], now: Timestamp, colour: Colour) -> String {
    let row = |context: &ContextView| {
        let certificate = context.operator_expires_at.map(|at| match at > now {
            true => format!("until {}", at.to_the_second()),
            false => format!("expired {}", at.to_the_second()),
        });
        vec![
            Cell::new(if context.current { "*" } else { "" }),
            Cell::new(&context.name),
            Cell::new(&context.fleet),
            Cell::new(&context.server),
            Cell::new(or_dash(context.environment.as_ref())),
            Cell::new(or_dash(context.operator.as_ref())),
            Cell::new(or_dash(certificate)),
        ]
    };
    let headers = ["", "CONTEXT", "FLEET", "SERVER", "ENVIRONMENT", "OPERATOR", "CERTIFICATE"];
    grid(&headers, contexts.iter().map(row).collect(), colour)
}
