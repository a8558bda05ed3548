//! The coordinator's side of the model, the network and the clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::capacity::Taken;
use windlass_core::fleet::{FleetView, Member};
use windlass_core::host::Liveness;
use windlass_core::observation::Observation;
use windlass_core::plan::HostPlan;
use windlass_core::release::Spec;
use windlass_core::rollout::{
    self, Advance, Kind, Rollout, RolloutCommand, ServiceCommand, Snapshot, State, Target,
};
use windlass_core::service::{ReleaseRef, Releases, Service, Slots};
use windlass_core::{Digest, HostId, SlotId, Timestamp};
use windlass_testkit::plan::plan;

use super::check::Checks;
use super::engine::at;
use super::fleet::{Behaviour, Catalogue, release, spec};
use super::host::Host;

pub(crate) struct World {
    pub(crate) seed: u64,
    random: u64,
    pub(crate) now: u64,
    /// The specification of the next release.
    pub(crate) spec: Spec,
    pub(crate) hosts: Vec<Host>,
    pub(crate) catalogue: Catalogue,
    pub(crate) releases: Releases,
    pub(crate) service: Service,
    pub(crate) slots: Slots,
    pub(crate) rollout: Option<Rollout>,
    /// Its decisions so far.
    pub(crate) decisions: Vec<rollout::Decision>,
    pub(crate) checks: Checks,
    issued: BTreeMap<HostId, u64>,
    /// Since which number each slot's part of its host's plan is as it is.
    parts: BTreeMap<SlotId, u64>,
    /// Plans under way: when they arrive, where, and what.
    wire: Vec<(u64, HostId, Arc<HostPlan>)>,
    reports: BTreeMap<HostId, (u64, Arc<Observation>)>,
    down_until: u64,
    up_since: u64,
    /// Kills the coordinator after every step that stored something.
    pub(crate) fragile: bool,
    rollouts: u64,
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize, replicas: u32) -> Self {
        let mut world = Self {
            seed,
            random: seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            now: 1000,
            spec: spec(replicas),
            hosts: (0..hosts).map(|n| Host::new(&format!("h{n}"))).collect(),
            catalogue: Catalogue::default(),
            releases: Releases::new(),
            service: Service::new("production/web".parse().unwrap()),
            slots: Slots::new(),
            rollout: None,
            decisions: Vec::new(),
            checks: Checks::default(),
            issued: BTreeMap::new(),
            parts: BTreeMap::new(),
            wire: Vec::new(),
            reports: BTreeMap::new(),
            down_until: 0,
            up_since: 900,
            fragile: false,
            rollouts: 0,
        };
        world.run_for(12);
        world
    }

    pub(crate) fn dice(&mut self, sides: u64) -> u64 {
        // xorshift64, Marsaglia 2003.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }

    /// One of `count`.
    pub(crate) fn pick(&mut self, count: u64) -> usize {
        usize::try_from(self.dice(count)).unwrap()
    }

    pub(crate) fn deploy(&mut self, behaviour: Behaviour) {
        let counter = self.service.last_counter + 1;
        let release = release(counter, &self.spec);
        let digest = self.catalogue.add(release.clone(), behaviour);
        let reference = ReleaseRef::of(&release, digest);
        self.releases.insert(digest, release);
        self.start(reference, Kind::Deploy);
    }

    /// Deploys what is good already once more.
    pub(crate) fn redeploy(&mut self) {
        let good = self.service.last_good().unwrap();
        self.start(good, Kind::Deploy);
    }

    pub(crate) fn rollback(&mut self) {
        let to = self.service.rollback_target().expect("there is an older good release");
        self.start(to, Kind::Rollback);
    }

    /// New instances of the same release; answers false if that is refused.
    pub(crate) fn restart(&mut self) -> bool {
        self.rollouts += 1;
        let id = format!("{:08}", self.rollouts).parse().unwrap();
        let begun = rollout::restart(&self.service, self.rollout.as_ref(), 0, "sim".into(), id, at(self.now));
        let Ok((service, rollout)) = begun else { return false };
        let spec = self.releases[&rollout.to.digest].spec.clone();
        (self.service, self.rollout) = (service, Some(rollout));
        self.write_story();
        self.checks.begin(self.serving().len(), &spec);
        true
    }

    fn start(&mut self, release: ReleaseRef, kind: Kind) {
        let target = Target { release, kind, actor: "sim".into(), supersede: true, retry_quarantined: false };
        self.rollouts += 1;
        let id = format!("{:08}", self.rollouts).parse().unwrap();
        let (service, rollout, _) =
            rollout::start(&self.service, self.rollout.as_ref(), target, id, at(self.now)).unwrap();
        self.service = service;
        self.rollout = Some(rollout);
        self.write_story();
        self.checks.begin(self.serving().len(), &self.releases[&release.digest].spec);
    }

    /// Answers false if the rollout's state does not allow it.
    pub(crate) fn steer(&mut self, steering: RolloutCommand) -> bool {
        let Some(rollout) = &self.rollout else { return false };
        let next = rollout::steer(rollout, steering, "sim", at(self.now)).ok();
        let done = next.is_some();
        self.rollout = next.or(self.rollout.take());
        self.write_story();
        done
    }

    /// Answers false if it is refused.
    pub(crate) fn command(&mut self, verb: ServiceCommand) -> bool {
        self.told(verb, false)
    }

    /// The same, and ends an active rollout.
    pub(crate) fn command_supersede(&mut self, verb: ServiceCommand) -> bool {
        self.told(verb, true)
    }

    fn told(&mut self, verb: ServiceCommand, supersede: bool) -> bool {
        let release = self.service.current.map(|current| &self.releases[&current.digest]);
        let active = self.rollout.as_ref();
        let told =
            rollout::apply_command(&self.service, active, release, verb, supersede, "sim", at(self.now));
        let Ok(told) = told else { return false };
        self.service = told.service;
        self.rollout = told.ended.or(self.rollout.take());
        self.write_story();
        self.checks.release();
        true
    }

    pub(crate) fn kill_coordinator(&mut self, seconds: u64) {
        self.down_until = self.now + seconds;
        self.up_since = self.down_until;
        self.wire.clear();
        self.reports.clear();
    }

    fn liveness(&self, host: &HostId) -> (Liveness, Option<Timestamp>) {
        let Some((seen, _)) = self.reports.get(host) else {
            let unknown = self.now < self.up_since + 60;
            return (if unknown { Liveness::Unknown } else { Liveness::Lost }, None);
        };
        let liveness = match self.now - seen {
            0..15 => Liveness::Connected,
            15..30 => Liveness::Suspect,
            _ => Liveness::Lost,
        };
        (liveness, Some(at(*seen)))
    }

    /// Silent with an agent that lives, as far as a coordinator can tell.
    fn isolated_for(&self, host: &HostId) -> Option<std::time::Duration> {
        let (seen, _) = self.reports.get(host)?;
        let departed = self.hosts.iter().any(|known| &known.name == host && known.agent_dead);
        (!departed).then(|| std::time::Duration::from_secs(self.now - seen))
    }

    pub(crate) fn fleet(&self) -> FleetView {
        let mut members = BTreeMap::new();
        for host in self.hosts.iter().filter(|host| !host.evicted) {
            let (liveness, last_seen) = self.liveness(&host.name);
            let member = Member {
                facts: Arc::new(host.facts.clone()),
                liveness,
                last_seen,
                isolated_for: self.isolated_for(&host.name),
                scheduling: host.scheduling,
                has_ingress: false,
                recovering: false,
                issued_seq: self.issued.get(&host.name).copied().unwrap_or(0),
                parts: Arc::new(self.parts.clone()),
                observation: self.reports.get(&host.name).map(|(_, report)| Arc::clone(report)),
                last_report: self.reports.get(&host.name).map(|(_, report)| Arc::clone(report)),
                taken: Taken::default(),
            };
            members.insert(host.name.clone(), member);
        }
        FleetView { since: at(self.up_since), members }
    }

    pub(crate) fn decide(&self) -> Advance {
        let fleet = self.fleet();
        rollout::advance(&Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: self.rollout.as_ref().filter(|rollout| !rollout.state.is_final()),
            releases: &self.releases,
            fleet: &fleet,
            now: at(self.now),
        })
    }

    fn advance(&mut self) {
        let next = self.decide();
        self.check_step(&next);
        let mut dirty: Vec<HostId> = Vec::new();
        for slot in &next.touched {
            dirty.extend(self.slots.get(slot).map(|a| a.host().clone()));
            dirty.extend(next.slots.get(slot).map(|a| a.host().clone()));
        }
        let changed = !next.touched.is_empty();
        for (slot, after) in &next.slots {
            if self.slots.get(slot).map(windlass_core::slot::Slot::plan) != Some(after.plan()) {
                let seq = self.issued.get(after.host()).copied().unwrap_or(0) + 1;
                self.parts.insert(slot.clone(), seq);
            }
        }
        (self.service, self.slots) = (next.service, next.slots);
        self.rollout = next.rollout.or(self.rollout.take());
        self.write_story();
        for host in &self.hosts {
            if dirty.contains(&host.name) {
                *self.issued.entry(host.name.clone()).or_insert(0) += 1;
            }
        }
        if changed && self.fragile {
            self.kill_coordinator(3);
        }
    }

    /// Sends the newest plan to everyone, now and then; late, twice or not at all.
    fn send(&mut self) {
        for index in 0..self.hosts.len() {
            let host = self.hosts[index].name.clone();
            let seq = self.issued.get(&host).copied().unwrap_or(0);
            let idle = self.hosts[index].plan.as_ref().map_or(0, |plan| plan.seq) == seq;
            if idle || self.hosts[index].cut || self.hosts[index].evicted || self.dice(3) == 0 {
                continue;
            }
            let slots = self
                .slots
                .values()
                .filter(|a| a.host() == &host)
                .map(windlass_core::slot::Slot::plan)
                .collect();
            let plan = plan(host.as_str(), seq, at(self.now), slots);
            let plan = HostPlan { expires_at: plan.issued_at, ..plan };
            let arrives = self.now + self.dice(4);
            self.wire.push((arrives, host, Arc::new(plan)));
        }
    }

    /// Every host reports, or its report is lost.
    fn report(&mut self) {
        for index in 0..self.hosts.len() {
            let lost = self.dice(4) == 0;
            let host = &self.hosts[index];
            if !host.cut && !host.mute && !host.agent_dead && !lost {
                let report = Arc::new(host.observe(self.now));
                let name = host.name.clone();
                let issued = self.issued.get(&name).copied().unwrap_or(0);
                self.reports.insert(name, (self.now, report));
                // The report is the heartbeat; its acknowledgement may be lost too.
                let acknowledged = self.dice(5) != 0;
                if acknowledged {
                    self.hosts[index].lease = Some((self.now, issued));
                }
            }
        }
    }

    pub(crate) fn second(&mut self) {
        self.now += 1;
        if self.now >= self.down_until {
            self.report();
            self.advance();
            self.send();
        }
        let now = self.now;
        let (arrived, rest): (Vec<_>, Vec<_>) = self.wire.drain(..).partition(|(at, ..)| *at <= now);
        self.wire = rest;
        for (_, name, plan) in arrived {
            self.hosts.iter_mut().find(|host| host.name == name).unwrap().offer(&plan);
        }
        for host in &mut self.hosts {
            host.tick(now, &self.catalogue);
        }
        self.check_second();
    }

    pub(crate) fn run_for(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    pub(crate) fn state(&self) -> State {
        self.rollout.as_ref().unwrap().state
    }

    /// Runs until the rollout is in `state`; answers false if it ended before.
    pub(crate) fn run_until(&mut self, state: State) -> bool {
        for _ in 0..1000 {
            if self.state() == state || self.state().is_final() {
                return self.state() == state;
            }
            self.second();
        }
        panic!("seed {}: not {state:?} in time: {:#?}", self.seed, self.rollout);
    }

    pub(crate) fn run_to_end(&mut self) -> State {
        for _ in 0..3000 {
            self.second();
            if self.state().is_final() {
                return self.state();
            }
        }
        panic!("seed {}: no end: {:#?}\n{:#?}", self.seed, self.rollout, self.decide().waiting);
    }

    /// One good release, to begin with.
    pub(crate) fn settled(seed: u64, hosts: usize, spec: Spec) -> Self {
        let mut world = Self::new(seed, hosts, 1);
        world.spec = spec;
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
        world
    }

    pub(crate) fn digest(&self, counter: u64) -> Digest {
        *self.releases.iter().find(|(_, release)| release.counter.0 == counter).unwrap().0
    }
}
