//! The text: YAML with anchors and merge keys, and `${NAME:-value}` replaced as compose does.

use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use windlass_core::manifest::yaml::{Bounds, Raw};

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

/// Compose files hold many services, and more anchors than manifests.
const BOUNDS: Bounds =
    Bounds { input: 1 << 20, depth: 32, documents: 1, nodes: 50_000, aliases: 1000, anchors: 200 };

/// The file as a tree, and notes about scalars that mean something else than they show.
pub(super) fn file(text: &str) -> Result<(Map<String, Value>, Vec<Note>), ComposeError> {
    let options = serde_saphyr::options! {
        budget: Some(BOUNDS.budget()),
        with_snippet: false,
    };
    if text.len() > BOUNDS.input {
        return Err(ComposeError::Yaml(format!("it has more than {} bytes", BOUNDS.input)));
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
    BOUNDS.passed(error).map_or_else(|| error.to_string(), |bound| format!("it {bound}"))
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
                        let value = self.value(value, &below(&key.value));
                        (key.value, value)
                    })
                    .collect(),
            ),
            Raw::Null => self.scalar(&raw.defined, Value::Null, path),
            Raw::Bool(value) => self.scalar(&raw.defined, value.into(), path),
            Raw::Number(value) => self.scalar(&raw.defined, value.into(), path),
            Raw::Text(text) => match self.spelled(&raw.defined).filter(|spelled| *spelled == text) {
                Some(spelled) => self.plain(spelled, path),
                None if text.contains('$') => Value::String(interpolate(&text)),
                None => Value::String(text),
            },
        }
    }

    /// A scalar as it is spelled; as the YAML library reads it where that is not known.
    fn scalar(&mut self, at: &serde_saphyr::Location, read: Value, path: &str) -> Value {
        self.spelled(at).map_or(read, |spelled| self.plain(spelled, path))
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
