//! From the tables as signed to what requests look up: targets, with their endpoints and counters.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use windlass_core::traffic::{Endpoint as Place, RoutedService};
use windlass_core::{Digest, ServiceId};

use super::next::{Close, Found, Next};
use super::{Kept, Population, Registry};
use crate::counters::ReleaseCounters;
use crate::held::places;
use crate::inner::Inner;
use crate::limits::Limits;
use crate::table::Table;
use crate::target::{Release, Target, full_name};
use crate::upstream::{Endpoint, EndpointKey};

impl Registry {
    /// Compiles all tables.
    pub(super) fn compile(&mut self, limits: &Limits, now: Instant) -> Next {
        let mut table = Table::default();
        let mut inner: Vec<Inner> = self.networks.iter().cloned().map(Inner::new).collect();
        let mut found = Found::default();
        let documents = std::mem::take(&mut self.documents);
        for routes in documents.values() {
            let mut targets = HashMap::new();
            for service in &routes.services {
                let id = full_name(&routes.environment, service);
                let service = Arc::new(service.clone());
                for port in service.ports.keys() {
                    let target = Arc::new(self.target(&id, &service, port, &mut found, limits, now));
                    let container = service.ports.get(port).map_or(0, |port| port.container);
                    let called = inner.iter_mut().filter(|inner| *inner.environment() == routes.environment);
                    called.for_each(|inner| inner.add(&target, container));
                    targets.insert((service.service.clone(), port.clone()), target);
                }
            }
            for name in &routes.names {
                if let Some(target) = targets.get(&(name.service.clone(), name.port.clone())) {
                    table.add(&name.host, &name.path, Arc::clone(target));
                }
            }
        }
        inner.into_iter().for_each(|inner| table.inner.add(inner));
        self.documents = documents;
        self.retire(&mut found, now);
        // Those of services that are in no table; the table before has the newest ones still.
        self.waiting.retain(|_, count| Arc::strong_count(count) > 1);
        Next { table, closes: found.closes }
    }

    fn target(
        &mut self,
        id: &ServiceId,
        service: &Arc<RoutedService>,
        port: &str,
        found: &mut Found,
        limits: &Limits,
        now: Instant,
    ) -> Target {
        let protocol = service.ports.get(port).map(|port| port.protocol).unwrap_or_default();
        let mut all = Vec::new();
        let (places, restored) = places(self.held.as_ref(), id, service, port);
        let mut standing = Vec::new();
        for place in places {
            let key = EndpointKey {
                address: SocketAddr::new(place.address, place.number),
                release: place.release,
                protocol: protocol.into(),
            };
            let endpoint = match self.endpoints.get(&key).cloned() {
                Some(known) if place.draining => {
                    found.closes.push(Close::Drains(Arc::clone(&known)));
                    known
                }
                known => {
                    let endpoint = known.unwrap_or_else(|| Endpoint::new(key, limits, now));
                    endpoint.set_draining(place.draining);
                    endpoint
                }
            };
            standing.push((Arc::clone(&endpoint), place));
            endpoint.set_drain(service.drain.duration());
            let path = service.ports.get(port).and_then(|port| port.probe.as_ref());
            endpoint.set_probe(path, service.releases.len() > 1);
            found.endpoints.insert(key, Arc::clone(&endpoint));
            self.owners.insert(key, id.clone());
            all.push(endpoint);
        }
        let mut standbys = BTreeMap::new();
        let serving = |address| {
            let at = |of: &&(Arc<Endpoint>, Place)| !of.1.draining && of.0.key.address == address;
            standing.iter().find(at).map(|(first, _)| Arc::clone(first))
        };
        let mut firsts = HashMap::new();
        for (endpoint, place) in &standing {
            let Some(stands_by) = place.stands_by else {
                found.closes.push(Close::StandsByNoLonger(Arc::clone(endpoint)));
                continue;
            };
            let beside = |number| serving(SocketAddr::new(endpoint.key.address.ip(), number));
            let first = stands_by.instead_of.and_then(beside);
            if let Some(first) = &first {
                firsts.insert(endpoint.key, first.key.release);
            }
            let counters = self.counters(id, Some(endpoint.key.release), Population::Unconfirmed);
            standbys.insert(endpoint.key.release, counters);
            endpoint.set_standby(Some(first));
        }
        // A restored release takes the share of the one that failed.
        let of_release = |endpoint: &Endpoint, release: &Digest| {
            let failed = restored.get(&endpoint.key.address).or_else(|| firsts.get(&endpoint.key));
            *failed.unwrap_or(&endpoint.key.release) == *release
        };
        let releases = service.releases.iter().map(|share| {
            let weighted = self.kept(id, Some(share.release), Population::Weighted);
            weighted.number = Some(share.counter);
            Release {
                endpoints: all.iter().filter(|e| of_release(e, &share.release)).cloned().collect(),
                counters: Arc::clone(&weighted.counters),
                matched: self.counters(id, Some(share.release), Population::Matched),
            }
        });
        let releases = releases.collect();
        let named = |release: &Digest| service.releases.iter().any(|share| share.release == *release);
        let unnamed: BTreeSet<Digest> =
            all.iter().map(|endpoint| endpoint.key.release).filter(|release| !named(release)).collect();
        let unnamed = unnamed.into_iter().map(|release| {
            let counters = self.counters(id, Some(release), Population::Weighted);
            (release, counters, self.counters(id, Some(release), Population::Matched))
        });
        let unnamed = unnamed.collect();
        Target {
            id: id.clone(),
            protocol,
            releases,
            unnamed,
            standbys,
            all,
            nobody: self.counters(id, None, Population::Weighted),
            hold: service.hold.map(|hold| hold.duration()),
            slow_start: service.slow_start.map(|whole| whole.duration()),
            waiting: Arc::clone(self.waiting.entry(id.clone()).or_default()),
            service: Arc::clone(service),
        }
    }

    fn counters(&mut self, id: &ServiceId, release: Option<Digest>, of: Population) -> Arc<ReleaseCounters> {
        Arc::clone(&self.kept(id, release, of).counters)
    }

    fn kept(&mut self, id: &ServiceId, release: Option<Digest>, of: Population) -> &mut Kept {
        self.counters.entry((id.clone(), release, of)).or_default()
    }
}
