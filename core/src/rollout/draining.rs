//! Before an instance stops, its requests end: no transition stops one that an ingress may still send requests to.

use std::net::IpAddr;

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::Instance;
use crate::slot::{Intent, Transition, Waiting};
use crate::traffic::{Asked, Routed};
use crate::units::Span;

use super::draft::Draft;

impl Draft<'_> {
    /// Whether an instance of `slot` that would not run under `after` has to drain first. If so, it drains from now on.
    pub(crate) fn drains_first(&mut self, slot: &SlotId, after: &Intent) -> bool {
        let Some(traffic) = self.snapshot.fleet.traffic() else { return false };
        let environment = &self.service.id.environment;
        if !traffic.ingresses.values().any(|ingress| ingress.serves.contains(environment)) {
            return false;
        }
        let before = Intent::from(&self.slots[slot]);
        let target = Some(before.release).filter(|_| before.run.runs());
        let other = before.other.filter(|(_, run)| run.runs()).map(|(release, _)| release);
        let waits = |release: Option<Digest>| {
            let release = release.filter(|release| !after.has_run(release))?;
            self.still_routed(slot, &release)
        };
        let (target, other) = (waits(target), waits(other));
        let Some(routed) = target.clone().or_else(|| other.clone()) else { return false };
        let timeout = self.release(&before.release).map(|release| release.spec.traffic.drain_timeout());
        let (host, id) = (self.host(slot), slot.clone());
        let Routed { in_flight, missing, .. } = routed;
        let waiting = Waiting::Drain { host, slot: id, in_flight, missing };
        let timeout = timeout.map(Span::duration).unwrap_or_default();
        self.drain(slot, timeout, waiting);
        self.apply(slot, &Transition::Drain { target: target.is_some(), other: other.is_some() });
        true
    }

    /// Which requests may still go to the instance of `release`; `None` if it may stop: it does not run as far as is known,
    /// nothing can be done on its host, or no request is under way and none will come.
    fn still_routed(&self, slot: &SlotId, release: &Digest) -> Option<Routed> {
        let (facts, traffic) = (self.facts(slot), self.snapshot.fleet.traffic()?);
        let spec = &self.release(release)?.spec;
        let member = self.member_of(slot).filter(|_| !facts.is_out_of_reach())?;
        let address: IpAddr = member.facts.address.parse().ok()?;
        let runs = |seen: &&Instance| &seen.release == release && seen.state.is_running();
        let instances = facts.last()?.instances.iter().filter(runs);
        let ports = instances.flat_map(|seen| seen.endpoints.values()).filter_map(|text| port(text));
        let ports: Vec<u16> = ports.collect();
        if ports.is_empty() {
            return None;
        }
        let asked = Asked {
            service: &self.service.id,
            host: facts.host(),
            address,
            release,
            ports: &ports,
            drain_timeout: spec.traffic.drain_timeout(),
        };
        Some(traffic.routed(&asked, self.now())).filter(|routed| !routed.is_free())
    }
}

/// The port of `address:port`.
fn port(endpoint: &str) -> Option<u16> {
    endpoint.rsplit(':').next()?.parse().ok()
}
