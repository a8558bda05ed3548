//! The requests of an agent to an instance, and their intervals.

use serde::{Deserialize, Serialize};

use crate::units::Span;

use super::asks::{Expect, Request};

/// Probes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Asked until it succeeds once; the other two wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// Whether the instance is ready for work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Whether the instance is alive. A failure restarts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// The fate of the image's HEALTHCHECK; without a word it counts as a readiness probe, if there is no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageHealth>,
}

/// The fate of the HEALTHCHECK that an image brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageHealth {
    /// It is not run.
    Off,
}

/// A question that an agent asks an instance again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The question.
    pub check: Check,
    /// Time between the beginnings of two questions.
    pub every: Span,
    /// Time for an answer.
    pub timeout: Span,
    /// So many failures in a row mean no.
    pub failures: u32,
    /// So many successes in a row mean yes.
    pub successes: u32,
}

/// The question of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// `GET path` on the named port answers with a status from 200 to 399.
    Http {
        /// Path and query, begins with `/`.
        path: String,
        /// Name of the port.
        port: String,
    },
    /// A request of any kind is answered as said.
    Request(Box<AskedRequest>),
    /// The named port accepts a connection.
    Tcp {
        /// Name of the port.
        port: String,
    },
    /// The command exits with 0 in the container.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// A request, and the answer that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskedRequest {
    /// The question.
    pub request: Request,
    /// The answer that is wanted.
    pub expect: Expect,
}

impl Health {
    /// The probes that there are.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        [&self.startup, &self.readiness, &self.liveness].into_iter().flatten()
    }
}
