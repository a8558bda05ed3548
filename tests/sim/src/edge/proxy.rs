//! An ingress process: the table that it follows, the requests that it leads by it, and what it counts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use windlass_core::traffic::{
    Choice, Counts, Endpoint, EndpointState, EndpointTraffic, IngressReport, Position, REPORT_QUIET,
    ReleaseTraffic, RoutedService, Routes, ServiceTraffic, TableInForce, choose,
};
use windlass_core::{Digest, HostId, ServiceId, ServiceName, Timestamp};

use super::Kept;
use crate::context::Context;
use crate::host::Host;

/// An instance, by where it answers.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its service.
    pub service: ServiceId,
    /// Its host.
    pub host: HostId,
    /// Its release.
    pub release: Digest,
    /// Ports of the host that belong to it.
    pub ports: Vec<u16>,
}

/// A request under way.
#[derive(Debug, Clone)]
struct Flight {
    service: ServiceName,
    host: HostId,
    address: IpAddr,
    number: u16,
    release: Digest,
    ends: Timestamp,
}

/// An ingress process.
#[derive(Debug)]
pub struct Proxy {
    number: u64,
    started_at: Timestamp,
    /// When it ends at the latest, once it was taken over.
    ends: Option<Timestamp>,
    /// When it accepts requests at the latest: until then it waits for the newest table of its agent.
    opens_at: Timestamp,
    /// The table in force, and since when by the host's clock.
    table: Option<(Kept, Timestamp)>,
    flights: Vec<Flight>,
    counts: BTreeMap<(ServiceName, Digest), Counts>,
    nobody: BTreeMap<ServiceName, Counts>,
    said_at: Timestamp,
    has_news: bool,
}

impl Proxy {
    /// One that begins with the table that was written down, in force since then.
    pub(super) const fn new(
        number: u64,
        (started_at, opens_at): (Timestamp, Timestamp),
        table: Option<(Kept, Timestamp)>,
    ) -> Self {
        Self {
            number,
            started_at,
            ends: None,
            opens_at,
            table,
            flights: Vec::new(),
            counts: BTreeMap::new(),
            nobody: BTreeMap::new(),
            said_at: Timestamp::ZERO,
            has_news: true,
        }
    }

    /// Its number on its host.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether a successor has its listeners.
    pub const fn is_ending(&self) -> bool {
        self.ends.is_some()
    }

    /// The table in force.
    pub fn table(&self) -> Option<&Kept> {
        self.table.as_ref().map(|(table, _)| table)
    }

    pub(super) const fn end(&mut self, until: Timestamp) {
        self.ends = Some(until);
        self.has_news = true;
    }

    /// Its agent has told it the newest table that it has.
    pub(super) fn is_told(&mut self, now: Timestamp) {
        self.opens_at = self.opens_at.min(now);
    }

    /// Whether it accepts requests.
    fn accepts(&self, now: Timestamp) -> bool {
        !self.is_ending() && self.opens_at <= now
    }

    pub(super) const fn has_news(&mut self) {
        self.has_news = true;
    }

    /// Whether it has nothing left, and has said so.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| now >= ends || (self.flights.is_empty() && !self.has_news))
    }

    /// A newer table is in force. What has left it may finish for so long as its service says.
    pub(super) fn follow(&mut self, table: Kept, now: Timestamp, clock: Timestamp) {
        for flight in &mut self.flights {
            let of = table.routes.services.iter().find(|of| of.service == flight.service);
            let stays = of.is_some_and(|of| of.endpoints.iter().any(|at| flight.is_on(at) && !at.draining));
            if !stays {
                let drain = of.map_or(Duration::ZERO, |of| of.drain.duration());
                flight.ends = flight.ends.min(now + drain);
            }
        }
        self.table = Some((table, clock));
        self.has_news = true;
    }

    /// Whether requests are led to an instance by the table in force, or are under way on it.
    pub fn leads_to(&self, instance: &Instance, now: Timestamp) -> bool {
        let is_its = |host: &HostId, number: u16, release: &Digest| {
            host == &instance.host && release == &instance.release && instance.ports.contains(&number)
        };
        let under_way = |of: &Flight| of.ends > now && is_its(&of.host, of.number, &of.release);
        let new = |of: &Endpoint| !of.draining && is_its(&of.host, of.number, &of.release);
        let table = self.table().filter(|_| self.accepts(now));
        let services = table.into_iter().flat_map(|table| &table.routes.services);
        let mut of_it = services.filter(|of| of.service == instance.service.name);
        self.flights.iter().any(under_way) || of_it.any(|of| of.endpoints.iter().any(new))
    }

    /// Ends the requests that came to an end since it last looked, and begins new ones.
    pub(super) fn work(&mut self, context: &mut Context, hosts: &[Host]) {
        let (now, before) = (context.now, self.flights.len());
        self.flights.retain(|flight| {
            flight.ends > now && serves(hosts, &flight.host, flight.number, &flight.release)
        });
        self.has_news |= self.flights.len() != before;
        let Some(routes) = self.table().map(|table| table.routes.clone()).filter(|_| self.accepts(now))
        else {
            return;
        };
        for service in &routes.services {
            for _ in 0..6 + context.traffic.below(8) {
                self.request(context, hosts, service);
            }
        }
    }

    /// A client asks for something.
    fn request(&mut self, context: &mut Context, hosts: &[Host], service: &RoutedService) {
        self.has_news = true;
        let release = match choose(service, Position::of_random(context.traffic.roll()), |_, _| None) {
            Choice::Any => None,
            Choice::Weighted(index) | Choice::Matched(index) => service.releases.get(index),
            Choice::Nobody => return self.refuse(service),
        };
        let release = release.map(|share| share.release);
        let fits = |at: &&Endpoint| !at.draining && release.is_none_or(|release| at.release == release);
        let endpoints: Vec<&Endpoint> = service.endpoints.iter().filter(fits).collect();
        if endpoints.is_empty() {
            return self.refuse(service);
        }
        let at = *context.traffic.pick(&endpoints);
        let counts = self.counts.entry((service.service.clone(), at.release)).or_default();
        counts.requests += 1;
        context.checks.led.requests += 1;
        let fails = context.traffic.below(1000) < context.shop.errors(&at.release);
        if fails || !serves(hosts, &at.host, at.number, &at.release) {
            counts.server_error += 1;
            return;
        }
        counts.success += 1;
        let lasts = match context.traffic.below(100) {
            0..2 => context.traffic.millis(8_000, 60_000),
            2..20 => context.traffic.millis(100, 8_000),
            _ => return,
        };
        self.flights.push(Flight {
            service: service.service.clone(),
            host: at.host.clone(),
            address: at.address,
            number: at.number,
            release: at.release,
            ends: context.now + lasts,
        });
    }

    fn refuse(&mut self, service: &RoutedService) {
        let counts = self.nobody.entry(service.service.clone()).or_default();
        counts.requests += 1;
        counts.server_error += 1;
        counts.own_answers += 1;
    }

    /// The report of this moment, `at` by the host's clock, if there is anything to say.
    pub(super) fn report(&mut self, now: Timestamp, at: Timestamp) -> Option<IngressReport> {
        if !self.has_news && now.since(self.said_at) < REPORT_QUIET {
            return None;
        }
        (self.has_news, self.said_at) = (false, now);
        let tables = self.table.iter().map(|(table, applied_at)| {
            let (epoch, committed) = (table.accepted.epoch, table.accepted.committed);
            let in_force =
                TableInForce { epoch, seq: committed.seq, digest: committed.digest, applied_at: *applied_at };
            (table.routes.environment.clone(), in_force)
        });
        let routes = self.table().map(|table| table.routes.clone());
        Some(IngressReport {
            process: self.number,
            started_at: self.started_at,
            at,
            program: "sim".to_owned(),
            routes_versions: windlass_core::traffic::ROUTES_VERSIONS.to_vec(),
            listens: Vec::new(),
            ending: self.is_ending(),
            tables: tables.collect(),
            refused: BTreeMap::new(),
            services: routes.map(|routes| self.services(&routes)).unwrap_or_default(),
            unrouted: 0,
            bad_requests: 0,
            cut_services: 0,
        })
    }

    /// The counts of each service.
    fn services(&self, routes: &Routes) -> BTreeMap<ServiceId, ServiceTraffic> {
        let mut services: BTreeMap<ServiceName, ServiceTraffic> = BTreeMap::new();
        for ((service, release), counts) in &self.counts {
            let of = services.entry(service.clone()).or_default().releases.entry(*release).or_default();
            *of = ReleaseTraffic { weighted: counts.clone(), ..ReleaseTraffic::default() };
        }
        for (service, counts) in &self.nobody {
            services.entry(service.clone()).or_default().nobody = counts.clone();
        }
        let mut flights: BTreeMap<(ServiceName, SocketAddr, Digest), u64> = BTreeMap::new();
        for of in &self.flights {
            let key = (of.service.clone(), SocketAddr::new(of.address, of.number), of.release);
            *flights.entry(key).or_default() += 1;
        }
        for ((service, address, release), in_flight) in flights {
            let of = services.entry(service).or_default();
            if let Some(of_release) = of.releases.get_mut(&release) {
                of_release.weighted.in_flight += in_flight;
            }
            let state = EndpointState::Healthy;
            of.endpoints.push(EndpointTraffic { address, release, state, in_flight, tunnels: 0 });
        }
        let named = |service| ServiceId { environment: routes.environment.clone(), name: service };
        services.into_iter().map(|(service, of)| (named(service), of)).collect()
    }
}

impl Flight {
    fn is_on(&self, at: &Endpoint) -> bool {
        self.host == at.host && self.number == at.number && self.release == at.release
    }
}

/// Whether an instance of the release answers at a port of a host.
fn serves(hosts: &[Host], host: &HostId, number: u16, release: &Digest) -> bool {
    let host = hosts.iter().find(|known| &known.name == host).filter(|known| known.is_on);
    host.is_some_and(|host| {
        host.engine.processes.values().any(|process| {
            let container = &process.container;
            &container.release == release
                && process.serves()
                && container.ports.values().any(|p| *p == number)
        })
    })
}
