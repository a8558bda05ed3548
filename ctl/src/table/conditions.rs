//! Conditions, a line each.

use windlass_core::Timestamp;
use windlass_core::view::ConditionView;

use super::{age, printable};

/// Lines that are shown; `-o json` has all.
const LINES: usize = 32;

/// `slot 0 on web-1: crash loop: 4 restarts; last exit 101 (for 2m)`.
pub(crate) fn conditions(conditions: &[ConditionView], now: Timestamp) -> String {
    if conditions.is_empty() {
        return String::new();
    }
    let line = |condition: &ConditionView| {
        let since = condition.since.map(|at| format!(" (for {})", age(at, now))).unwrap_or_default();
        format!("{}{since}\n", printable(&condition.line()))
    };
    let mut text: String = conditions.iter().take(LINES).map(line).collect();
    if conditions.len() > LINES {
        text.push_str(&format!("and {} more\n", conditions.len() - LINES));
    }
    format!("\n{text}")
}
