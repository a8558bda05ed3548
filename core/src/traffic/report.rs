//! The report of an ingress: which tables it has in force, and what it has counted since its process began.
//!
//! Numbers only rise, except the gauges; a reader takes differences, and sees by [`IngressReport::process`] that they
//! began anew. A report is sent every [`REPORT_EVERY`] while something changes, and every [`REPORT_QUIET`] otherwise.

mod fit;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Counter, EnvironmentId, ServiceId};
use crate::observation::Refusal;
use crate::time::Timestamp;

/// Time between two reports of a busy ingress.
pub const REPORT_EVERY: Duration = Duration::from_secs(2);
/// Time between two reports of an ingress without changes.
pub const REPORT_QUIET: Duration = Duration::from_secs(10);
/// Most bytes of a report.
pub const MAX_REPORT: usize = 1 << 20;
/// Buckets of a histogram: 16 to each doubling, from 1 ms to 65 s.
pub const BUCKETS: usize = 256;

const MAX_ENVIRONMENTS: usize = 256;
const MAX_SERVICES: usize = 8192;
const MAX_RELEASES: usize = 32;
const MAX_ENDPOINTS: usize = 16_384;
const MAX_LISTENS: usize = 64;
const MAX_TEXT: usize = 512;
/// Numbers above this one lose digits in readers whose only number is a double.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// A report of an ingress process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct IngressReport {
    /// A random number of the process, below 2^53: another one means that all counters began at zero.
    pub process: u64,
    /// When the process began.
    pub started_at: Timestamp,
    /// When this was counted, by the clock of its host.
    pub at: Timestamp,
    /// Version of the program.
    pub program: String,
    /// Versions of traffic tables that it reads; `1` alone if it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes_versions: Vec<u32>,
    /// The addresses at which it accepts connections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listens: Vec<Listen>,
    /// It is ending: a successor has its listeners, or nobody has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ending: bool,
    /// The table in force of each environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<EnvironmentId, TableInForce>,
    /// Tables that were offered after that and refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<EnvironmentId, Refusal>,
    /// The traffic of each service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<ServiceId, ServiceTraffic>,
    /// Requests for a name that no table has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unrouted: u64,
    /// Requests that were refused before they were routed: no HTTP, ambiguous, too large, or for another name than that of
    /// their certificate.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bad_requests: u64,
    /// Services of which histograms or more are missing, so that the report keeps its bound. The quietest lose theirs first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut_services: u64,
}

/// An address at which an ingress accepts connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Listen {
    /// `http`, `https`, or the name of an inner network.
    pub name: String,
    /// The address.
    pub address: SocketAddr,
}

/// The table of an environment that an ingress follows: by this it acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TableInForce {
    /// Its epoch.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
    /// Digest of its payload.
    pub digest: Digest,
    /// Since when it is in force in this process.
    pub applied_at: Timestamp,
}

/// The traffic of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ServiceTraffic {
    /// Requests by the release that they went to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub releases: BTreeMap<Digest, ReleaseTraffic>,
    /// Requests for which no release was found.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub nobody: Counts,
    /// The endpoints of its instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointTraffic>,
    /// Its histograms were left out to keep the bound.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub histograms_cut: bool,
}

/// The requests that one release got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReleaseTraffic {
    /// The number of the release, where a traffic table has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<Counter>,
    /// By weight, or from one pool: the population of a gate.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub weighted: Counts,
    /// By a match: no evidence for a gate.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub matched: Counts,
    /// Answered by an endpoint that stands by, in the place of another release: no evidence for a gate either.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub unconfirmed: Counts,
}

impl ReleaseTraffic {
    /// All that was counted.
    pub fn all(&self) -> [&Counts; 3] {
        [&self.weighted, &self.matched, &self.unconfirmed]
    }
}

/// Counters since the process began, and two gauges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Requests that ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub requests: u64,
    /// Responses with status 1xx (switched protocols).
    #[serde(skip_serializing_if = "is_zero")]
    pub informational: u64,
    /// Responses with status 2xx.
    #[serde(skip_serializing_if = "is_zero")]
    pub success: u64,
    /// Responses with status 3xx.
    #[serde(skip_serializing_if = "is_zero")]
    pub redirection: u64,
    /// Responses with status 4xx.
    #[serde(skip_serializing_if = "is_zero")]
    pub client_error: u64,
    /// Responses with status 5xx, the ingress's own among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub server_error: u64,
    /// Clients that left before the response had begun (499).
    #[serde(skip_serializing_if = "is_zero")]
    pub client_gone: u64,
    /// Responses that were cut after they had begun.
    #[serde(skip_serializing_if = "is_zero")]
    pub cut: u64,
    /// Of these, responses that the endpoint broke off, and whose status had said no failure.
    #[serde(skip_serializing_if = "is_zero")]
    pub broken: u64,
    /// Responses that the ingress gave itself: no endpoint, no answer in time.
    #[serde(skip_serializing_if = "is_zero")]
    pub own_answers: u64,
    /// gRPC calls whose status says that the server failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub grpc_failed: u64,
    /// Connections to endpoints that could not be made.
    #[serde(skip_serializing_if = "is_zero")]
    pub connect_errors: u64,
    /// Further tries on another endpoint.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
    /// Requests that waited for an endpoint.
    #[serde(skip_serializing_if = "is_zero")]
    pub held: u64,
    /// Requests under way, now.
    #[serde(skip_serializing_if = "is_zero")]
    pub in_flight: u64,
    /// Tunnels that are open, now.
    #[serde(skip_serializing_if = "is_zero")]
    pub tunnels: u64,
    /// Latency until the response's head: pairs of bucket and count, buckets rising, no count of zero.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_head: Vec<(u16, u64)>,
    /// Its sum, in microseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub to_head_us: u64,
    /// Latency until the response's end, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_end: Vec<(u16, u64)>,
}

impl Counts {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An endpoint as the ingress sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EndpointTraffic {
    /// Its address and port.
    pub address: SocketAddr,
    /// The release of its instance.
    pub release: Digest,
    /// Whether it gets requests.
    pub state: EndpointState,
    /// Requests under way, now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_flight: u64,
    /// Tunnels that are open, now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tunnels: u64,
}

/// Whether an endpoint gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// It does.
    Healthy,
    /// It is left out for a while: connections to it failed.
    Ejected,
    /// It is left out until a probe of it succeeds.
    Unready,
    /// It finishes what it has: the table drains it, or has it no more.
    Draining,
    /// It gets requests only in the place of another one, which answers.
    StandsBy,
    /// Of a newer version.
    #[serde(other)]
    Unknown,
}

/// A report that cannot be believed, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("report of an ingress: {0}")]
pub struct InvalidReport(String);

impl IngressReport {
    /// Requests and tunnels under way, of all services.
    pub fn under_way(&self) -> u64 {
        let endpoints = self.services.values().flat_map(|service| &service.endpoints);
        endpoints.fold(0, |sum, of| sum.saturating_add(of.in_flight).saturating_add(of.tunnels))
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first bound that is broken, in words.
    pub fn check(&self) -> Result<(), InvalidReport> {
        bound("environments", self.tables.len().max(self.refused.len()), MAX_ENVIRONMENTS)?;
        bound("listeners", self.listens.len(), MAX_LISTENS)?;
        bound("services", self.services.len(), MAX_SERVICES)?;
        let endpoints = self.services.values().map(|service| service.endpoints.len()).sum();
        bound("endpoints", endpoints, MAX_ENDPOINTS)?;
        let details = self.refused.values().map(|refusal| refusal.detail.len());
        let texts = self.listens.iter().map(|listen| listen.name.len()).chain([self.program.len()]);
        bound("versions of tables", self.routes_versions.len(), MAX_LISTENS)?;
        bound("bytes of a text", details.chain(texts).max().unwrap_or_default(), MAX_TEXT)?;
        let seqs = self.tables.values().flat_map(|table| [table.epoch, table.seq]);
        if seqs
            .chain([self.process, self.unrouted, self.bad_requests, self.cut_services])
            .any(|number| number > MAX_NUMBER)
        {
            return Err(InvalidReport("a number is above 2^53".to_owned()));
        }
        for (name, service) in &self.services {
            service.check().map_err(|error| InvalidReport(format!("{name}: {}", error.0)))?;
        }
        Ok(())
    }
}

impl ServiceTraffic {
    fn check(&self) -> Result<(), InvalidReport> {
        bound("releases", self.releases.len(), MAX_RELEASES)?;
        let releases = self.releases.values().flat_map(ReleaseTraffic::all);
        for counts in releases.chain([&self.nobody]) {
            counts.check()?;
        }
        Ok(())
    }
}

impl Counts {
    fn check(&self) -> Result<(), InvalidReport> {
        for histogram in [&self.to_head, &self.to_end] {
            let rising = histogram.windows(2).all(|pair| pair[0].0 < pair[1].0);
            let within = histogram.last().is_none_or(|(bucket, _)| usize::from(*bucket) < BUCKETS);
            if !rising || !within || histogram.iter().any(|(_, count)| *count == 0) {
                return Err(InvalidReport("a histogram is out of order".to_owned()));
            }
        }
        let buckets = self.to_head.iter().chain(&self.to_end).map(|(_, count)| *count);
        let classes =
            [self.informational, self.success, self.redirection, self.client_error, self.server_error];
        let ends =
            [self.requests, self.client_gone, self.cut, self.broken, self.own_answers, self.grpc_failed];
        let tries = [self.connect_errors, self.retries, self.held, self.to_head_us];
        let gauges = [self.in_flight, self.tunnels];
        if buckets.chain(classes).chain(ends).chain(tries).chain(gauges).any(|number| number > MAX_NUMBER) {
            return Err(InvalidReport("a number is above 2^53".to_owned()));
        }
        Ok(())
    }
}

fn bound(what: &str, count: usize, most: usize) -> Result<(), InvalidReport> {
    if count <= most {
        Ok(())
    } else {
        Err(InvalidReport(format!("{count} {what}, at most {most} are allowed")))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
