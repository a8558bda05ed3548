//! The common parts of requests: how TLS is spoken, and the answer that is wanted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::StatusRange;
use crate::units::Span;

use super::scalar;

/// TLS: the name that the certificate is for, and the certificates that may have signed it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The name that the certificate has to be for; by default that of the `Host` header, or of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["api.internal"]))]
    pub(crate) name: Option<String>,
    /// A file of certificates (PEM) of those who may have signed it, read when the release is signed; by default those that the
    /// host trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["internal-ca.pem"]))]
    pub(crate) ca: Option<String>,
    /// `off`: every certificate is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verify: Option<Verify>,
}

/// Whether a certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verify {
    /// It is not.
    Off,
}

/// An answer that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Status: one, a range like `200-299`, or a list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Statuses>,
    /// Headers, each with exactly this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, scalar::Text>,
    /// Text that stands in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<scalar::Text>,
    /// Values of the JSON body by JSON pointer, like `/database: connected`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) json: BTreeMap<String, scalar::JsonScalar>,
    /// The whole answer came within this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) within: Option<Span>,
}

impl Expect {
    /// Whether nothing but a status is wanted.
    pub(crate) fn is_status(&self) -> bool {
        self.headers.is_empty() && self.body.is_none() && self.json.is_empty() && self.within.is_none()
    }
}

/// States of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Statuses {
    /// One.
    One(StatusRange),
    /// Any of several.
    Several(Vec<StatusRange>),
}

impl Statuses {
    /// All of them.
    pub(crate) fn list(&self) -> Vec<StatusRange> {
        match self {
            Self::One(status) => vec![*status],
            Self::Several(statuses) => statuses.clone(),
        }
    }
}
