//! YAML of people: bounds that are checked while it is read, and the tree before anything is made of it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Budget, Error, Spanned};

/// Bounds of a file. What passes one is an attack or an accident.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes; its scalars have twice as many at most, with anchors written out.
    pub input: usize,
    /// Levels of nesting.
    pub depth: usize,
    /// Documents.
    pub documents: usize,
    /// Values, keys among them.
    pub nodes: usize,
    /// Uses of anchors.
    pub aliases: usize,
    /// Anchors.
    pub anchors: usize,
}

impl Bounds {
    /// The same for the YAML library.
    pub fn budget(&self) -> Budget {
        let mut budget = Budget::default();
        budget.max_reader_input_bytes = Some(self.input);
        budget.max_depth = self.depth;
        budget.max_documents = self.documents;
        budget.max_nodes = self.nodes;
        budget.max_aliases = self.aliases;
        budget.max_anchors = self.anchors;
        budget.max_total_scalar_bytes = 2 * self.input;
        budget
    }

    /// The bound that a file has passed, in words to stand behind its name; `None` if something else is wrong with it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "everything else is no bound")]
    pub fn passed(&self, error: &Error) -> Option<String> {
        match error {
            // For anchors that are written out, the error names their uses.
            Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => self.passed(error),
            Error::Budget { breach, .. } => Some(self.words(breach)),
            _ => None,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library may add bounds, and the rest says the same"
    )]
    fn words(&self, breach: &BudgetBreach) -> String {
        match breach {
            BudgetBreach::Depth { .. } => format!("is nested more than {} levels deep", self.depth),
            BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
                format!("has more than {} values", self.nodes)
            }
            BudgetBreach::Documents { .. } if self.documents == 1 => "has more than one document".to_owned(),
            BudgetBreach::Documents { .. } => format!("has more than {} documents", self.documents),
            BudgetBreach::Aliases { .. } => format!("has more than {} aliases", self.aliases),
            BudgetBreach::Anchors { .. } => format!("has more than {} anchors", self.anchors),
            _ => "is too large with its anchors written out".to_owned(),
        }
    }
}

/// A value as the YAML library hands it over.
#[derive(Debug)]
pub enum Raw {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text, or a number that no [`serde_json::Number`] holds, as it is written.
    Text(String),
    /// A list, each item with its place.
    List(Vec<Spanned<Self>>),
    /// A map in the order of its keys in the file.
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
