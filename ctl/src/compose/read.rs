//! The text: YAML with anchors and merge keys, and `${NAME:-value}` replaced as compose does.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use serde_saphyr::budget::BudgetBreach;

use super::interpolate::interpolate;
use super::note::Note;
use super::scalar::{is_sexagesimal, plain};
use super::values::text;

/// The reason why a compose file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComposeError {
    #[error("not valid YAML: {0}")]
    Yaml(String),
    #[error("there are no `services` in it")]
    NoServices,
}

/// A compose file is at most so many bytes.
const MAX_INPUT: usize = 1 << 20;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 50_000;

/// The file as a tree, and notes about scalars that mean something else than they show.
pub(super) fn file(text: &str) -> Result<(Map<String, Value>, Vec<Note>), ComposeError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_INPUT),
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_nodes: MAX_NODES,
            max_aliases: 1000,
            max_anchors: 200,
            max_total_scalar_bytes: 2 * MAX_INPUT,
        },
        with_snippet: false,
    };
    if text.len() > MAX_INPUT {
        return Err(ComposeError::Yaml(format!("it has more than {MAX_INPUT} bytes")));
    }
    let parsed: Result<Spanned<Raw>, _> = serde_saphyr::from_str_with_options(text, options);
    let raw = parsed.map_err(|error| ComposeError::Yaml(explain(&error)))?;
    let mut tree = Tree { text, notes: Vec::new() };
    match tree.value(raw, "") {
        Value::Object(map) => Ok((map, tree.notes)),
        _ => Err(ComposeError::NoServices),
    }
}

/// The reason of the YAML library, in plain words where a limit is passed.
fn explain(error: &serde_saphyr::Error) -> String {
    let error = error.without_snippet();
    let serde_saphyr::Error::Budget { breach, .. } = error else { return error.to_string() };
    match breach {
        BudgetBreach::Depth { .. } => format!("it is nested more than {MAX_DEPTH} levels deep"),
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            format!("it has more than {MAX_NODES} values")
        }
        BudgetBreach::Documents { .. } => "it has more than one document".to_owned(),
        _ => "it is larger than a compose file may be, with its anchors written out".to_owned(),
    }
}

/// The tree in the making.
struct Tree<'t> {
    text: &'t str,
    notes: Vec<Note>,
}

impl<'t> Tree<'t> {
    fn value(&mut self, raw: Spanned<Raw>, path: &str) -> Value {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match raw.value {
            Raw::List(items) => Value::Array(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(n, item)| self.value(item, &below(&n.to_string())))
                    .collect(),
            ),
            Raw::Map(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let value = self.value(value, &below(&key));
                        (key, value)
                    })
                    .collect(),
            ),
            Raw::Scalar(scalar) => match self.spelled(&raw.defined) {
                Some(spelled) => self.plain(spelled, path),
                None => scalar,
            },
            Raw::Text(text) => match self.spelled(&raw.defined).filter(|spelled| *spelled == text) {
                Some(spelled) => self.plain(spelled, path),
                None if text.contains('$') => Value::String(interpolate(&text)),
                None => Value::String(text),
            },
        }
    }

    /// The spelling of a plain scalar; `None` for one in quotes, in a block, or with the tag of a text.
    fn spelled(&self, at: &serde_saphyr::Location) -> Option<&'t str> {
        let start = usize::try_from(at.span().byte_offset()?).ok()?;
        let length = usize::try_from(at.span().byte_len()?).ok()?;
        let spelled = self.text.get(start..start.checked_add(length)?)?.trim();
        let before = self.text.get(..start)?;
        let is_quoted = before.ends_with(['"', '\'']) || spelled.starts_with(['"', '\'', '|', '>']);
        let is_tagged = before.trim_end().ends_with("!!str") || spelled.starts_with('!');
        (!is_quoted && !is_tagged && !is_block(before)).then_some(spelled)
    }

    /// The value of a plain scalar, with a note where compose reads a number that is spelled otherwise.
    fn plain(&mut self, spelled: &str, path: &str) -> Value {
        if spelled.contains('$') {
            return Value::String(interpolate(spelled));
        }
        // Two ports are meant, whatever the number is.
        if path.contains(".ports.") && is_sexagesimal(spelled) {
            return Value::String(spelled.to_owned());
        }
        let value = plain(spelled);
        if let Some(meant) = text(&value).filter(|meant| *meant != spelled) {
            self.notes.push(Note {
                key: path.to_owned(),
                reason: format!(
                    "`{spelled}` without quotes is the number {meant} to compose, and is written so"
                ),
                hint: format!("`\"{spelled}\"` is the text"),
            });
        }
        value
    }
}

/// Returns whether the text before a scalar ends with the head of a block: `|`, `>-`, `|2`.
fn is_block(before: &str) -> bool {
    let Some(line) = before.trim_end_matches([' ', '\t']).strip_suffix('\n') else { return false };
    let line = line.trim_end().rsplit('\n').next().unwrap_or_default();
    let line = line.split_once(" #").map_or(line, |(line, _)| line);
    line.split_whitespace().next_back().is_some_and(|word| {
        word.strip_prefix(['|', '>'])
            .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || "+-".contains(c)))
    })
}

/// A node as the YAML library hands it over.
enum Raw {
    /// Nothing, a truth value or a number.
    Scalar(Value),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(String, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string().into()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string().into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
