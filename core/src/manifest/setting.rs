//! A value set beside the files: `--set strategy.rolling.batch=3`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::id::ServiceName;

use super::node::{Entry, Kind, Node};
use super::parse;
use super::problem::Origin;

/// `[service:]key.path=value`. A key with a dot stands in double quotes (`files."/app/x.json".mode=0600`). The value is
/// a scalar, or a list or map in YAML's flow form; `null` takes the key away.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The service it is for; needed where there are several.
    pub(super) service: Option<ServiceName>,
    path: Vec<String>,
    value: Node,
    text: Arc<str>,
}

/// Text that is not a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a setting: {reason}")]
pub struct InvalidSetting {
    text: String,
    reason: &'static str,
}

/// Deeper than any key of a manifest.
const MAX_KEYS: usize = 16;

impl Setting {
    /// The setting as a tree, to be laid over a document.
    pub(super) fn layer(&self) -> Node {
        let at = self.origin();
        let wrap = |value: Node, key: &String| Node {
            at: at.clone(),
            kind: Kind::Map(vec![Entry { key: key.clone(), at: at.clone(), value }]),
        };
        self.path.iter().rev().fold(self.value.clone(), wrap)
    }

    pub(super) fn origin(&self) -> Origin {
        origin(&self.text)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Setting {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let invalid = |reason| InvalidSetting { text: text.chars().take(80).collect(), reason };
        let (service, keys) = match text.split_once(':') {
            Some((name, rest)) if !name.contains(['=', '"', '.']) => {
                let service = name.parse().map_err(|_| invalid("before `:` stands the name of a service"))?;
                (Some(service), rest)
            }
            Some(_) | None => (None, text),
        };
        let (path, value) = split(keys).map_err(invalid)?;
        if path.is_empty() || path.len() > MAX_KEYS || path.iter().any(String::is_empty) {
            return Err(invalid(
                "expected `key=value`, like `image=registry.example.com/web:2` or `env.MODE=fast`",
            ));
        }
        let shown: Arc<str> = text.chars().take(200).collect::<String>().into();
        Ok(Self { service, path, value: scalar(value, &origin(&shown)), text: shown })
    }
}

fn origin(text: &str) -> Origin {
    Origin::Given(format!("--set {text}").into())
}

/// Splits `a."b.c"=value` into its keys and the value.
fn split(text: &str) -> Result<(Vec<String>, &str), &'static str> {
    let (mut path, mut key, mut quoted) = (Vec::new(), String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => path.push(std::mem::take(&mut key)),
            '=' if !quoted => {
                path.push(key);
                return Ok((path, &text[at + 1..]));
            }
            c => key.push(c),
        }
    }
    Err(if quoted { "a quotation mark is missing" } else { "`=` and a value are missing" })
}

/// The value as YAML would read it, but never surprising: `#fff` is no comment and `a: b` no map.
fn scalar(text: &str, origin: &Origin) -> Node {
    let as_text = || Node { at: origin.clone(), kind: Kind::Text(text.to_owned()) };
    let trimmed = text.trim();
    if trimmed.starts_with(['[', '{', '"', '\'']) {
        return parse::value(trimmed, origin).unwrap_or_else(as_text);
    }
    match parse::value(trimmed, origin) {
        Some(node) => match &node.kind {
            Kind::Bool { .. } | Kind::Number { .. } => node,
            Kind::Null if matches!(trimmed, "null" | "~") => node,
            Kind::Null | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => as_text(),
        },
        None => as_text(),
    }
}
