//! Options of a container, as a person writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A limit of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Limit {
    /// Soft and hard in one; -1 for none.
    Both(i64),
    /// Each by itself.
    Each(SoftHard),
}

/// A soft and a hard limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SoftHard {
    /// The limit that a process gets.
    pub(crate) soft: i64,
    /// Up to where it may raise that.
    pub(crate) hard: i64,
}

impl Limit {
    /// As it is signed.
    pub(crate) const fn lower(self) -> crate::release::Ulimit {
        match self {
            Self::Both(limit) => crate::release::Ulimit { soft: limit, hard: limit },
            Self::Each(SoftHard { soft, hard }) => crate::release::Ulimit { soft, hard },
        }
    }
}
