//! The payload of a `routes` envelope, and the bounds of every field of it.

use std::collections::{BTreeMap, BTreeSet};
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

pub(crate) const MAX_NAMES: usize = 4096;
pub(crate) const MAX_SERVICES: usize = 2048;
pub(crate) const MAX_ENDPOINTS: usize = 16_384;
pub(crate) const MAX_PORTS: usize = 16;
pub(crate) const MAX_RELEASES: usize = 8;
const MAX_MATCHES: usize = 16;
const MAX_HOST: usize = 253;
const MAX_TEXT: usize = 256;

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

/// A table that cannot be followed, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("routes: {0}")]
pub struct InvalidRoutes(String);

impl Routes {
    /// The lowest version that can say what `services` say.
    pub fn version_for(services: &[RoutedService]) -> u32 {
        let mut endpoints = services.iter().flat_map(|service| &service.endpoints);
        if endpoints.any(|endpoint| endpoint.stands_by.is_some()) { 2 } else { 1 }
    }

    /// Checks every bound and every reference.
    ///
    /// # Errors
    /// The first thing that is wrong, in words; texts of the document are cut at 80 characters.
    pub fn check(&self) -> Result<(), InvalidRoutes> {
        if !ROUTES_VERSIONS.contains(&self.version) || self.version < Self::version_for(&self.services) {
            return bad(format!("version {} is not supported", self.version));
        }
        bound("names", self.names.len(), MAX_NAMES)?;
        bound("services", self.services.len(), MAX_SERVICES)?;
        bound("endpoints", self.services.iter().map(|service| service.endpoints.len()).sum(), MAX_ENDPOINTS)?;
        let mut services = BTreeMap::new();
        for service in &self.services {
            if services.insert(&service.service, service).is_some() {
                return bad(format!("service {} stands there twice", service.service));
            }
            service.check().map_err(|why| InvalidRoutes(format!("service {}: {why}", service.service)))?;
        }
        let mut names = BTreeSet::new();
        for name in &self.names {
            let text = format!("{}{}", cut(&name.host), cut(&name.path));
            let service = services.get(&name.service);
            if !is_host(&name.host) || !is_path(&name.path) {
                return bad(format!("{text} is no host name with a path"));
            }
            if !service.is_some_and(|service| service.ports.contains_key(&name.port)) {
                return bad(format!("{text} leads to a port that the table does not have"));
            }
            if !names.insert((&name.host, &name.path)) {
                return bad(format!("{text} stands there twice"));
            }
        }
        Ok(())
    }
}

impl RoutedService {
    fn check(&self) -> Result<(), String> {
        let within = |what, count, most| bound(what, count, most).map_err(|why| why.0);
        within("ports", self.ports.len(), MAX_PORTS)?;
        within("releases", self.releases.len(), MAX_RELEASES)?;
        within("matches", self.matches.len(), MAX_MATCHES)?;
        within("characters of the salt", self.salt.len(), MAX_TEXT)?;
        let weights: Vec<u16> = self.releases.iter().filter_map(|r| Some(r.weight?.permille())).collect();
        let sum: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
        if !weights.is_empty() && (weights.len() != self.releases.len() || sum != 1000) {
            return Err(format!("its weights sum to {sum} of 1000"));
        }
        let mut probes = self.ports.values().filter_map(|port| port.probe.as_deref());
        if let Some(path) = probes.find(|path| !is_target(path)) {
            return Err(format!("{} is no path to probe", cut(path)));
        }
        let known: BTreeSet<&Digest> = self.releases.iter().map(|share| &share.release).collect();
        if known.len() != self.releases.len() {
            return Err("a release stands there twice".to_owned());
        }
        let mut places = BTreeSet::new();
        for endpoint in &self.endpoints {
            if !known.contains(&endpoint.release) || !self.ports.contains_key(&endpoint.port) {
                return Err("an endpoint has a release or port that the table does not have".to_owned());
            }
            if endpoint.number == 0 || !places.insert((endpoint.address, endpoint.number)) {
                return Err(format!("endpoint {}:{} stands there twice", endpoint.address, endpoint.number));
            }
            if endpoint.stands_by.is_some() && !endpoint.draining {
                return Err("an endpoint that gets requests stands by".to_owned());
            }
        }
        for rule in &self.matches {
            if !known.contains(&rule.release) || !is_match(&rule.name, &rule.value) {
                return Err("a match has no release of the table, or no header or cookie".to_owned());
            }
        }
        Ok(())
    }
}

/// Returns whether a rule may compare a header or cookie of this name with this value.
pub(crate) fn is_match(name: &str, value: &str) -> bool {
    let token = !name.is_empty() && name.bytes().all(is_token);
    token && name.len() <= MAX_TEXT && value.len() <= MAX_TEXT && !value.chars().any(char::is_control)
}

fn bad<T>(why: String) -> Result<T, InvalidRoutes> {
    Err(InvalidRoutes(why))
}

fn bound(what: &str, count: usize, most: usize) -> Result<(), InvalidRoutes> {
    if count <= most { Ok(()) } else { bad(format!("{count} {what}, at most {most} are allowed")) }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// A byte of a token as RFC 9110, section 5.6.2 has it.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Returns whether `host` is a name in lower case, perhaps with `*.` before it.
pub(crate) fn is_host(host: &str) -> bool {
    let plain = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(fits)
    };
    host.len() <= MAX_HOST && plain.split('.').all(label)
}

/// The target of a request in origin form (RFC 9112, section 3.2.1): nothing that would end its line.
fn is_target(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= 2 * MAX_TEXT
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

/// Returns whether `path` is a prefix that requests can have.
pub(crate) fn is_path(path: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\');
    let segments = || path.split('/').skip(1);
    let clean = segments().all(|segment| segment != "." && segment != "..");
    path.starts_with('/') && path.len() <= MAX_TEXT && path.bytes().all(fits) && clean && !path.contains("//")
}
