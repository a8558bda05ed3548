//! The text: YAML with anchors and merge keys, and `${NAME:-value}` replaced as compose does.

use serde_json::{Map, Value};

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

/// Stands for `$$` until values are written.
pub(super) const DOLLAR: char = '\u{1}';

/// The file as a tree.
pub(super) fn file(text: &str) -> Result<Map<String, Value>, ComposeError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_INPUT),
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_nodes: 50_000,
            max_aliases: 1000,
            max_anchors: 200,
            max_total_scalar_bytes: 2 * MAX_INPUT,
        },
        with_snippet: false,
    };
    if text.len() > MAX_INPUT {
        return Err(ComposeError::Yaml(format!("it has more than {MAX_INPUT} bytes")));
    }
    let parsed: Result<Value, _> = serde_saphyr::from_str_with_options(text, options);
    let mut value = parsed.map_err(|error| ComposeError::Yaml(error.to_string()))?;
    replace(&mut value);
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(ComposeError::NoServices),
    }
}

fn replace(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = interpolate(text),
        Value::Array(items) => items.iter_mut().for_each(replace),
        Value::Object(map) => map.values_mut().for_each(replace),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Replaces variables that have a default; others are left as `${NAME}`, and `$$` becomes [`DOLLAR`].
fn interpolate(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push(DOLLAR);
            rest = after;
            continue;
        }
        let (body, after) = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((body, after)) => (body, after),
            None => rest.split_at(name_length(rest)),
        };
        let length = name_length(body);
        if length == 0 {
            out.push(DOLLAR);
            continue;
        }
        let (name, default) = body.split_at(length);
        match default.strip_prefix(":-").or_else(|| default.strip_prefix('-')) {
            Some(default) => out.push_str(default),
            None => out.push_str(&format!("${{{name}}}")),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn name_length(text: &str) -> usize {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let length = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    if starts_well { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_by_their_defaults() {
        #[rustfmt::skip]
        let table = [
            ("${A:-x}", "x"), ("${A-x}/y", "x/y"), ("${A}", "${A}"), ("$A-b", "${A}-b"), ("${A:?no}", "${A}"),
            ("a$$b", "a\u{1}b"), ("5$", "5\u{1}"), ("$1", "\u{1}1"), ("${A:-}${B:-2}", "2"), ("${", "\u{1}{"),
        ];
        for (text, want) in table {
            assert_eq!(interpolate(text), want, "{text}");
        }
    }
}
