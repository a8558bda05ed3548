//! No instance is stopped that an ingress leads requests to, or that has requests under way: looked at where the stop has its
//! effect, on the engine.

use std::collections::BTreeMap;

use windlass_core::host::Liveness;
use windlass_core::plan::Phase;
use windlass_core::slot::{Intent, Older};
use windlass_core::traffic::Table;
use windlass_core::{Digest, HostId, SlotId, Timestamp};
use windlass_server::embedded::View;

use super::{Checks, Exemption};
use crate::context::Context;
use crate::edge::Instance;
use crate::engine::Reachability;
use crate::host::Host;

/// A stop, as it was decided.
#[derive(Debug, Clone)]
struct Decided {
    at: Timestamp,
    /// The host was lost or no member, as far as the coordinator knew.
    is_lost: bool,
}

/// A stop, as it happens.
#[derive(Debug)]
pub(super) struct Stop {
    slot: SlotId,
    instance: Instance,
    /// A newer instance of the same release serves in the slot.
    is_replaced: bool,
}

/// Known stops and ingresses.
#[derive(Debug, Default)]
pub(super) struct Routed {
    pub(super) stops: Vec<Stop>,
    intents: BTreeMap<SlotId, (Intent, HostId)>,
    decided: BTreeMap<(SlotId, Digest), Decided>,
    /// The same of instances that a restart has replaced.
    let_go: BTreeMap<SlotId, Decided>,
    /// Since when the ingress of a host counts.
    counted: BTreeMap<HostId, Timestamp>,
    /// When the coordinator was set back last.
    set_back_at: Option<Timestamp>,
}

impl Routed {
    /// Whether the slot had an instance of `release` to run before the newest decision.
    pub(super) fn had_run(&self, slot: &SlotId, release: &Digest) -> bool {
        self.intents.get(slot).is_some_and(|(before, _)| before.has_run(release))
    }

    /// The decision behind a stop.
    fn decided(&self, stop: &Stop) -> Option<&Decided> {
        let all = self.decided.get(&(stop.slot.clone(), stop.instance.release));
        all.or_else(|| self.let_go.get(&stop.slot).filter(|_| stop.is_replaced))
    }

    /// The coordinator was set back: what it had decided is forgotten.
    pub(super) fn set_back(&mut self, now: Timestamp) {
        *self = Self { set_back_at: Some(now), ..Self::default() };
    }
}

impl Host {
    /// A step of ours is about to stop a container: notes it, if clients could have been served by it.
    pub(crate) fn note_routed(&self, context: &mut Context, id: &str) {
        let Some(process) = self.engine.processes.get(id).filter(|process| process.serves()) else { return };
        let container = &process.container;
        let slot = &container.slot;
        let in_slot = || self.engine.processes.values().filter(|other| &other.container.slot == slot);
        let excuse = if in_slot().any(|other| other.misbehaved) {
            Some(Exemption::Broken)
        } else if self.is_isolated(slot, context.now) || self.excused_stops.contains(&container.id) {
            Some(Exemption::Excused)
        } else if self.is_astray
            || self.is_restored
            || self.is_deceived
            || process.is_unplanned
            || self.is_disowned
        {
            Some(Exemption::Misled)
        } else if container.counter < self.floor(&slot.service) {
            Some(Exemption::BelowFloor)
        } else {
            None
        };
        if !context.is_routed || excuse.is_some_and(|why| context.checks.exempts(why)) {
            return;
        }
        let is_newer = |other: &&crate::engine::Process| {
            let other = &other.container;
            other.release == container.release && other.generation > container.generation
        };
        let stop = Stop {
            slot: slot.clone(),
            instance: Instance {
                service: slot.service.clone(),
                host: self.name.clone(),
                release: container.release,
                ports: container.ports.values().copied().collect(),
            },
            is_replaced: in_slot().any(|other| is_newer(&other)),
        };
        context.checks.routed.stops.push(stop);
    }
}

impl Checks {
    /// Notes the stops that the coordinator has decided, and the ingresses that count.
    pub(super) fn decide_stops(&mut self, view: &View<'_>, hosts: &[Host], now: Timestamp) {
        let routed = &mut self.routed;
        for host in hosts {
            if view.counts_ingress(&host.name) {
                routed.counted.entry(host.name.clone()).or_insert(now);
            } else {
                routed.counted.remove(&host.name);
            }
        }
        let slots = view.slots().values().flatten();
        let after: BTreeMap<SlotId, (Intent, HostId)> =
            slots.map(|(slot, is)| (slot.clone(), (Intent::from(is), is.host().clone()))).collect();
        for (slot, (before, host)) in &routed.intents {
            let next = after.get(slot).map(|(next, _)| next);
            let decided = || Decided {
                at: now,
                is_lost: view.liveness(host, now) == Liveness::Lost
                    || view.scheduling(host).is_none()
                    || view.is_recovering(host),
            };
            let is_kept = |intent: &Intent| intent.older == Some(Older::Kept);
            if next.is_some_and(is_kept) {
                routed.let_go.remove(slot);
            } else if is_kept(before) {
                routed.let_go.insert(slot.clone(), decided());
            }
            let ran = [(before.release, before.run)].into_iter().chain(before.other);
            for (release, _) in ran.filter(|(_, run): &(Digest, Phase)| run.runs()) {
                let key = (slot.clone(), release);
                if next.is_some_and(|next| next.has_run(&release)) {
                    routed.decided.remove(&key);
                    continue;
                }
                routed.decided.insert(key, decided());
            }
        }
        routed.intents = after;
    }

    /// Looks at the stops of this event.
    pub(super) fn check_routed(&mut self, hosts: &[Host], now: Timestamp) {
        for stop in std::mem::take(&mut self.routed.stops) {
            for host in hosts {
                let mut leads =
                    host.edge.processes.iter().filter(|process| process.leads_to(&stop.instance, now));
                let Some(process) = leads.next() else { continue };
                let (number, table) =
                    (process.number(), process.table().map(|table| table.accepted.committed.seq));
                let why = self.why_stopped(&stop, &host.name, now);
                if !why.is_some_and(|why| self.exempts(why)) {
                    let decided = self.routed.decided(&stop);
                    let line = format!(
                        "{} stops on {} although ingress {number} of {} at table {table:?} leads requests to it ({why:?}, {decided:?}, newest table {:?})",
                        stop.slot,
                        stop.instance.host,
                        host.name,
                        self.lanes.newest.as_ref().map(|table| table.routes.seq)
                    );
                    self.fail(line);
                }
            }
        }
    }

    /// The reason for which an instance may stop although an ingress leads requests to it.
    fn why_stopped(&self, stop: &Stop, ingress: &HostId, now: Timestamp) -> Option<Exemption> {
        let routed = &self.routed;
        let decided = routed.decided(stop);
        if decided.is_none() && routed.set_back_at.is_some() {
            return Some(Exemption::SetBack);
        }
        let at = decided.map_or(now, |decided| decided.at);
        if routed.counted.get(ingress).is_none_or(|since| *since > at) {
            return Some(Exemption::NotCounted);
        }
        if decided.is_some_and(|decided| decided.is_lost) {
            return Some(Exemption::HostLost);
        }
        let table = self.lanes.newest.as_deref();
        let has_timed_out = table.is_some_and(|table| timed_out(table, &stop.instance, now));
        has_timed_out.then_some(Exemption::TimedOut)
    }
}

/// Whether the drain timeout of an instance that left the table has passed.
fn timed_out(table: &Table, instance: &Instance, now: Timestamp) -> bool {
    let services = &table.routes.services;
    let Some(service) = services.iter().find(|of| of.service == instance.service.name) else { return true };
    let is_its = |host: &HostId, number: u16, release: &Digest| {
        host == &instance.host && release == &instance.release && instance.ports.contains(&number)
    };
    let is_in = service.endpoints.iter().any(|of| !of.draining && is_its(&of.host, of.number, &of.release));
    let left = table.left.iter().filter(|of| is_its(&of.host, of.number, &of.release)).map(|of| of.at).max();
    !is_in && left.is_some_and(|at| at + service.drain.duration() <= now)
}

/// Whether nothing can be done on a machine now.
pub(super) fn is_out_of_reach(host: &Host) -> bool {
    !host.is_on || host.is_full || host.engine.standing != Reachability::Up || host.agent.is_none()
}
