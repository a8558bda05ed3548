//! The coordinator's side of the model, the clock, and what must always hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::capacity::Taken;
use windlass_core::fleet::{FleetView, Member, Scheduling};
use windlass_core::host::Liveness;
use windlass_core::plan::HostPlan;
use windlass_core::rollout::{self, Kind, Rollout, Snapshot, State, Steering, Target};
use windlass_core::service::{ReleaseRef, Releases, Service, Slots};
use windlass_core::{Digest, HostId, SlotId, Timestamp};

use super::fleet::{facts, release};
use super::host::{Behaviours, Host};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behaviour {
    Good,
    NeverReady,
    ExitsAtOnce,
    CrashesLater,
    CannotPull,
}

pub(crate) struct World {
    seed: u64,
    random: u64,
    now: u64,
    replicas: u32,
    hosts: Vec<(HostId, Host)>,
    draining: Vec<HostId>,
    behaviours: Behaviours,
    releases: Releases,
    service: Service,
    slots: Slots,
    rollout: Option<Rollout>,
    issued: BTreeMap<HostId, u64>,
    /// Plans under way: when they arrive, where, and what.
    wire: Vec<(u64, HostId, HostPlan)>,
    down_until: u64,
    up_since: u64,
    pub(crate) check_minimum: bool,
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize, replicas: u32) -> Self {
        let names = (0..hosts).map(|n| (format!("h{n}").parse().unwrap(), Host::default())).collect();
        Self {
            seed,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            now: 1000,
            replicas,
            hosts: names,
            draining: Vec::new(),
            behaviours: BTreeMap::new(),
            releases: BTreeMap::new(),
            service: Service::new("production/web".parse().unwrap()),
            slots: Slots::new(),
            rollout: None,
            issued: BTreeMap::new(),
            wire: Vec::new(),
            down_until: 0,
            up_since: 0,
            check_minimum: false,
        }
    }

    fn dice(&mut self, sides: u64) -> u64 {
        // xorshift64, Marsaglia 2003.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.now * 1000).unwrap())
    }

    pub(crate) fn deploy(&mut self, behaviour: Behaviour) {
        let counter = self.service.last_counter + 1;
        let release = release(counter, self.replicas);
        let digest = Digest::of(&serde_json::to_vec(&release).unwrap());
        let reference = ReleaseRef::of(&release, digest);
        self.behaviours.insert(digest, (release.counter, behaviour));
        self.releases.insert(digest, release);
        self.start(reference, Kind::Deploy);
    }

    pub(crate) fn rollback(&mut self) {
        let to = self.service.rollback_target().expect("there is an older good release");
        self.start(to, Kind::Rollback);
    }

    fn start(&mut self, release: ReleaseRef, kind: Kind) {
        let target = Target { release, kind, actor: "sim".into(), supersede: true, retry_quarantined: false };
        let id = format!("0000000{}", self.now % 10).parse().unwrap();
        let (service, rollout, _) =
            rollout::start(&self.service, self.rollout.as_ref(), target, id, self.at()).unwrap();
        self.service = service;
        self.rollout = Some(rollout);
    }

    /// Answers false if the rollout is over or turning back already.
    pub(crate) fn abort(&mut self) -> bool {
        let rollout = self.rollout.as_ref().unwrap();
        match rollout::steer(rollout, Steering::Abort, "sim", self.at()) {
            Ok(next) => {
                self.rollout = Some(next);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn lose(&mut self, host: usize) {
        self.hosts[host].1.lost = true;
        self.hosts[host].1.lost_at = self.now;
    }

    pub(crate) fn find_all(&mut self) {
        for (_, host) in &mut self.hosts {
            host.lost = false;
        }
    }

    pub(crate) fn drain(&mut self, host: usize) {
        self.draining.push(self.hosts[host].0.clone());
    }

    pub(crate) fn kill_coordinator(&mut self, seconds: u64) {
        self.down_until = self.now + seconds;
        self.up_since = self.down_until;
        self.wire.clear();
    }

    fn fleet(&self) -> FleetView {
        let mut members = BTreeMap::new();
        for (name, host) in &self.hosts {
            let liveness = match host.lost {
                true if self.now >= host.lost_at + 30 => Liveness::Lost,
                true if self.now >= host.lost_at + 15 => Liveness::Suspect,
                _ if self.now < self.up_since + 2 => Liveness::Unknown,
                _ => Liveness::Connected,
            };
            let member = Member {
                facts: facts(),
                liveness,
                last_seen: Some(self.at()),
                scheduling: if self.draining.contains(name) {
                    Scheduling::Draining
                } else {
                    Scheduling::Ready
                },
                issued_seq: self.issued.get(name).copied().unwrap_or(0),
                observation: Some(Arc::new(host.observe(self.now, &self.behaviours))),
                taken: Taken::default(),
            };
            members.insert(name.clone(), member);
        }
        FleetView { since: Timestamp::from_millis(i64::try_from(self.up_since * 1000).unwrap()), members }
    }

    fn advance(&mut self) {
        let fleet = self.fleet();
        let next = rollout::advance(&Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: self.rollout.as_ref(),
            releases: &self.releases,
            fleet: &fleet,
            now: self.at(),
        });
        let mut dirty: Vec<HostId> = Vec::new();
        for slot in &next.touched {
            dirty.extend(self.slots.get(slot).map(|a| a.host.clone()));
            dirty.extend(next.slots.get(slot).map(|a| a.host.clone()));
        }
        (self.service, self.slots, self.rollout) = (next.service, next.slots, next.rollout);
        for (host, _) in &self.hosts {
            if dirty.contains(host) {
                *self.issued.entry(host.clone()).or_insert(0) += 1;
            }
        }
    }

    /// Sends the newest plan to everyone, now and then; late, twice or not at all.
    fn send(&mut self) {
        for index in 0..self.hosts.len() {
            let host = self.hosts[index].0.clone();
            let seq = self.issued.get(&host).copied().unwrap_or(0);
            if seq == 0 || self.hosts[index].1.lost || self.dice(3) == 0 {
                continue;
            }
            let slots = self.slots.values().filter(|a| a.host == host).map(|a| a.want.clone()).collect();
            let plan = HostPlan {
                version: 1,
                fleet: "sim".parse().unwrap(),
                host: host.clone(),
                epoch: 1,
                seq,
                issued_at: self.at(),
                expires_at: self.at(),
                slots,
            };
            let arrives = self.now + self.dice(4);
            self.wire.push((arrives, host, plan));
        }
    }

    fn second(&mut self) {
        self.now += 1;
        if self.now >= self.down_until {
            self.advance();
            self.send();
        }
        let now = self.now;
        let (arrived, rest): (Vec<_>, Vec<_>) = self.wire.drain(..).partition(|(at, ..)| *at <= now);
        self.wire = rest;
        for (_, name, plan) in arrived {
            let host = self.hosts.iter_mut().find(|(host, _)| host == &name).unwrap();
            if !host.1.lost {
                host.1.accept(&plan);
            }
        }
        for (_, host) in &mut self.hosts {
            host.tick(now, &self.behaviours);
        }
        if self.check_minimum {
            let serving = self.serving().len();
            assert!(serving >= self.replicas as usize, "seed {}: {serving} serve at {now}", self.seed);
        }
    }

    pub(crate) fn run_for(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    pub(crate) fn run_to_end(&mut self) -> State {
        for _ in 0..2000 {
            self.second();
            let state = self.rollout.as_ref().unwrap().state;
            if state.is_final() {
                return state;
            }
        }
        panic!("seed {}: no end: {:#?}", self.seed, self.rollout);
    }

    fn serving(&self) -> BTreeMap<SlotId, u64> {
        let mut serving = BTreeMap::new();
        for (_, host) in &self.hosts {
            for slot in host.slots.keys() {
                if let Some(counter) = host.healthy(slot, self.now, &self.behaviours) {
                    serving.insert(slot.clone(), counter.0);
                }
            }
        }
        serving
    }

    pub(crate) fn running(&self) -> usize {
        use super::host::Run;
        let slots = self.hosts.iter().flat_map(|(_, host)| host.slots.values());
        slots.flat_map(|slot| &slot.containers).filter(|c| matches!(c.run, Run::Since(_))).count()
    }

    pub(crate) fn slots_on(&self, host: usize) -> usize {
        self.hosts[host].1.slots.len()
    }

    pub(crate) fn last_good(&self) -> u64 {
        self.service.last_good().unwrap().counter.0
    }

    pub(crate) fn assert_all_serve(&mut self, counter: u64) {
        self.run_for(30);
        let serving = self.serving();
        let counters: Vec<u64> = serving.values().copied().collect();
        assert_eq!(counters, vec![counter; self.replicas as usize], "seed {}", self.seed);
        assert_eq!(self.running(), self.replicas as usize, "seed {}: nothing else runs", self.seed);
    }

    /// After the last event, one more decision is empty.
    pub(crate) fn assert_quiet(&mut self) {
        self.run_for(700);
        let before = (self.service.clone(), self.slots.clone(), self.rollout.clone());
        self.run_for(30);
        assert_eq!(
            before,
            (self.service.clone(), self.slots.clone(), self.rollout.clone()),
            "seed {}",
            self.seed
        );
    }
}
