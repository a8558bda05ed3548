//! A service behind an ingress, whose hosts do what their plans say: for strategies that move the traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::drained::{Routed, busy_ingress, environment};
use super::midway::evidence;
use crate::digest::Digest;
use crate::fixture::{at, fleet, instance, reference, release, steady};
use crate::fleet::FleetView;
use crate::id::{HostId, RolloutId, SlotId};
use crate::observation::{InstanceState, Observation, SlotObservation, SlotStatus};
use crate::release::Release;
use crate::rollout::{Advance, Kind, Rollout, RolloutCommand, Snapshot, Target, advance, start, steer};
use crate::service::{Releases, Service, Slots};
use crate::traffic::{self, Routes, ServiceSeen, Table, Traffic, TrafficInputs, Weight};

/// Two slots on two hosts at r1, and r2, which is blue/green.
pub(crate) struct World {
    pub(crate) fleet: FleetView,
    pub(crate) service: Service,
    pub(crate) slots: Slots,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) releases: Releases,
    pub(crate) now: i64,
    pub(crate) waiting: Vec<String>,
    pub(crate) table: Option<Arc<Table>>,
    /// Seq that the ingress has taken; it takes none while it is stuck.
    taken: u64,
    pub(crate) stuck: bool,
    /// No new table is made.
    pub(crate) silent: bool,
    /// Releases whose instances fail, and hosts where they do.
    pub(crate) fails: BTreeSet<(Digest, usize)>,
    /// Slots with a request under way that does not end by itself.
    pub(crate) busy: BTreeSet<u32>,
    rollouts: u32,
    /// Decisions that were written, and whether the coordinator starts again after each: what it knows is what is stored.
    pub(crate) writes: u32,
    pub(crate) restarts_after: Option<u32>,
    pub(crate) decisions: Vec<crate::rollout::What>,
}

pub(crate) fn blue_green(counter: u64, strategy: &serde_json::Value) -> Release {
    release(counter, |json| {
        json["version"] = 3.into();
        json["spec"]["scale"] = serde_json::json!({ "replicas": { "min": 2, "max": 2 } });
        json["spec"]["ports"] = serde_json::json!({ "http": { "container": 8000 } });
        json["spec"]["main_port"] = "http".into();
        json["spec"]["strategy"] = serde_json::json!({ "blue_green": strategy });
    })
}

/// `steps` in thousandths, a watch of 60 s and the old set kept for an hour.
pub(crate) fn steps(steps: &[u16]) -> serde_json::Value {
    serde_json::json!({ "steps": steps, "watch": "1m", "keep_old": "1h", "min_ready": "5s" })
}

/// The port of an instance.
fn port(slot: &SlotId, release: &Release) -> u16 {
    u16::try_from(20_000 + 100 * u64::from(slot.index) + release.counter.0).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::at(&blue_green(1, &steps(&[1000])), 2)
    }

    /// A service of so many slots, each on a host of its own, at `r1`.
    pub(crate) fn at(r1: &Release, count: u32) -> Self {
        Self::on(r1, count, count as usize)
    }

    /// The same on the first of so many hosts.
    pub(crate) fn on(r1: &Release, count: u32, hosts: usize) -> Self {
        let mut fleet = fleet(hosts);
        for member in fleet.members.values_mut() {
            Arc::make_mut(&mut member.facts).address = "10.0.0.1".into();
        }
        let (service, slots, releases) = steady(r1, count, &mut fleet);
        let mut world = Self {
            fleet,
            service,
            slots,
            rollout: None,
            releases,
            now: 100,
            waiting: Vec::new(),
            table: None,
            taken: 0,
            stuck: false,
            silent: false,
            fails: BTreeSet::new(),
            busy: BTreeSet::new(),
            rollouts: 0,
            writes: 0,
            restarts_after: None,
            decisions: Vec::new(),
        };
        world.hosts();
        world
    }

    pub(crate) fn begin(&mut self, release: &Release, kind: Kind) {
        let to = reference(release);
        self.releases.insert(to.digest, release.clone());
        let target =
            Target { release: to, kind, actor: "ada".into(), supersede: true, retry_quarantined: false };
        self.rollouts += 1;
        let id: RolloutId = format!("00000000-0000-0000-0000-{:012}", self.rollouts).parse().unwrap();
        let (service, rollout, _) =
            start(&self.service, self.rollout.as_ref(), target, id, at(self.now)).unwrap();
        self.service = service;
        self.rollout = Some(rollout);
    }

    pub(crate) fn steer(&mut self, steering: RolloutCommand) {
        let rollout = self.rollout.as_ref().unwrap();
        self.rollout = Some(steer(rollout, steering, "ada", at(self.now)).unwrap());
    }

    /// One second: a decision, and the hosts and the ingress do what it says.
    pub(crate) fn second(&mut self) {
        self.now += 1;
        let seq = self.table.as_ref().map_or(0, |table| table.routes.seq);
        if !self.stuck {
            self.taken = seq;
        }
        let busy = self.slots.values().filter(|slot| self.busy.contains(&slot.id().index));
        let busy: Vec<(u16, Digest)> = busy
            .flat_map(|slot| slot.named().map(|named| (port(slot.id(), &self.releases[&named]), named)))
            .collect();
        let traffic = Traffic {
            tables: self.table.iter().map(|table| (environment(), table.clone())).collect(),
            ingresses: BTreeMap::from([("h0000".parse().unwrap(), busy_ingress(self.taken, &busy))]),
        };
        let view = Routed { view: self.fleet.clone(), traffic, windows: None };
        let active = self.rollout.clone().filter(|rollout| !rollout.state.is_final());
        let next = advance(&Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: active.as_ref(),
            releases: &self.releases,
            fleet: &view,
            now: at(self.now),
        });
        let Advance { service, slots, rollout, waiting, .. } = next;
        self.writes += u32::from(service != self.service || slots != self.slots || rollout != active);
        self.service = service;
        self.slots = slots;
        if let Some(rollout) = rollout {
            self.decisions.extend(rollout.log.fresh().iter().map(|decision| decision.what.clone()));
            self.rollout = Some(rollout);
        }
        self.waiting = waiting.iter().map(ToString::to_string).collect();
        if self.restarts_after == Some(self.writes) {
            self.restarts_after = None;
            self.start_again();
        }
        self.hosts();
    }

    /// The coordinator starts on what is stored; nothing before counts for any clock.
    fn start_again(&mut self) {
        fn stored<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
            serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap()
        }
        self.service = stored(&self.service);
        self.slots = self.slots.iter().map(|(id, slot)| (id.clone(), stored(slot))).collect();
        self.rollout = self.rollout.as_ref().map(stored);
        self.fleet.since = at(self.now);
    }

    /// Seconds pass until it holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        for _ in 0..4000 {
            if holds(self) {
                return;
            }
            self.second();
        }
        panic!(
            "never {what}: {:?} {:?} {:?}",
            self.rollout.as_ref().map(|r| r.state),
            self.service.split,
            self.waiting
        );
    }

    pub(crate) fn state(&self) -> crate::rollout::State {
        self.rollout.as_ref().unwrap().state
    }

    /// The share of a release in the newest table: all of it where it serves alone.
    pub(crate) fn share(&self, release: &Release) -> u16 {
        let digest = reference(release).digest;
        let Some(service) = self.table.as_ref().and_then(|table| table.routes.services.first()) else {
            return 0;
        };
        let serves = service.endpoints.iter().any(|of| of.release == digest && !of.draining);
        let share = service.releases.iter().find(|share| share.release == digest).filter(|_| serves);
        share.map_or(0, |share| share.weight.unwrap_or(Weight::ALL).permille())
    }

    /// Instances of a release that run.
    pub(crate) fn running(&self, release: &Release) -> usize {
        let digest = reference(release).digest;
        let seen = self.fleet.members.values().filter_map(|member| member.observation.as_ref());
        let instances = seen.flat_map(|seen| &seen.slots).flat_map(|slot| &slot.instances);
        instances.filter(|instance| instance.release == digest && instance.state.is_running()).count()
    }

    /// Hosts report what their plans let run, and the table follows.
    pub(crate) fn hosts(&mut self) {
        let hosts: Vec<HostId> = self.fleet.members.keys().cloned().collect();
        for (n, host) in hosts.iter().enumerate() {
            let mine = self.slots.values().filter(|slot| slot.host() == host);
            let slots = mine.map(|slot| self.observe(slot, n)).collect();
            let member = self.fleet.members.get_mut(host).unwrap();
            member.observation = Some(Arc::new(Observation { revision: 1, slots, ..Observation::default() }));
            member.last_report = member.observation.clone();
        }
        self.route();
    }

    fn observe(&self, slot: &crate::slot::Slot, host: usize) -> SlotObservation {
        let mut status = SlotStatus::Settled;
        let mut instances = Vec::new();
        let target = Some(slot.release()).filter(|_| slot.run().runs());
        let other = slot.other().filter(|other| other.run.runs()).map(|other| other.release);
        for (n, digest) in target.into_iter().chain(other).enumerate() {
            let release = &self.releases[&digest];
            if self.fails.contains(&(digest, host)) {
                if n == 0 {
                    let evidence = crate::observation::Evidence { release: digest, ..evidence(release) };
                    status = SlotStatus::Failed { restored: slot.fallback(), evidence: Box::new(evidence) };
                }
                continue;
            }
            let mut seen = instance(slot.id(), digest, release, InstanceState::Healthy);
            let number = port(slot.id(), release);
            seen.endpoints = BTreeMap::from([("http".into(), format!("10.0.0.1:{number}"))]);
            seen.generation = if n == 0 && target.is_some() { slot.target().generation } else { 0 };
            instances.push(seen);
        }
        SlotObservation {
            slot: slot.id().clone(),
            release: Some(slot.release()),
            status,
            pulled: true,
            checking: false,
            pull: None,
            instances,
            trouble: None,
        }
    }

    fn route(&mut self) {
        let before = self.table.clone();
        let seen = ServiceSeen {
            service: &self.service,
            slots: &self.slots,
            candidate: self.rollout.as_ref().filter(|of| !of.state.is_final()).map(|of| of.to.digest),
            moving: false,
        };
        let hosts = self.fleet.members.iter().map(|(host, member)| {
            let seen = traffic::HostSeen {
                address: Some("10.0.0.1".parse().unwrap()),
                recovering: false,
                observation: member.observation.as_deref(),
                issued_seq: member.issued_seq,
                parts: Some(&*member.parts),
            };
            (host, seen)
        });
        let derived = traffic::derive(&TrafficInputs {
            services: vec![seen],
            hosts: hosts.collect(),
            releases: &self.releases,
            before: before.as_ref().map_or(&[], |table| table.routes.services.as_slice()),
            standbys: true,
            allows: &|_| true,
        });
        if self.silent || before.as_ref().is_some_and(|table| table.routes.services == derived.services) {
            return;
        }
        let routes = Routes {
            version: Routes::version_for(&derived.services),
            fleet: "lab".parse().unwrap(),
            environment: environment(),
            epoch: 1,
            seq: before.as_ref().map_or(0, |table| table.routes.seq) + 1,
            issued_at: at(self.now),
            names: derived.names,
            services: derived.services,
        };
        routes.check().unwrap();
        let digest = Digest::of(&routes.seq.to_be_bytes());
        self.table = Some(Arc::new(Table::next(before.as_deref(), routes, digest)));
    }
}
