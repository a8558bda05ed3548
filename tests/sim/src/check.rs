//! Invariants, looked at after every event.
//!
//! | invariant | where |
//! |---|---|
//! | no step of ours takes a service below its minimum | [`Checks::look`] |
//! | nothing unsigned, quarantined (unasked) or below the floor ever starts | `starts` |
//! | a report is taken to be about a slot only if the plan in force then had the slot's part as it is now | `confirmed` |
//! | a soak begins again only for what a host said, or for a host that is lost | `confirmed` |
//! | at most one operation per slot | the agent, where a request begins |
//! | seq never falls on a host | the agent, where its journal is written |
//! | two plans with one number never exist; a rollout that ended stays ended; a slot never moves | `decisions` |
//! | on the way back, the share of the release that is left never rises | `decisions` |
//! | a rollout whose gate has failed neither goes on nor succeeds, and its share does not rise | `decisions`, `lanes` |
//! | numbers of tables rise; shares sum to the whole; in tables, the share of what is left only falls | `lanes` |
//! | requests go back to a release once it is at strength | `lanes` |
//! | nothing is stopped that an ingress leads requests to | `routed` |
//! | `exclusive` services never run twice | [`Checks::look`] |
//! | every rollout ends; after the last event one more plan is empty; nothing is lost | `rest` |

mod confirmed;
mod decisions;
mod exempt;
mod lanes;
mod rest;
mod routed;
mod starts;

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::plan::{HostPlan, PlanSlot};
use windlass_core::reconcile::Container;
use windlass_core::rollout::Rollout;
use windlass_core::service::Slots;
use windlass_core::slot::Intent;
use windlass_core::traffic::Weight;
use windlass_core::{Digest, HostId, RolloutId, ServiceId, SlotId, Timestamp};

use crate::host::Host;
use crate::strict::Oracle;

pub use decisions::allowed;
pub use exempt::{Exempted, Exemption};
pub use rest::{at_rest, checkpoint};

/// The checks, and their memory.
#[derive(Debug, Default)]
pub struct Checks {
    violation: Option<String>,
    services: BTreeMap<ServiceId, Known>,
    /// Slots whose last instance that served was stopped, or ended.
    outages: BTreeMap<ServiceId, BTreeMap<SlotId, Outage>>,
    /// Slots whose host was evicted: what runs of them is nobody's any more.
    orphans: BTreeSet<SlotId>,
    /// Slots that a person told to stop, and that nothing was to run in since: that they stop is the person's doing,
    /// however late their host hears of it.
    told: BTreeSet<SlotId>,
    /// Slots that served after the event before.
    serving: BTreeSet<SlotId>,
    /// Instances that served and were stopped by a step of ours in this event.
    stops: Vec<(SlotId, u32)>,
    /// The number of slots that a plan may leave without a serving instance, by host and number.
    allowed: BTreeMap<(HostId, u64), BTreeMap<ServiceId, u32>>,
    /// When each plan was made, by host and number.
    made: BTreeMap<(HostId, u64), Timestamp>,
    /// Digests of the plans that were offered.
    plans: BTreeMap<(HostId, u64), Digest>,
    /// The slots in each of them.
    parts: BTreeMap<(HostId, u64), BTreeMap<SlotId, PlanSlot>>,
    /// Since when each rollout soaks.
    soaks: BTreeMap<RolloutId, Timestamp>,
    /// Hosts that were offered nothing since the coordinator was set back: what they have forgotten nobody knows.
    unshown: BTreeSet<HostId>,
    ended: BTreeMap<RolloutId, Rollout>,
    /// Shares of the releases that rollouts leave on their way back.
    shares: BTreeMap<RolloutId, Weight>,
    /// Services of which two instances must never run.
    pub exclusive: BTreeSet<ServiceId>,
    /// Whether requests are led in this world.
    pub is_routed: bool,
    /// Whether any are exempted.
    pub oracle: Oracle,
    /// The exempted violations.
    pub exempted: Exempted,
    /// The work of ingresses.
    pub led: Led,
    lanes: lanes::Lanes,
    routed: routed::Routed,
    /// Processes that were started.
    pub runs: u64,
    /// Looks that found an instance stopped by us.
    pub stopped: u64,
}

/// The work of ingresses and gates in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Led {
    /// Requests that were led to an instance.
    pub requests: u64,
    /// Tables that a process came to follow.
    pub tables: u64,
    /// Rollouts of which a gate failed.
    pub failed_gates: u64,
    /// Shares that rose on the way back.
    pub returns: u64,
}

/// The coordinator's record of a service.
#[derive(Debug, Default)]
struct Known {
    slots: Slots,
    wanted: usize,
    /// Hosts that it does not count: lost, or left behind by its rollout.
    excused: BTreeSet<HostId>,
}

/// The reason for which a slot has no serving instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// A step of ours stopped it, under a plan that allows so many.
    Ours(u32),
    /// The world did.
    World,
}

impl Checks {
    /// Something does not hold. The first such thing counts.
    pub fn fail(&mut self, violation: String) {
        self.violation.get_or_insert(violation);
    }

    /// The violation.
    pub const fn violation(&self) -> Option<&String> {
        self.violation.as_ref()
    }

    /// A process begins a run.
    pub const fn runs(&mut self, _: &HostId, _: &Container) {
        self.runs += 1;
    }

    /// Looks at the world after an event, for slots that do not serve any more, and whose doing that is.
    pub fn look(&mut self, hosts: &[Host], now: Timestamp) {
        let serving: BTreeSet<SlotId> = hosts
            .iter()
            .filter(|host| host.is_on)
            .flat_map(|host| host.engine.processes.values())
            .filter(|process| process.serves())
            .map(|process| process.container.slot.clone())
            .filter(|slot| !self.orphans.contains(slot))
            .collect();
        let stops: BTreeMap<SlotId, u32> = std::mem::take(&mut self.stops).into_iter().collect();
        self.stopped += u64::from(!stops.is_empty());
        let lost: Vec<SlotId> = self.serving.difference(&serving).cloned().collect();
        for slot in &lost {
            let ours = stops.get(slot).filter(|_| !self.told.contains(slot));
            let outage = ours.map_or(Outage::World, |allowed| Outage::Ours(*allowed));
            self.outages.entry(slot.service.clone()).or_default().insert(slot.clone(), outage);
        }
        for (service, outages) in &mut self.outages {
            settle(service, outages, self.services.get(service), &serving, hosts);
        }
        let ours: BTreeSet<&ServiceId> =
            lost.iter().filter(|s| stops.contains_key(*s)).map(|s| &s.service).collect();
        for service in ours {
            self.check_minimum(service, &serving);
        }
        self.serving = serving;
        self.check_exclusive(hosts, now);
        self.check_routed(hosts, now);
    }

    /// A step of ours has just stopped an instance that served: checks whether too many of them are gone by our own doing.
    fn check_minimum(&mut self, service: &ServiceId, serving: &BTreeSet<SlotId>) {
        let Some(outages) = self.outages.get(service) else { return };
        let Some(known) = self.services.get(service) else { return };
        let mine = outages.iter().filter_map(|(slot, outage)| match outage {
            Outage::Ours(allowed) if !known.is_excused(slot) => Some((slot, *allowed)),
            Outage::Ours(_) | Outage::World => None,
        });
        let (slots, allowed): (Vec<&SlotId>, Vec<u32>) = mine.unzip();
        let most = allowed.into_iter().max().unwrap_or(u32::MAX);
        // In the place of one that will go, another may serve already.
        let of_it = |slot: &&SlotId| &slot.service == service;
        let in_place = |slot: &&SlotId| of_it(slot) && known.slots.contains_key(*slot);
        let missing = known.wanted.saturating_sub(serving.iter().filter(in_place).count());
        if u32::try_from(slots.len().min(missing)).unwrap_or(u32::MAX) > most {
            let serve = serving.iter().filter(of_it).count();
            let names: Vec<String> = slots.iter().map(ToString::to_string).collect();
            let line = format!(
                "{service}: our steps took it below its minimum: {} are stopped, {most} may be; {serve} of {} serve",
                names.join(", "),
                known.wanted
            );
            self.fail(line);
        }
    }

    /// Two never run at once, but where a person said that a host is off which is not, or an engine that was to stop
    /// one did not.
    fn check_exclusive(&mut self, hosts: &[Host], now: Timestamp) {
        if self.exclusive.is_empty() {
            return;
        }
        let mut running: BTreeMap<&ServiceId, Vec<&str>> = BTreeMap::new();
        for host in hosts.iter().filter(|host| !host.is_disowned && !host.is_deceived) {
            for process in host.engine.processes.values().filter(|process| !process.is_disowned) {
                let service = &process.container.slot.service;
                let is_up = process.container.state.is_up();
                if is_up && self.exclusive.contains(service) && !host.was_kept_from_stopping(now) {
                    running.entry(service).or_default().push(&process.container.instance);
                }
            }
        }
        let twice = running.into_iter().find(|(_, instances)| instances.len() > 1);
        if let Some((service, instances)) = twice {
            let line = format!("{service} is exclusive and runs more than once: {instances:?}");
            self.fail(line);
        }
    }

    /// Notes the stops that a plan allows, as the coordinator signs it.
    pub fn offered(
        &mut self,
        host: &HostId,
        plan: &HostPlan,
        digest: Digest,
        allowed: BTreeMap<ServiceId, u32>,
    ) {
        self.unshown.remove(host);
        let before = self.plans.insert((host.clone(), plan.seq), digest);
        if before.is_some_and(|before| before != digest) {
            self.fail(format!("{host}: two plans with seq {}", plan.seq));
        }
        self.allowed.entry((host.clone(), plan.seq)).or_insert(allowed);
        let parts = plan.slots.iter().map(|part| (part.slot.clone(), part.clone())).collect();
        self.parts.insert((host.clone(), plan.seq), parts);
    }

    /// A host's journal is gone, or an older one that knows this number: where the coordinator was set back as well, nobody
    /// is left who knows the numbers after that.
    pub fn forgotten(&mut self, host: &HostId, seq: u64) {
        if self.unshown.contains(host) {
            self.plans.retain(|(of, number), _| of != host || *number <= seq);
            self.allowed.retain(|(of, number), _| of != host || *number <= seq);
            self.made.retain(|(of, number), _| of != host || *number <= seq);
        }
    }

    /// Whether the coordinator was set back, has offered this host nothing since, and knows nothing of what runs there.
    pub fn has_forgotten(&self, host: &HostId, seen: &Container) -> bool {
        let known = self.services.get(&seen.slot.service).and_then(|known| known.slots.get(&seen.slot));
        self.unshown.contains(host) && !known.is_some_and(|known| Intent::from(known).has_run(&seen.release))
    }

    /// Forgets the coordinator's promises, but for those that hosts hold: only these bind it.
    pub fn set_back(&mut self, hosts: &[Host], now: Timestamp) {
        self.lanes.set_back();
        self.routed.set_back(now);
        self.unshown = hosts.iter().map(|host| host.name.clone()).collect();
        let held: BTreeMap<HostId, u64> =
            hosts.iter().map(|host| (host.name.clone(), host.highest)).collect();
        let is_held = |(host, seq): &(HostId, u64)| held.get(host).is_some_and(|highest| seq <= highest);
        self.plans.retain(|plan, _| is_held(plan));
        self.allowed.retain(|plan, _| is_held(plan));
        self.made.retain(|plan, _| is_held(plan));
        self.parts.retain(|plan, _| is_held(plan));
        self.soaks.clear();
        self.services.clear();
        self.ended.clear();
        self.shares.clear();
    }
}

impl Known {
    /// Whether the slot is on a host that its rollout does not wait for.
    fn is_excused(&self, slot: &SlotId) -> bool {
        self.slots.get(slot).is_some_and(|assignment| self.excused.contains(assignment.host()))
    }
}

/// Ends the outages of slots that serve again, or whose place others have taken; what is on a machine that is off would
/// be gone without us.
fn settle(
    service: &ServiceId,
    outages: &mut BTreeMap<SlotId, Outage>,
    known: Option<&Known>,
    serving: &BTreeSet<SlotId>,
    hosts: &[Host],
) {
    outages.retain(|slot, _| !serving.contains(slot));
    let Some(known) = known else { return };
    let serve =
        serving.iter().filter(|slot| &slot.service == service && known.slots.contains_key(*slot)).count();
    let missing = known.wanted.saturating_sub(serve);
    let here = outages.keys().filter(|slot| known.slots.contains_key(*slot)).count();
    let mut others = missing.saturating_sub(here);
    outages.retain(|slot, _| {
        if known.slots.contains_key(slot) {
            return true;
        }
        let stays = others > 0;
        others = others.saturating_sub(1);
        stays
    });
    for (slot, outage) in outages.iter_mut() {
        let host = known.slots.get(slot).map(|assignment| assignment.host());
        let machine = host.and_then(|name| hosts.iter().find(|host| &host.name == name));
        if machine.is_some_and(|host| !host.is_on || host.is_astray || host.is_deceived) {
            *outage = Outage::World;
        }
    }
}
