//! Checks the shape of a document against the schema: which keys there are, and what each may hold.
//! Everything wrong is reported at once, each with its position; what comes back is JSON that the
//! types in `model` accept.
//!
//! It knows the part of JSON Schema that our own types produce, and no more.

mod given;
mod hint;
mod reading;
mod scalar;

use serde_json::{Map, Value};

use super::closest::closest;
use super::foreign;
use super::node::{Kind, Node, display_path};
use super::problem::{Origin, Problem};
use super::schema::{EVEN_EMPTY, NOT_YET};
#[cfg(test)]
pub(super) use hint::EXAMPLES;
use reading::{accepts_only, choose, expected, properties, property, types};
use scalar::{in_range, text};

/// Checks `node`. `None` means that there is a problem below.
pub(super) fn check(node: &Node, schema: &Value, problems: &mut Vec<Problem>) -> Option<Value> {
    Checker { problems, path: Vec::new(), root: node }.value(node, schema)
}

/// Scalars that keep the kind in which they are written.
const AS_WRITTEN: &str = "json-scalar";

struct Checker<'a> {
    problems: &'a mut Vec<Problem>,
    path: Vec<String>,
    root: &'a Node,
}

impl Checker<'_> {
    fn problem(&mut self, at: &Origin, reason: String, hint: Option<String>) {
        let hint = hint.map(|hint| given::hint(at, &self.path, hint));
        self.problems.push(Problem { at: at.clone(), path: display_path(&self.path), reason, hint });
    }

    fn value(&mut self, node: &Node, schema: &Value) -> Option<Value> {
        if node.kind == Kind::Null {
            let hint = "leave the key away, or give it a value (empty text is \"\")";
            self.problem(&node.at, format!("has no value; expected {}", expected(schema)), Some(hint.into()));
            return None;
        }
        let Some(choice) = choose(node, schema) else {
            self.mismatch(node, schema);
            return None;
        };
        match &node.kind {
            Kind::Map(_) => self.map(node, choice),
            Kind::List(items) => self.list(items, choice),
            Kind::Null | Kind::Bool { .. } | Kind::Number { .. } | Kind::Text(_) => self.scalar(node, choice),
        }
    }

    fn mismatch(&mut self, node: &Node, schema: &Value) {
        let hint = hint::of(&self.path, node, schema, self.root);
        self.problem(&node.at, format!("expected {}, found {}", expected(schema), node.kind.name()), hint);
    }

    fn map(&mut self, node: &Node, schema: &Value) -> Option<Value> {
        let before = self.problems.len();
        let mut map = Map::new();
        for entry in node.entries() {
            self.path.push(entry.key.clone());
            match property(schema, &entry.key).or_else(|| schema.get("additionalProperties")) {
                Some(below) if below.get(NOT_YET).is_some() => self.not_yet(&entry.at, &entry.value, below),
                Some(below) if below.is_object() => {
                    if let Some(value) = self.value(&entry.value, below) {
                        map.insert(entry.key.clone(), value);
                    }
                }
                Some(_) | None => self.unknown(&entry.at, &entry.value, schema),
            }
            self.path.pop();
        }
        // One wrong key is often the missing one misspelled; both errors at once would be noise.
        if self.problems.len() == before {
            self.required(node, schema);
        }
        (self.problems.len() == before).then_some(Value::Object(map))
    }

    fn required(&mut self, node: &Node, schema: &Value) {
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for key in required.filter_map(Value::as_str) {
            if node.get(key).is_none() {
                self.path.push(key.to_owned());
                let hint = property(schema, key).and_then(|of| hint::missing(&self.path, of));
                self.path.pop();
                self.problem(&node.at, format!("`{key}` is missing"), hint);
            }
        }
    }

    fn not_yet(&mut self, at: &Origin, value: &Node, schema: &Value) {
        // An empty canary is still a canary, while an empty list of gates is none.
        let is_wrong = choose(value, schema).is_none();
        if schema.get(EVEN_EMPTY).is_some() || !value.asks_for_nothing() || is_wrong {
            let hint = schema.get(NOT_YET).and_then(Value::as_str).map(str::to_owned);
            self.problem(at, "not supported yet".to_owned(), hint);
        }
    }

    fn unknown(&mut self, at: &Origin, value: &Node, schema: &Value) {
        let keys = || properties(schema).map(|(key, _)| key.as_str());
        let word = self.path.last().map(String::as_str).unwrap_or_default();
        let later = |key: &str| property(schema, key)?.get(NOT_YET)?.as_str();
        // `strategy: { type: canary }`
        let takes_map =
            |kind: &&str| property(schema, kind).is_some_and(|of| types(of).any(|t| t == "object"));
        let kind = value.raw().filter(|_| word == "type").filter(takes_map);
        let known = kind.map(|kind| format!("write `{kind}: {{}}` in its place"));
        let known = known.or_else(|| foreign::hint(&self.path).map(str::to_owned));
        let near = || {
            closest(word, keys()).map(|key| match later(key) {
                Some(instead) => format!("`{key}` is not supported yet: {instead}"),
                None => format!("did you mean `{key}`?"),
            })
        };
        let hint = known.or_else(near).unwrap_or_else(|| {
            let works = keys().filter(|key| later(key).is_none());
            format!("known keys here: {}", works.collect::<Vec<_>>().join(", "))
        });
        self.problem(at, "unknown key".to_owned(), Some(hint));
    }

    fn list(&mut self, items: &[Node], schema: &Value) -> Option<Value> {
        let before = self.problems.len();
        let anything = Value::Object(Map::new());
        let below = schema.get("items").unwrap_or(&anything);
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.path.push(index.to_string());
            list.extend(self.value(item, below));
            self.path.pop();
        }
        (self.problems.len() == before).then_some(Value::Array(list))
    }

    /// The unit of a duration that is written without one.
    fn unit(&self) -> &'static str {
        if self.path.iter().any(|key| key == "p95") { "ms" } else { "s" }
    }

    fn scalar(&mut self, node: &Node, schema: &Value) -> Option<Value> {
        let raw = node.raw().unwrap_or_default();
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        let result = match &node.kind {
            Kind::Bool { value, .. } if accepts_only(schema, "boolean") || format == AS_WRITTEN => {
                Ok(Value::Bool(*value))
            }
            Kind::Number { value, .. } if format == AS_WRITTEN => Ok(Value::Number(value.clone())),
            Kind::Number { value, .. } if !types(schema).any(|t| t == "string") => {
                in_range(value, raw, schema).map(|()| Value::Number(value.clone()))
            }
            Kind::Null
            | Kind::Bool { .. }
            | Kind::Number { .. }
            | Kind::Text(_)
            | Kind::List(_)
            | Kind::Map(_) => {
                let unit = self.unit();
                text(raw, format, unit, schema).map(|()| Value::String(raw.to_owned()))
            }
        };
        match result {
            Ok(value) => Some(value),
            Err((reason, hint)) => {
                self.problem(&node.at, reason, hint);
                None
            }
        }
    }
}
