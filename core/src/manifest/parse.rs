//! YAML text into trees with positions. Duplicate keys, alias bombs and oversized input are refused here.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::node::{Entry, Kind, Node};
use super::problem::{Origin, Problem};

/// A manifest file is at most so many bytes.
pub const MAX_INPUT: usize = 256 * 1024;

/// Nesting that no manifest needs; deeper input is an attack or an accident.
const MAX_DEPTH: usize = 32;

/// The documents of a file, empty ones left out.
pub(super) fn documents(file: &str, text: &str) -> Result<Vec<Node>, Problem> {
    let file: Arc<str> = file.into();
    let at = |line, column| Origin::File { file: Arc::clone(&file), line, column };
    let problem = |at, reason, hint| Problem { at, path: String::new(), reason, hint };
    if text.len() > MAX_INPUT {
        let reason = format!("the file has {} bytes, more than the {MAX_INPUT} allowed", text.len());
        return Err(problem(
            at(1, 1),
            reason,
            Some("put large files elsewhere and name them with `from`".into()),
        ));
    }
    let parsed: Vec<Spanned<Raw>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
            let location = error.location();
            let (line, column) = location.map_or((1, 1), |l| (l.line().max(1), l.column().max(1)));
            let (reason, hint) = explain(&error);
            problem(at(line, column), reason, hint)
        })?;
    let origin = |location: &Location| at(location.line().max(1), location.column().max(1));
    let nodes = parsed.into_iter().map(|document| node(document, text, &origin));
    Ok(nodes.filter(|node| node.kind != Kind::Null).collect())
}

/// One value without a file, as `--set` has it.
pub(super) fn value(text: &str, origin: &Origin) -> Option<Node> {
    let parsed: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options()).ok()?;
    Some(node(parsed, text, &|_| origin.clone()))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_INPUT),
            max_depth: MAX_DEPTH,
            max_documents: 64,
            max_nodes: 20_000,
            max_aliases: 200,
            max_anchors: 200,
            max_total_scalar_bytes: 2 * MAX_INPUT,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// What the YAML library has to say, in our words where its own speak to programmers, and without
/// the position, which we print ourselves.
fn explain(error: &serde_saphyr::Error) -> (String, Option<String>) {
    let error = error.without_snippet();
    if let serde_saphyr::Error::DuplicateMappingKey { key, .. } = error {
        let key: String = key.iter().flat_map(|key| key.chars()).take(80).collect();
        return (
            format!("the key `{key}` stands here a second time"),
            Some("keep one of the two".to_owned()),
        );
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let end = first.rfind(" at line ").unwrap_or(first.len());
    let message: String = first[..end].chars().take(200).collect();
    if let Some((_, breach)) = message.split_once("budget breached: ") {
        return (too_much(breach), Some("write several files, with one service each".to_owned()));
    }
    let hint = message.contains("tab").then(|| "indent with spaces".to_owned());
    (format!("not valid YAML: {message}"), hint)
}

/// The bound that was breached, in words, from its name in the library.
fn too_much(breach: &str) -> String {
    let bounds = [
        ("Nodes", "has more than 20,000 values"),
        ("Depth", "is nested more than 32 levels deep"),
        ("Documents", "has more than 64 documents"),
        ("Aliases", "has more than 200 aliases"),
        ("Anchors", "has more than 200 anchors"),
    ];
    let is_it = |(name, _): &&(&str, &str)| breach.starts_with(name);
    let bound = bounds.iter().find(is_it).map_or("is too large", |(_, words)| words);
    format!("the file {bound}")
}

fn node(raw: Spanned<Raw>, text: &str, origin: &dyn Fn(&Location) -> Origin) -> Node {
    let spelled = || {
        let start = usize::try_from(raw.defined.span().byte_offset()?).ok()?;
        let length = usize::try_from(raw.defined.span().byte_len()?).ok()?;
        text.get(start..start.checked_add(length)?).map(|slice| slice.trim().to_owned())
    };
    let at = origin(&raw.referenced);
    let kind = match raw.value {
        Raw::Null => Kind::Null,
        Raw::Bool(value) => Kind::Bool { value, raw: spelled().unwrap_or_else(|| value.to_string()) },
        Raw::Number(value) => Kind::Number { raw: spelled().unwrap_or_else(|| value.to_string()), value },
        Raw::Text(text) => Kind::Text(text),
        Raw::List(items) => Kind::List(items.into_iter().map(|item| node(item, text, origin)).collect()),
        Raw::Map(entries) => Kind::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    at: origin(&key.referenced),
                    key: key.value,
                    value: node(value, text, origin),
                })
                .collect(),
        ),
    };
    Node { at, kind }
}

/// What the YAML library hands over.
enum Raw {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
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
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(serde_json::Number::from_f64(value).map_or_else(|| Raw::Text(value.to_string()), Raw::Number))
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
