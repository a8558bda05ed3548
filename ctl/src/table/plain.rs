//! Text that others wrote, on one line and without power over the terminal.

/// A container's output must not move the cursor of whoever reads it.
pub(crate) fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
