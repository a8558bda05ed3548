//! The payload of a `routes` envelope.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Counter, EnvironmentId, FleetId, HostId, ServiceName};
use crate::time::Timestamp;
use crate::units::Span;

/// The newest version of the payload that this code reads and writes.
pub const ROUTES_VERSION: u32 = 2;
/// Every version that it reads. A table is written in the lowest one that can say what it says.
pub const ROUTES_VERSIONS: [u32; 2] = [1, ROUTES_VERSION];

/// The traffic table of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    /// Version of this format: `2` if an endpoint stands by, else `1`.
    pub version: u32,
    /// The fleet it was signed for.
    pub fleet: FleetId,
    /// The environment whose services it routes to.
    pub environment: EnvironmentId,
    /// Raised only after a key compromise; equals the trust document's.
    pub epoch: u64,
    /// Rises with every table of this environment.
    pub seq: u64,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// Which names lead to which service.
    pub names: Vec<Name>,
    /// Every service with a port, ordered by name.
    pub services: Vec<RoutedService>,
}

/// A name from outside, and the service that answers under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// Host name in lower case; `*.example.com` stands for one label more.
    pub host: String,
    /// Path prefix, cut at a slash; `/` for every path. The longest one that fits wins.
    pub path: String,
    /// The service that answers.
    pub service: ServiceName,
    /// The name of its port.
    pub port: String,
}

/// The traffic of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutedService {
    /// Its name.
    pub service: ServiceName,
    /// Its ports by name.
    pub ports: BTreeMap<String, RoutedPort>,
    /// The releases that have endpoints, the candidate first. Either each has a weight and the weights sum to 1000,
    /// or none has one: then all endpoints are one pool.
    pub releases: Vec<ReleaseShare>,
    /// Requests that go to one release whatever the weights are, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// Mixed into the choice of a client's release, so that the first clients of each rollout are others: the rollout's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    /// The endpoints of its instances.
    pub endpoints: Vec<Endpoint>,
    /// Time that a request may wait for an endpoint while a step of ours leaves none. Absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// Over which time an endpoint that became healthy takes its full share. Absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Span>,
    /// Time that a request under way may go on when its endpoint has left the table.
    pub drain: Span,
}

/// A container port that requests may go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutedPort {
    /// The port inside the container.
    pub container: u16,
    /// The protocol that its process speaks.
    #[serde(default)]
    pub protocol: Protocol,
    /// A path that an ingress asks for to see whether an endpoint is ready, as the release's readiness probe has it.
    /// Absent: a connection is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
}

/// The protocol between an ingress and an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 without TLS.
    H2c,
    /// gRPC over HTTP/2 without TLS: the status of a call counts.
    Grpc,
}

/// A release and its share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseShare {
    /// Digest of its payload.
    pub release: Digest,
    /// Its number.
    pub counter: Counter,
    /// Its share; absent if the service is one pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
}

/// A share of requests in thousandths, 0 to 1000.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "u16", into = "u16")]
#[schemars(with = "u16")]
pub struct Weight(u16);

impl Weight {
    /// No request.
    pub const NONE: Self = Self(0);
    /// Every request.
    pub const ALL: Self = Self(1000);

    /// The share that is left of the whole.
    pub const fn rest(self) -> Self {
        Self(1000 - self.0)
    }

    /// The share in thousandths.
    pub const fn permille(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Weight {
    type Error = String;
    fn try_from(permille: u16) -> Result<Self, String> {
        if permille <= 1000 { Ok(Self(permille)) } else { Err(format!("weight {permille} is above 1000")) }
    }
}

impl std::fmt::Display for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, tenth) => write!(f, "{whole}.{tenth}%"),
        }
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> u16 {
        weight.0
    }
}

/// A rule that sends requests to one release whatever the weights are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The release that such requests go to.
    pub release: Digest,
    /// The kind of thing that is compared.
    pub on: MatchOn,
    /// Name of the header or cookie.
    pub name: String,
    /// The value that it has.
    pub value: String,
}

/// The kind of thing that a [`Match`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchOn {
    /// A request header.
    Header,
    /// A cookie.
    Cookie,
}

/// An address at which an instance answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The host that it runs on.
    pub host: HostId,
    /// The host's address, as certified when it joined.
    pub address: IpAddr,
    /// Name of the port.
    pub port: String,
    /// The port of the host.
    pub number: u16,
    /// The side of its slot that the port belongs to.
    pub side: PortSide,
    /// The release of the instance.
    pub release: Digest,
    /// It gets no new requests; those under way go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// It drains, or rests, and its host restores it by itself if the release fails that is on trial there: requests go to it
    /// as long as it answers and the endpoint before it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_by: Option<StandsBy>,
}

/// The endpoint of the same slot that an endpoint stands by for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StandsBy {
    /// Its port of the host; absent if it has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<u16>,
}

/// A slot has two ports, so that two instances can stand side by side.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PortSide {
    /// The first.
    #[default]
    A,
    /// The second.
    B,
}

impl PortSide {
    // serde asks for a reference.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    pub(crate) fn is_first(&self) -> bool {
        *self == Self::A
    }
}

impl Routes {
    /// The lowest version that can say what `services` say.
    pub fn version_for(services: &[RoutedService]) -> u32 {
        let mut endpoints = services.iter().flat_map(|service| &service.endpoints);
        if endpoints.any(|endpoint| endpoint.stands_by.is_some()) { 2 } else { 1 }
    }
}
