//! Traffic, as `routes` prints it.

mod recent;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::Liveness;
use crate::id::{Counter, EnvironmentId, HostId, ServiceId, ServiceName};
use crate::release::Route;
use crate::service::{Service, Slots};
use crate::time::Timestamp;
use crate::traffic::is_host_name;
use crate::traffic::{
    Endpoint, EndpointState, EndpointTraffic, IngressReport, RoutedService, Table, Traffic, Weight,
};

use super::ConditionView;

pub use recent::RecentView;

/// An ingress that has not taken a table for so long is behind …
const BEHIND: Duration = Duration::from_secs(10);
/// … and so is one that lacks more than so many, however new the newest one is: a table comes every tenth of a second at most.
const LACKS: u64 = 100;

/// The traffic of one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RoutesView {
    /// The environment.
    pub environment: EnvironmentId,
    /// Number of the newest table: what every ingress is to have.
    pub seq: u64,
    /// When it was made.
    pub issued_at: Timestamp,
    /// Its services.
    pub services: Vec<RoutedView>,
    /// Ingresses that count.
    pub ingresses: Vec<IngressView>,
}

impl RoutesView {
    /// Marks the endpoints and ingresses of hosts that are not connected; `look` tells the liveness of a host, and when it was last
    /// heard of.
    #[must_use]
    pub fn with_hosts(mut self, look: impl Fn(&HostId) -> (Liveness, Option<Timestamp>)) -> Self {
        for endpoint in self.services.iter_mut().flat_map(|service| &mut service.endpoints) {
            let (liveness, last_seen) = look(&endpoint.host);
            if liveness != Liveness::Connected {
                (endpoint.host_state, endpoint.as_of) = (Some(liveness), last_seen);
            }
            endpoint.avoided_by.retain(|ingress| look(ingress).0 == Liveness::Connected);
        }
        for ingress in &mut self.ingresses {
            let (liveness, last_seen) = look(&ingress.host);
            if liveness != Liveness::Connected {
                (ingress.host_state, ingress.as_of) = (Some(liveness), last_seen);
            }
        }
        self
    }
}

/// The traffic of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RoutedView {
    /// Its name.
    pub service: ServiceName,
    /// Under which names clients reach it.
    pub names: Vec<Route>,
    /// Releases that have endpoints.
    pub releases: Vec<ShareView>,
    /// Where its instances answer.
    pub endpoints: Vec<EndpointView>,
    /// Requests that found no instance, if there were any lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nobody: Option<RecentView>,
}

impl RoutedView {
    /// Whether nobody answers under its names.
    pub fn is_unserved(&self) -> bool {
        let unserved = |endpoint: &EndpointView| ["draining", "stands_by"].contains(&endpoint.state.as_str());
        !self.names.is_empty() && self.endpoints.iter().all(unserved)
    }
}

/// A release and its share of the requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ShareView {
    /// Its number.
    pub release: Counter,
    /// Its share in thousandths; absent where all endpoints are one pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The requests that it got lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<RecentView>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EndpointView {
    /// Its host.
    pub host: HostId,
    /// Where it answers.
    pub address: SocketAddr,
    /// Name of the port.
    pub port: String,
    /// The release of its instance, if the table knows it.
    pub release: Option<Counter>,
    /// `serving`, `draining`; `ejected` if no ingress that knows it sends requests there; `stands_by` for one that its host
    /// restores if the release on trial fails there, `stands_in` if an ingress has found it so.
    pub state: String,
    /// Requests and tunnels under way on it, in all ingresses.
    pub in_flight: u64,
    /// The hosts whose ingress has seen it fail: it gets no requests there as long as others do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoided_by: Vec<HostId>,
    /// The liveness of its host, unless that is connected: the rest is as of when the host was last heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_state: Option<Liveness>,
    /// When its host was last heard of, if it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

impl EndpointView {
    /// Returns whether it takes requests, as far as anybody knows: the endpoint of a lost host is not known to.
    pub fn is_serving(&self) -> bool {
        ["serving", "stands_in"].contains(&self.state.as_str()) && self.host_state != Some(Liveness::Lost)
    }
}

/// An ingress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct IngressView {
    /// Its host.
    pub host: HostId,
    /// Number of the table that it is to have.
    #[serde(default)]
    pub desired: u64,
    /// `desired`, as version 0.1 names it.
    #[schemars(extend("deprecated" = true))]
    pub wanted: u64,
    /// Number of the table that it has; absent if it has not said since the coordinator began.
    pub acknowledged: Option<u64>,
    /// Requests and tunnels under way, of this environment.
    pub in_flight: u64,
    /// Why it refuses a newer table, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The liveness of its host, unless that is connected: the rest is as of when the host was last heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_state: Option<Liveness>,
    /// When its host was last heard of, if it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// The table of an ingress, compared with the newest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngressState {
    /// It has the newest one.
    Current,
    /// It may well be about to take it.
    Updating,
    /// It lacks it.
    Behind,
}

impl IngressState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Updating => "updating",
            Self::Behind => "behind",
        }
    }
}

impl IngressView {
    /// Its table, compared with the newest one, which was made at `issued_at`; as far as it has told.
    pub fn state(&self, issued_at: Timestamp, now: Timestamp) -> IngressState {
        if self.acknowledged.is_some_and(|seq| seq >= self.wanted) {
            return IngressState::Current;
        }
        let is_new = now.since(issued_at) < BEHIND && self.refused.is_none();
        let lacks_many = self.acknowledged.is_some_and(|seq| seq > 0 && self.wanted - seq > LACKS);
        if is_new && !lacks_many { IngressState::Updating } else { IngressState::Behind }
    }
}

/// The traffic of an environment, or of one service of it; `None` if it has no table.
pub fn routes(
    traffic: &Traffic,
    environment: &EnvironmentId,
    only: Option<&ServiceName>,
) -> Option<RoutesView> {
    let table = traffic.tables.get(environment)?;
    let services = table.routes.services.iter();
    let services = services.filter(|service| only.is_none_or(|only| only == &service.service));
    let ingresses = traffic.ingresses.iter().filter(|(_, of)| of.serves.contains(environment));
    let ingress = |(host, ingress): (&HostId, &crate::traffic::Ingress)| {
        let report = ingress.processes.serving();
        let in_flight = ingress.processes.all().map(|report| under_way(report, environment));
        IngressView {
            host: host.clone(),
            desired: table.routes.seq,
            wanted: table.routes.seq,
            acknowledged: report.and_then(|report| acknowledged(report, table)),
            in_flight: in_flight.fold(0, u64::saturating_add),
            refused: report.and_then(|report| Some(report.refused.get(environment)?.to_string())),
            host_state: None,
            as_of: None,
        }
    };
    Some(RoutesView {
        environment: environment.clone(),
        seq: table.routes.seq,
        issued_at: table.routes.issued_at,
        services: services.map(|service| routed(traffic, table, service)).collect(),
        ingresses: ingresses.map(ingress).collect(),
    })
}

/// The number of the table in force; 0 for one of an older epoch.
fn acknowledged(report: &IngressReport, table: &Table) -> Option<u64> {
    let in_force = report.tables.get(&table.routes.environment)?;
    Some(if in_force.epoch < table.routes.epoch { 0 } else { in_force.seq })
}

fn under_way(report: &IngressReport, environment: &EnvironmentId) -> u64 {
    let services = report.services.iter().filter(|(service, _)| &service.environment == environment);
    let endpoints = services.flat_map(|(_, service)| &service.endpoints);
    endpoints.fold(0, |sum, of| sum.saturating_add(of.in_flight).saturating_add(of.tunnels))
}

fn routed(traffic: &Traffic, table: &Table, service: &RoutedService) -> RoutedView {
    let id = ServiceId::new(table.routes.environment.clone(), service.service.clone());
    let counters: BTreeMap<_, _> =
        service.releases.iter().map(|share| (share.release, share.counter)).collect();
    let names = table.routes.names.iter().filter(|name| name.service == service.service);
    let name = |name: &crate::traffic::Name| Route {
        host: name.host.clone(),
        path: name.path.clone(),
        port: name.port.clone(),
        preview: service
            .matches
            .iter()
            .any(|rule| is_host_name(rule.on, &rule.name) && rule.value == name.host),
    };
    let endpoint = |endpoint: &Endpoint| {
        let address = SocketAddr::new(endpoint.address, endpoint.number);
        let is_it = |of: &&EndpointTraffic| of.address == address && of.release == endpoint.release;
        let reports =
            traffic.ingresses.iter().flat_map(|(host, of)| of.processes.all().map(move |of| (host, of)));
        let of_service = reports.filter_map(|(host, report)| Some((host, report.services.get(&id)?)));
        let said: Vec<(&HostId, &EndpointTraffic)> = of_service
            .flat_map(|(host, of)| of.endpoints.iter().filter(is_it).map(move |of| (host, of)))
            .collect();
        let out = |state: EndpointState| matches!(state, EndpointState::Ejected | EndpointState::Unready);
        let known_to: BTreeSet<&HostId> = said.iter().map(|(host, _)| *host).collect();
        let used_by: BTreeSet<&HostId> =
            said.iter().filter(|(_, of)| !out(of.state)).map(|(host, _)| *host).collect();
        let stands_in = said.iter().any(|(_, of)| of.state == EndpointState::Healthy);
        let state = match endpoint.draining {
            true if endpoint.stands_by.is_some() && !stands_in => "stands_by",
            true if endpoint.stands_by.is_some() => "stands_in",
            true => "draining",
            false if !said.is_empty() && used_by.is_empty() => "ejected",
            false => "serving",
        };
        let under_way = said.iter().map(|(_, of)| of.in_flight.saturating_add(of.tunnels));
        let in_flight = under_way.fold(0, u64::saturating_add);
        EndpointView {
            host: endpoint.host.clone(),
            address,
            port: endpoint.port.clone(),
            release: counters.get(&endpoint.release).copied(),
            state: state.to_owned(),
            in_flight,
            avoided_by: known_to.difference(&used_by).map(|host| (*host).clone()).collect(),
            host_state: None,
            as_of: None,
        }
    };
    RoutedView {
        service: service.service.clone(),
        names: names.map(name).collect(),
        releases: service
            .releases
            .iter()
            .map(|share| ShareView { release: share.counter, weight: share.weight, recent: None })
            .collect(),
        endpoints: service.endpoints.iter().map(endpoint).collect(),
        nobody: None,
    }
}

/// Conditions of the traffic of a service: nobody answers under its names, or an ingress has not taken the newest table.
pub fn routes_conditions(
    service: &Service,
    slots: &Slots,
    traffic: &Traffic,
    now: Timestamp,
) -> Vec<ConditionView> {
    let environment = &service.id.environment;
    let Some(view) = routes(traffic, environment, Some(&service.id.name)) else { return Vec::new() };
    let Some(routed) = view.services.first().filter(|routed| !routed.names.is_empty()) else {
        return Vec::new();
    };
    let condition = |code: &str, host: &HostId, message: String| ConditionView {
        code: code.to_owned(),
        message,
        host: host.clone(),
        slot: None,
        instance: None,
        device: None,
        since: Some(view.issued_at),
        not_ready: None,
        last_exit: None,
    };
    let mut found = Vec::new();
    if let Some(assignment) = slots.values().next().filter(|_| routed.is_unserved()) {
        let name = routed.names.first().map(Route::name).unwrap_or_default();
        found.push(condition(
            "no_endpoint",
            assignment.host(),
            format!("no instance takes requests for {name}"),
        ));
    }
    for ingress in view.ingresses.iter().filter(|of| of.state(view.issued_at, now) == IngressState::Behind) {
        let has = ingress.acknowledged.map_or_else(|| "none".to_owned(), |seq| seq.to_string());
        let why = ingress.refused.as_ref().map(|why| format!(", and refuses it: {why}")).unwrap_or_default();
        let text = format!("its ingress has table {has} of {}{why}", ingress.wanted);
        found.push(condition("ingress_behind", &ingress.host, text));
    }
    found
}

#[cfg(test)]
mod tests;
