//! The parts of a manifest that are known and not built yet. They stand in the JSON Schema, so that
//! their names are settled and a manifest that uses them is refused with the right words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// The form in which a secret is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretForm {
    /// A file under /run/secrets.
    File,
    /// An environment variable.
    Env,
}
