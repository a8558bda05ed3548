//! Whether requests still go to an instance: what a rollout asks before it stops one.
//!
//! An instance is free when every ingress that counts has taken a table in which it gets no new requests, with all of its
//! processes, and none of them reports a request under way on it. One that says nothing keeps the instance alive until the
//! drain timeout of the service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{EnvironmentId, HostId, ServiceId, ServiceName};
use crate::time::Timestamp;
use crate::units::Span;

use super::{IngressReport, Processes, RoutedService, Routes, Split, TableInForce, Weight, is_host_name};

/// Endpoints that left a table, and are remembered.
pub const MAX_LEFT: usize = 16_384;

/// The table of an environment, and what has left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The newest table.
    pub routes: Routes,
    /// Digest of its payload.
    pub digest: Digest,
    /// Endpoints that get no new requests any more: they drain, or are not in the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Left>,
    /// The first table in which a service had the shares that it has in this one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weighed: BTreeMap<ServiceName, Weighed>,
    /// The table since which every endpoint that left is remembered: of this epoch, since nothing is known of tables that a store
    /// lost. Absent in what an older coordinator wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Weighed>,
}

/// A table by its place in the order of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Weighed {
    /// Its epoch.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
}

/// An endpoint that gets no new requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The host it is on.
    pub host: HostId,
    /// The port of the host.
    pub number: u16,
    /// The release of its instance.
    pub release: Digest,
    /// The first table without it.
    pub seq: u64,
    /// The epoch of that table.
    pub epoch: u64,
    /// When that was made.
    pub at: Timestamp,
}

type Key<'a> = (&'a HostId, u16, &'a Digest);

/// Since which table each service of `routes` has the shares that it has there.
fn weighed(before: Option<&Table>, routes: &Routes) -> BTreeMap<ServiceName, Weighed> {
    let shares = |service: &RoutedService| -> BTreeSet<(Digest, Weight)> {
        service.releases.iter().filter_map(|share| Some((share.release, share.weight?))).collect()
    };
    let divided = |service: &RoutedService| (shares(service), service.matches.clone());
    let mut weighed = BTreeMap::new();
    for service in routes.services.iter().filter(|service| !shares(service).is_empty()) {
        let was =
            before.and_then(|table| table.routes.services.iter().find(|of| of.service == service.service));
        let same = was.is_some_and(|was| divided(was) == divided(service));
        let since = before.filter(|_| same).and_then(|table| table.weighed.get(&service.service).copied());
        let newest = Weighed { epoch: routes.epoch, seq: routes.seq };
        weighed.insert(service.service.clone(), since.unwrap_or(newest));
    }
    weighed
}

/// Whether every ingress that counts divides the requests of a service as it is meant to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Every one.
    ByAll,
    /// No table says it yet.
    NotSaid,
    /// These have not taken the table that says it.
    Missing(Vec<HostId>),
}

impl Table {
    /// The table after `before`: what got requests there and gets none here has left, as of now.
    pub fn next(before: Option<&Self>, routes: Routes, digest: Digest) -> Self {
        let serving = |routes: &Routes| -> BTreeSet<(HostId, u16, Digest)> {
            let endpoints = routes.services.iter().flat_map(|service| &service.endpoints);
            let serving = endpoints.filter(|endpoint| !endpoint.draining);
            serving.map(|e| (e.host.clone(), e.number, e.release)).collect()
        };
        let now = serving(&routes);
        let mut left: Vec<Left> = Vec::new();
        if let Some(before) = before {
            let gone = serving(&before.routes).into_iter().filter(|key| !now.contains(key));
            left.extend(gone.map(|(host, number, release)| {
                let (seq, epoch, at) = (routes.seq, routes.epoch, routes.issued_at);
                Left { host, number, release, seq, epoch, at }
            }));
            let fresh: BTreeSet<_> =
                left.iter().map(|left| (left.host.clone(), left.number, left.release)).collect();
            let still = |left: &&Left| {
                let key = (left.host.clone(), left.number, left.release);
                !now.contains(&key) && !fresh.contains(&key)
            };
            left.extend(before.left.iter().filter(still).cloned());
        }
        let newest = Weighed { epoch: routes.epoch, seq: routes.seq };
        let goes_on = before.filter(|before| before.routes.epoch == routes.epoch && left.len() <= MAX_LEFT);
        let since = goes_on.and_then(|before| before.since).unwrap_or(newest);
        // The newest stand first.
        left.truncate(MAX_LEFT);
        let weighed = weighed(before, &routes);
        Self { routes, digest, left, weighed, since: Some(since) }
    }

    fn left(&self, (host, number, release): Key<'_>) -> Option<&Left> {
        let same = |left: &&Left| &left.host == host && left.number == number && &left.release == release;
        self.left.iter().find(same)
    }
}

/// An ingress that counts.
#[derive(Debug, Clone)]
pub struct Ingress {
    /// The newest reports of its processes since the coordinator began.
    pub processes: Processes,
    /// Since when it is listened to: a silence counts from then.
    pub since: Timestamp,
    /// The environments that its host serves.
    pub serves: BTreeSet<EnvironmentId>,
}

impl Ingress {
    /// Whether all of its processes follow the table with this epoch and number, or a later one.
    fn has_taken(&self, environment: &EnvironmentId, needed: (u64, u64), now: Timestamp) -> bool {
        self.each(now, |report| {
            let in_force = report.tables.get(environment);
            in_force.is_some_and(|table| (table.epoch, table.seq) >= needed)
        })
    }

    /// Whether all of its processes follow this table or a later one, or none at all.
    fn is_from(&self, environment: &EnvironmentId, since: Weighed, now: Timestamp) -> bool {
        let is_from = |table: &TableInForce| (table.epoch, table.seq) >= (since.epoch, since.seq);
        self.each(now, |report| report.tables.get(environment).is_none_or(is_from))
    }

    /// Whether it has reported, and `holds` of each of its processes. One that has ended sends no request to anybody.
    fn each(&self, now: Timestamp, holds: impl Fn(&IngressReport) -> bool) -> bool {
        let has_ended = |report: &IngressReport| report.ending && report.under_way() == 0;
        self.processes.are_known(now) && self.processes.all().all(|of| has_ended(of) || holds(of))
    }
}

/// Tables and ingresses, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// The newest table of each environment.
    pub tables: BTreeMap<EnvironmentId, Arc<Table>>,
    /// Ingresses that count, by host: from their first report until they are forgotten or evicted.
    pub ingresses: BTreeMap<HostId, Ingress>,
}

/// An instance of a service, by where it answers.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its service.
    pub service: &'a ServiceId,
    /// Its host.
    pub host: &'a HostId,
    /// The host's address.
    pub address: IpAddr,
    /// Its release.
    pub release: &'a Digest,
    /// The ports of the host that belong to it.
    pub ports: &'a [u16],
    /// Time for which requests may keep it alive.
    pub drain_timeout: Span,
}

/// An ingress of which nothing is heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Silent {
    /// Its host.
    pub host: HostId,
    /// Since when.
    pub since: Timestamp,
}

/// Whether requests go to an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routed {
    /// Every ingress that counts has taken a table in which it gets no new requests.
    pub acknowledged_by_all: bool,
    /// Requests and tunnels under way on it, in all that report.
    pub in_flight: u64,
    /// Ingresses that have not acknowledged such a table.
    pub missing: Vec<HostId>,
    /// Ingresses that are waited for and of which nothing is heard.
    pub silent: Vec<Silent>,
    /// When its drain timeout passes; `None` while it is in the table.
    pub until: Option<Timestamp>,
    /// Its drain timeout has passed: whatever is under way or unknown keeps it alive no longer.
    pub timed_out: bool,
}

impl Routed {
    /// Returns whether it may be stopped.
    pub const fn is_free(&self) -> bool {
        self.timed_out || (self.acknowledged_by_all && self.in_flight == 0)
    }
}

/// The release of the split that alone has instances that answer, where the table divides nothing for that reason.
fn alone(routed: &RoutedService, split: &Split) -> Option<Digest> {
    let is_divided = routed.releases.iter().any(|share| share.release == split.new && share.weight.is_some());
    let serves = |release: &Digest| {
        routed.endpoints.iter().any(|endpoint| &endpoint.release == release && !endpoint.draining)
    };
    match (serves(&split.new), serves(&split.old)) {
        _ if is_divided => None,
        (true, false) => Some(split.new),
        (false, true) => Some(split.old),
        (true, true) | (false, false) => None,
    }
}

impl Traffic {
    /// Whether the requests of a service are divided by `split`, everywhere.
    pub fn taken(&self, service: &ServiceId, split: &Split, now: Timestamp) -> Taken {
        let environment = &service.environment;
        let counted = || self.ingresses.iter().filter(|(_, of)| of.serves.contains(environment));
        if counted().next().is_none() {
            return Taken::ByAll;
        }
        let Some(table) = self.tables.get(environment) else { return Taken::NotSaid };
        let Some(routed) = table.routes.services.iter().find(|of| of.service == service.name) else {
            return Taken::NotSaid;
        };
        let share =
            routed.releases.iter().find(|share| share.release == split.new).and_then(|share| share.weight);
        // If one of the two has no instance, the other one has every request.
        let alone = alone(routed, split).is_some();
        let rules: Vec<_> = routed.matches.iter().filter(|rule| !is_host_name(rule.on, &rule.name)).collect();
        let ruled = rules.len() == split.matches.len()
            && rules.iter().zip(&split.matches).all(|(has, rule)| rule.is(has));
        if (share != Some(split.weight) || !ruled) && !alone {
            return Taken::NotSaid;
        }
        let newest = Weighed { epoch: table.routes.epoch, seq: table.routes.seq };
        let needed = table.weighed.get(&service.name).copied().unwrap_or(newest);
        let needed = (needed.epoch, needed.seq);
        let has_it = |of: &Ingress| of.has_taken(environment, needed, now);
        let missing: Vec<HostId> =
            counted().filter(|(_, of)| !has_it(of)).map(|(host, _)| host.clone()).collect();
        if missing.is_empty() { Taken::ByAll } else { Taken::Missing(missing) }
    }

    /// The release of a split that has every request, whatever its share: the other one has no instance that answers.
    pub fn alone(&self, service: &ServiceId, split: &Split) -> Option<Digest> {
        let table = self.tables.get(&service.environment)?;
        alone(table.routes.services.iter().find(|of| of.service == service.name)?, split)
    }

    /// The ports of a release on a host that get requests by the newest table, or got some before.
    pub fn ports(&self, service: &ServiceId, host: &HostId, release: &Digest) -> Vec<u16> {
        let Some(table) = self.tables.get(&service.environment) else { return Vec::new() };
        let services = table.routes.services.iter().filter(|of| of.service == service.name);
        let endpoints = services.flat_map(|of| &of.endpoints).map(|of| (&of.host, &of.release, of.number));
        let left = table.left.iter().map(|of| (&of.host, &of.release, of.number));
        let its = endpoints.chain(left).filter(|of| (of.0, of.1) == (host, release));
        its.map(|(.., number)| number).collect::<BTreeSet<u16>>().into_iter().collect()
    }

    /// Whether requests go to an instance, now.
    pub fn routed(&self, asked: &Asked<'_>, now: Timestamp) -> Routed {
        let environment = &asked.service.environment;
        let Some(table) = self.tables.get(environment) else {
            // Nothing was ever routed here.
            return Routed { acknowledged_by_all: true, ..Routed::default() };
        };
        let serving = |port: &u16| {
            let services = table.routes.services.iter();
            let mut endpoints =
                services.filter(|of| of.service == asked.service.name).flat_map(|of| &of.endpoints);
            endpoints.any(|e| {
                !e.draining && &e.host == asked.host && e.number == *port && &e.release == asked.release
            })
        };
        let is_in_table = asked.ports.iter().any(serving);
        let left = asked.ports.iter().filter_map(|port| table.left((asked.host, *port, asked.release)));
        let left = left.map(|left| ((left.epoch, left.seq), left.at)).max();
        // An instance that no remembered table has had gets no request from an ingress that follows one of them.
        let never_in = table.since.filter(|_| left.is_none() && !is_in_table);
        let newest = (table.routes.epoch, table.routes.seq);
        let (needed, at) = left.unwrap_or((newest, table.routes.issued_at));
        let mut routed = Routed::default();
        for (host, ingress) in self.ingresses.iter().filter(|(_, of)| of.serves.contains(environment)) {
            let has_taken = ingress.has_taken(environment, needed, now)
                || never_in.is_some_and(|since| ingress.is_from(environment, since, now));
            let in_flight = ingress.processes.all().map(|report| under_way(report, asked));
            let in_flight = in_flight.fold(0, u64::saturating_add);
            if is_in_table || !has_taken {
                routed.missing.push(host.clone());
            }
            if (!has_taken || in_flight > 0)
                && let Some(since) = ingress.processes.silent_since(ingress.since, now)
            {
                routed.silent.push(Silent { host: host.clone(), since });
            }
            routed.in_flight = routed.in_flight.saturating_add(in_flight);
        }
        routed.acknowledged_by_all = !is_in_table && routed.missing.is_empty();
        routed.until = (!is_in_table).then(|| at + asked.drain_timeout.duration());
        routed.timed_out = routed.until.is_some_and(|until| until <= now);
        routed
    }
}

/// Requests and tunnels of one report on the ports of an instance.
fn under_way(report: &IngressReport, asked: &Asked<'_>) -> u64 {
    let Some(service) = report.services.get(asked.service) else { return 0 };
    let is_its =
        |address: &SocketAddr| address.ip() == asked.address && asked.ports.contains(&address.port());
    let endpoints = service.endpoints.iter().filter(|endpoint| is_its(&endpoint.address));
    let endpoints = endpoints.filter(|endpoint| &endpoint.release == asked.release);
    endpoints.fold(0, |sum, endpoint| sum.saturating_add(endpoint.in_flight).saturating_add(endpoint.tunnels))
}

#[cfg(test)]
mod tests;
