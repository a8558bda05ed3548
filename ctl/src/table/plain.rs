//! Text that others wrote, on one line and without power over the terminal.

use crate::printer::safe;

/// A container's output must not move the cursor of whoever reads it.
pub(crate) fn printable(line: &str) -> String {
    line.chars().map(|c| if safe::acts(c) || c == '\n' { '\u{fffd}' } else { c }).collect()
}
