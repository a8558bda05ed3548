//! The parts of a manifest that are known and not built yet. They stand in the JSON Schema, so that
//! their names are settled and a manifest that uses them is refused with the right words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Size, Span};

use super::scalar;

/// A secret by name: a file, or with `as: env` a variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Secret {
    /// A file under /run/secrets.
    Name(String),
    /// With a choice of how it is given.
    Given(GivenSecret),
}

/// A secret and how it is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenSecret {
    /// Its name.
    pub(crate) name: String,
    /// As a file or as a variable.
    pub(crate) r#as: SecretForm,
}

/// How a secret is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretForm {
    /// A file under /run/secrets.
    File,
    /// An environment variable.
    Env,
}

/// Commands run before and after a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hooks {
    /// Before the first instance is touched; a failure ends the rollout.
    #[serde(default)]
    pub(crate) before: Vec<Hook>,
    /// After the last one.
    #[serde(default)]
    pub(crate) after: Vec<Hook>,
}

/// A command in a container of the new image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hook {
    /// Program and arguments.
    pub(crate) run: Vec<String>,
    /// GPUs it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gpus: Option<u32>,
    /// Memory it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::size")]
    pub(crate) memory: Option<Size>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) timeout: Option<Span>,
}
