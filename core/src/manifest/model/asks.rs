//! Warm-up requests, smoke tests and checks of a host, as a manifest says them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

use super::super::defaults;
use super::http::{Expect, Tls};
use super::scalar;

/// A request that warms an instance up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WarmUp {
    /// Path and query.
    #[schemars(extend("examples" = ["/"]))]
    pub(crate) http: String,
    /// Name of the port; the first port if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<String>,
    /// The method; `GET` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// Headers. They stand in the release, where everybody who may read it sees them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, scalar::Text>,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<scalar::Text>,
    /// TLS, if that is spoken there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    /// Number of times that it is sent, one after the other.
    #[serde(default = "defaults::warm_up_times")]
    pub(crate) times: u32,
    /// Time for all of them together; then it is over.
    #[serde(default = "defaults::warm_up_timeout")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) timeout: Span,
}

/// A request that has to be answered as said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Smoke {
    /// Path and query.
    #[schemars(extend("examples" = ["/health"]))]
    pub(crate) http: String,
    /// Name of the port; the first port if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<String>,
    /// The method; `GET` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// Headers. They stand in the release, where everybody who may read it sees them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, scalar::Text>,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<scalar::Text>,
    /// TLS, if that is spoken there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    /// The answer that is wanted; any with a status from 200 to 299 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<Expect>,
    /// Time for an answer.
    #[serde(default = "defaults::smoke_timeout")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) timeout: Span,
    /// Number of tries in all.
    #[serde(default = "defaults::smoke_tries")]
    pub(crate) tries: u32,
    /// The pause before it is tried again.
    #[serde(default = "defaults::smoke_every")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) every: Span,
    /// Asked so long after the instance became healthy, while it serves; by default before it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) after: Option<Span>,
}

/// A check that a host makes before the first start: one of `tcp`, `http`, `postgres`, `redis` and `files_exist`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    /// Its name in messages, like `database`; the address if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The address accepts a connection, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["broker.internal:5672"]))]
    pub(crate) tcp: Option<String>,
    /// This URL is answered, `http://host[:port]/path` or `https://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["http://feed.internal:8080/health", "https://feed.internal/health"]))]
    pub(crate) http: Option<String>,
    /// A `PostgreSQL` server answers there, `host:port`. It needs no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["db.internal:5432"]))]
    pub(crate) postgres: Option<String>,
    /// A Redis server answers there, `host:port`. It needs no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["cache.internal:6379"]))]
    pub(crate) redis: Option<String>,
    /// Files that have to be in a volume of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files_exist: Option<FilesExist>,
    /// The method of `http`; `GET` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// Headers of `http`. They stand in the release, where everybody who may read it sees them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, scalar::Text>,
    /// The body of `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<scalar::Text>,
    /// TLS of an `https://` URL: the verification of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    /// The answer that `http` wants; any with a status from 200 to 399 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<Expect>,
    /// Time for the check.
    #[serde(default = "defaults::check_timeout")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) timeout: Span,
}

/// Files that have to be in a volume of the service. Links that lead out of the volume are not followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilesExist {
    /// Name of the volume: a named one, or one with a `host_path`.
    #[schemars(extend("examples" = ["models"]))]
    pub(crate) volume: String,
    /// Paths below the volume.
    #[schemars(extend("examples" = [["bert.bin", "gpt/weights.onnx"]]))]
    pub(crate) paths: Vec<String>,
}

impl WarmUp {
    /// Fills in the port.
    pub(crate) fn complete(&mut self, main_port: Option<&str>) {
        self.port = self.port.take().or_else(|| main_port.map(str::to_owned));
    }
}

impl Smoke {
    /// Fills in the port.
    pub(crate) fn complete(&mut self, main_port: Option<&str>) {
        self.port = self.port.take().or_else(|| main_port.map(str::to_owned));
    }
}

impl Check {
    /// Whether it says more of its request than a `GET` with a status can.
    pub(crate) fn is_close(&self) -> bool {
        let (tls, expect) =
            (self.tls.is_some(), self.expect.as_ref().is_some_and(|expect| !expect.is_status()));
        self.method.is_some() || !self.headers.is_empty() || self.body.is_some() || tls || expect
    }

    /// Its questions: key and address of each.
    pub(crate) fn asks(&self) -> Vec<(&'static str, &str)> {
        let all =
            [("tcp", &self.tcp), ("http", &self.http), ("postgres", &self.postgres), ("redis", &self.redis)];
        let files = self.files_exist.as_ref().map(|files| ("files_exist", files.volume.as_str()));
        let asked = all.into_iter().filter_map(|(key, address)| Some((key, address.as_deref()?)));
        asked.chain(files).collect()
    }
}
