//! The finished manifest as YAML, with where each value came from.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::node::{Node, display_path};
use super::problem::Origin;

/// Whether origins are written beside the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origins {
    /// As comments.
    Shown,
    /// Not at all.
    Hidden,
}

/// A value of the finished manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leaf {
    /// The key, like `strategy.rolling.batch`.
    pub path: String,
    /// Its value.
    pub value: Value,
    /// Its origin.
    pub origin: Origin,
}

/// The leaves of `value`, in the order their author gave them, defaults last.
pub(super) fn leaves(value: &Value, tree: &Node) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    walk(value, Some(tree), &mut Vec::new(), &mut |path, value, origin| {
        leaves.push(Leaf { path: display_path(path), value: value.clone(), origin });
    });
    leaves
}

fn walk(
    value: &Value,
    node: Option<&Node>,
    path: &mut Vec<String>,
    each: &mut dyn FnMut(&[String], &Value, Origin),
) {
    let Some(map) = inner(value) else {
        return each(path, value, node.map_or(Origin::Default, |node| node.at.clone()));
    };
    for (key, below) in ordered(map, node) {
        path.push(key.to_owned());
        walk(below, node.and_then(|node| node.get(key)), path, each);
        path.pop();
    }
}

/// The entries of a map that has some; everything else is a leaf.
fn inner(value: &Value) -> Option<&serde_json::Map<String, Value>> {
    value.as_object().filter(|map| !map.is_empty())
}

/// The entries of `map`: first those somebody wrote, in their order.
fn ordered<'v>(map: &'v serde_json::Map<String, Value>, node: Option<&Node>) -> Vec<(&'v str, &'v Value)> {
    let written = node.into_iter().flat_map(Node::entries).filter_map(|entry| map.get_key_value(&entry.key));
    let is_written = |key: &str| node.is_some_and(|node| node.get(key).is_some());
    let rest = map.iter().filter(|(key, _)| !is_written(key));
    written.chain(rest).map(|(key, value)| (key.as_str(), value)).collect()
}

/// The whole as YAML.
pub(super) fn yaml(value: &Value, tree: &Node, origins: Origins) -> String {
    let mut text = String::new();
    block(value, Some(tree), 0, origins, &mut text);
    text
}

fn block(value: &Value, node: Option<&Node>, indent: usize, origins: Origins, text: &mut String) {
    let Value::Object(map) = value else { return };
    for (key, below) in ordered(map, node) {
        let node = node.and_then(|node| node.get(key));
        let _ = write!(text, "{:indent$}{}:", "", scalar(key));
        if inner(below).is_some() {
            text.push('\n');
            block(below, node, indent + 2, origins, text);
            continue;
        }
        let _ = write!(text, " {}", flow(below));
        if origins == Origins::Shown {
            let origin = node.map_or(Origin::Default, |node| node.at.clone());
            let _ = write!(text, "  # {}", comment(&origin));
        }
        text.push('\n');
    }
}

/// A comment ends with its line.
fn comment(origin: &Origin) -> String {
    origin.to_string().chars().map(|c| if is_printable(c) { c } else { '?' }).collect()
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("{}: {}", scalar(key), flow(value));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Plain where no reader of YAML could take it for anything but text, else in double quotes.
pub(super) fn scalar(text: &str) -> String {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '.' | '%');
    // Letters first; words that some YAML version takes for a boolean or null are short.
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(inner);
    let is_special =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    // `25%`, `10s` and `512MiB` begin with a digit and cannot be numbers.
    let is_quantity = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(['%', 's', 'm', 'h', 'd', 'B'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'%')
        && !text.starts_with("0x")
        && !text.starts_with("0b");
    if (is_word && !is_special) || is_quantity { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if is_printable(c) => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Whether YAML lets a character stand in quotes as it is. The rest is escaped, as are line separators and the byte
/// order mark, which readers treat differently.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}
