//! Probes, as a manifest says them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::ImageHealth;
use crate::units::Span;

use super::super::defaults::{self, ProbeDefaults};
use super::http::{Expect, Tls};
use super::scalar;

/// Probes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    /// Asked until it succeeds once; the other two wait for it. By default every 2 s, 30 times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) startup: Option<Probe>,
    /// Whether the instance is ready for work. By default every 5 s, no after 3 failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) readiness: Option<Probe>,
    /// Whether the instance is alive. A failure restarts it. By default every 10 s, no after 3 failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) liveness: Option<Probe>,
    /// `off`: the HEALTHCHECK of the image is not run. By default it counts as a readiness probe, unless there is one here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<ImageHealth>,
}

impl Health {
    /// Whether the section names no probe at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.probes().next().is_none() && self.image.is_none()
    }

    /// Fills in what the author left out, `main_port` being the first of the service's ports.
    pub(crate) fn complete(&mut self, main_port: Option<&str>) {
        let parts = [
            (&mut self.startup, defaults::STARTUP),
            (&mut self.readiness, defaults::READINESS),
            (&mut self.liveness, defaults::LIVENESS),
        ];
        for (probe, defaults) in parts {
            if let Some(probe) = probe {
                probe.complete(&defaults, main_port);
            }
        }
    }

    /// The probes that are there, each with its key.
    pub(crate) fn probes(&self) -> impl Iterator<Item = (&'static str, &Probe)> {
        let all = [("startup", &self.startup), ("readiness", &self.readiness), ("liveness", &self.liveness)];
        all.into_iter().filter_map(|(key, probe)| Some((key, probe.as_ref()?)))
    }
}

/// A question that an agent asks an instance again and again: one of `http`, `tcp` and `exec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    /// A request for this path is answered with a status from 200 to 399, or as `expect` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/health"]))]
    pub(crate) http: Option<String>,
    /// The port of this name accepts a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tcp: Option<String>,
    /// The command exits with 0 in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exec: Option<Vec<String>>,
    /// The standard gRPC health service answers `SERVING` on the port of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-not-yet" = "`http`, `tcp` and `exec` work now"))]
    pub(crate) grpc: Option<String>,
    /// Name of the port for `http`; the first port if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<String>,
    /// The method of `http`; `GET` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// Headers of `http`. They stand in the release, where everybody who may read it sees them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, scalar::Text>,
    /// The body of `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<scalar::Text>,
    /// TLS, if that is spoken at the port of `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    /// The answer that `http` wants; any with a status from 200 to 399 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<Expect>,
    /// Time between the beginnings of two questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) every: Option<Span>,
    /// Time for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) timeout: Option<Span>,
    /// So many failures in a row mean no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failures: Option<u32>,
    /// So many successes in a row mean yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) successes: Option<u32>,
}

impl Probe {
    /// The keys that it has and that go with `http` only.
    pub(crate) fn keys_of_http(&self) -> Vec<&'static str> {
        let all = [
            ("method", self.method.is_some()),
            ("headers", !self.headers.is_empty()),
            ("body", self.body.is_some()),
            ("tls", self.tls.is_some()),
            ("expect", self.expect.is_some()),
        ];
        all.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect()
    }

    fn complete(&mut self, defaults: &ProbeDefaults, main_port: Option<&str>) {
        self.every.get_or_insert(defaults.every);
        self.timeout.get_or_insert(defaults.timeout);
        self.failures.get_or_insert(defaults.failures);
        self.successes.get_or_insert(defaults.successes);
        if self.http.is_some() && self.port.is_none() {
            self.port = main_port.map(str::to_owned);
        }
    }
}
