//! A row of `top`, and the words that all boards share. Pure.

use crate::table;

/// A row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    pub(super) tone: Tone,
    /// The text of its details.
    pub(super) details: String,
}

/// The meaning of a row. Never by colour alone: its state is written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Well,
    Moving,
    Bad,
}

pub(super) fn text(text: impl ToString) -> String {
    // Text of others may have control characters, which move the cursor.
    table::printable(&text.to_string())
}

pub(super) fn none() -> String {
    "-".to_owned()
}

/// A line for each that there is something of.
pub(super) fn details(lines: &[(&str, Option<String>)]) -> String {
    let there = lines.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    there.map(|(name, value)| format!("{name:12}{}\n", table::printable(value))).collect()
}
