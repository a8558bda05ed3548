//! Before an instance stops, its requests end: no transition stops one that an ingress may still send requests to.

use std::net::IpAddr;

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::Instance;
use crate::plan::Order;
use crate::slot::{HeldUp, Intent, Older, Transition, Waiting};
use crate::traffic::{Asked, Routed, port_of};
use crate::units::Span;

use super::planner::Planner;

impl Planner<'_> {
    /// Whether an instance of `slot` that would not run under `after` has to drain first. If so, it drains from now on.
    pub(crate) fn drains_first(&mut self, slot: &SlotId, after: &Intent) -> bool {
        let Some(traffic) = self.snapshot.fleet.traffic() else { return false };
        let environment = &self.service.id.environment;
        if !traffic.ingresses.values().any(|ingress| ingress.serves.contains(environment)) {
            return false;
        }
        let before = Intent::from(&self.slots[slot]);
        if self.gives_place(slot, &before, after) {
            return true;
        }
        let target = Some(before.release).filter(|_| before.run.runs());
        let other = before.other.filter(|(_, run)| run.runs()).map(|(release, _)| release);
        // The instance that a restart replaces is of the same release.
        let goes_first = after.release == before.release
            && after.generation > before.generation
            && after.order == Order::StopFirst;
        let waits = |release: Option<Digest>| {
            let stops =
                |release: &Digest| !after.has_run(release) || (goes_first && *release == after.release);
            let release = release.filter(stops)?;
            self.still_routed(slot, &release, u64::MAX)
        };
        let (target, other) = (waits(target), waits(other));
        let lets_go = before.older == Some(Older::Kept) && after.older == Some(Older::LetGo);
        let older = Some(before.release).filter(|_| lets_go);
        let older = older.and_then(|release| self.still_routed(slot, &release, before.generation));
        let all = [&target, &other, &older].into_iter().flatten();
        let Some(routed) = all.max_by_key(|(_, timeout)| *timeout).cloned() else {
            return false;
        };
        self.note_drain(slot, routed);
        // The table leads nowhere but to the newer instance while that serves.
        if older.is_some() {
            return true;
        }
        self.apply(slot, &Transition::Drain { target: target.is_some(), other: other.is_some() });
        true
    }

    /// Whether the host has restored an instance that would not run under `after` and that requests may go to. From now on the slot
    /// has a place for it, in which it can drain.
    fn gives_place(&mut self, slot: &SlotId, before: &Intent, after: &Intent) -> bool {
        // A target that succeeds after all starts anew by itself.
        let is_promoted = after.good && after.release == before.release;
        let restored = self.facts(slot).restored();
        let Some(release) = restored.filter(|release| !is_promoted && !after.has_run(release)) else {
            return false;
        };
        let Some(routed) = self.still_routed(slot, &release, u64::MAX) else { return false };
        self.note_drain(slot, routed);
        self.apply(slot, &Transition::Restored { release });
        true
    }

    /// Notes what the slot waits for.
    fn note_drain(&mut self, slot: &SlotId, (routed, timeout): (Routed, Span)) {
        let Routed { in_flight, missing, silent, until, .. } = routed;
        let by = Box::new(HeldUp { missing, silent, until });
        let waiting = Waiting::Drain { host: self.host(slot), slot: slot.clone(), in_flight, by };
        self.drain(slot, timeout.duration(), waiting);
    }

    /// Requests that may still go to the instances of `release` of a generation below `below`, and how long they keep them alive; `None`
    /// if they may stop: none runs as far as is known, its host is lost, or no request is under way and none will come.
    fn still_routed(&self, slot: &SlotId, release: &Digest, below: u64) -> Option<(Routed, Span)> {
        let (facts, traffic) = (self.facts(slot), self.snapshot.fleet.traffic()?);
        let spec = &self.release(release)?.spec;
        let member = self.member_of(slot).filter(|_| !facts.is_lost())?;
        let address: IpAddr = member.facts.address.parse().ok()?;
        let runs =
            |seen: &&Instance| &seen.release == release && seen.generation < below && seen.state.is_running();
        // A host that is silent, or has connected again and not reported yet, is taken at its last word. Of one that has said
        // nothing since this coordinator began, the table tells.
        let word = member.observation.as_deref().or(member.last_report.as_deref());
        let ports: Vec<u16> = match word {
            Some(word) => {
                let instances = word.slot(slot)?.instances.iter().filter(runs);
                let texts = instances.flat_map(|seen| seen.endpoints.values());
                texts.filter_map(|text| port_of(text)).collect()
            }
            None => traffic.ports(&self.service.id, facts.host(), release),
        };
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
        let routed = traffic.routed(&asked, self.now());
        (!routed.is_free()).then_some((routed, asked.drain_timeout))
    }
}
