//! `audit ls`.

use comfy_table::Cell;

use super::{grid, printable};
use crate::commands::AuditEntryView;
use crate::printer::Colour;

/// Entries of the audit log.
pub(crate) fn audit(entries: &[AuditEntryView], colour: Colour) -> String {
    if entries.is_empty() {
        return "no entries\n".to_owned();
    }
    let row = |entry: &AuditEntryView| {
        vec![
            Cell::new(entry.n),
            Cell::new(entry.at),
            Cell::new(printable(&entry.actor)),
            Cell::new(printable(&entry.verb)),
            Cell::new(printable(&entry.subject)),
            Cell::new(printable(&entry.outcome)),
        ]
    };
    let headers = ["ENTRY", "TIME", "ACTOR", "VERB", "SUBJECT", "OUTCOME"];
    grid(&headers, entries.iter().map(row).collect(), colour)
}
