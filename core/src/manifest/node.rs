//! A YAML document as a tree in which every value knows where it came from, so that layers can be
//! merged and an error still names its file, line and column.

use std::fmt::Write as _;

use super::problem::Origin;

/// A value and its origin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: Origin,
    pub(super) kind: Kind,
}

/// The content of a node. Plain scalars keep their spelling: `1.10` as an environment variable is not
/// `1.1`, and `0644` as a mode is not 644.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool { value: bool, raw: String },
    Number { value: serde_json::Number, raw: String },
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its own position, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Origin,
    pub(super) value: Node,
}

impl Kind {
    /// The kind of the node, in words.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool { .. } => "true or false",
            Self::Number { .. } => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    /// The value under `key`, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries, if this is a map; else none.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Null | Kind::Bool { .. } | Kind::Number { .. } | Kind::Text(_) | Kind::List(_) => &[],
        }
    }

    /// A scalar as it was spelled.
    pub(super) fn raw(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(raw) | Kind::Bool { raw, .. } | Kind::Number { raw, .. } => Some(raw),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// Returns whether the value is `false`, or empty. A key that is not built yet may say so.
    pub(super) fn asks_for_nothing(&self) -> bool {
        match &self.kind {
            Kind::Null => true,
            Kind::Bool { value, .. } => !value,
            Kind::List(items) => items.is_empty(),
            // `hooks: { before: [], after: [] }` asks for nothing either.
            Kind::Map(entries) => entries.iter().all(|entry| entry.value.asks_for_nothing()),
            Kind::Number { .. } | Kind::Text(_) => false,
        }
    }

    /// The origin of the value at `path`, or of the nearest value above it.
    pub(super) fn origin(&self, path: &[&str]) -> &Origin {
        match path.split_first().and_then(|(key, rest)| Some((self.step(key)?, rest))) {
            Some((child, rest)) => child.origin(rest),
            None => &self.at,
        }
    }

    fn step(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::List(items) => items.get(key.parse::<usize>().ok()?),
            Kind::Null | Kind::Bool { .. } | Kind::Number { .. } | Kind::Text(_) | Kind::Map(_) => {
                self.get(key)
            }
        }
    }
}

/// Writes a path the way `--set` takes it: `files."/app/x.json".from`.
pub fn display_path(path: &[impl AsRef<str>]) -> String {
    let mut text = String::new();
    for key in path.iter().map(AsRef::as_ref) {
        if !text.is_empty() {
            text.push('.');
        }
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/');
        if !key.is_empty() && key.chars().all(plain) {
            text.push_str(key);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "{key:?}");
        }
    }
    text
}
