//! YAML text into trees with positions. Duplicate keys, alias bombs and oversized input are refused here.

use std::sync::Arc;

use serde_saphyr::{Location, Spanned};

use super::node::{Entry, Kind, Node};
use super::problem::{Origin, Problem};
use super::yaml::{Bounds, Raw};

/// A manifest file is at most so many bytes.
pub const MAX_INPUT: usize = 256 * 1024;

/// The hint for lines that do not stand below each other.
const INDENTATION: &str = "look at the indentation: keys of one map begin in the same column, and what belongs to a key stands \
     two spaces further in; text with `: ` in it needs quotes";

/// Nesting that no manifest needs: deeper input is an attack or an accident.
const BOUNDS: Bounds =
    Bounds { input: MAX_INPUT, depth: 32, documents: 64, nodes: 20_000, aliases: 200, anchors: 200 };

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
        budget: Some(BOUNDS.budget()),
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// Explains an error of the YAML library, in our words where its own speak to programmers, and without
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
    if let Some(bound) = BOUNDS.passed(error) {
        return (format!("the file {bound}"), Some("write several files, with one service each".to_owned()));
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let end = first.rfind(" at line ").unwrap_or(first.len());
    let message: String = first[..end].chars().take(200).collect();
    let is_indented = ["indent", "are not allowed in this context", "expected key", "expected '-'"];
    let hint = if message.contains("tab") {
        Some("indent with spaces".to_owned())
    } else {
        is_indented.iter().any(|words| message.contains(words)).then(|| INDENTATION.to_owned())
    };
    (format!("not valid YAML: {message}"), hint)
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
