//! A rollout in the middle, where an old instance has to stop before the new one starts.

use std::sync::Arc;

use crate::digest::Digest;
use crate::fixture::{at, fleet, instance, reference, release, report, steady};
use crate::fleet::FleetView;
use crate::host::Liveness;
use crate::id::SlotId;
use crate::observation::{Clock, Evidence, FailureReason, InstanceState, SlotObservation, SlotStatus};
use crate::plan::{Order, Phase, Previous};
use crate::release::Release;
use crate::rollout::{Kind, RollbackMode, Rollout, Snapshot, State, Target, Waiting, advance, start};
use crate::service::{Releases, Service, Slots};

/// Three slots on three hosts, r1 good, r2 on its way with one of three unavailable at most, stop-first.
#[derive(Clone)]
pub(crate) struct Midway {
    pub(crate) fleet: FleetView,
    pub(crate) service: Service,
    pub(crate) slots: Slots,
    pub(crate) releases: Releases,
    pub(crate) rollout: Rollout,
    /// The things that the last step waits for.
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) r1: Release,
    pub(crate) r2: Release,
}

pub(crate) fn stop_first(json: &mut serde_json::Value) {
    let rolling = &mut json["spec"]["strategy"]["rolling"];
    (rolling["order"], rolling["batch"]) = ("stop_first".into(), 3.into());
}

pub(crate) fn deploy(release: &Release, supersede: bool) -> Target {
    let (release, kind, actor) = (reference(release), Kind::Deploy, "ada".to_owned());
    Target { release, kind, actor, supersede, retry_quarantined: false }
}

/// Evidence of an instance that ended by itself.
pub(crate) fn evidence(release: &Release) -> Evidence {
    Evidence {
        instance: None,
        release: reference(release).digest,
        counter: release.counter,
        clock: Clock::Health,
        reason: FailureReason::Exited { code: 1 },
        exit_code: Some(1),
        oom_killed: false,
        restarts: 0,
        log: Vec::new(),
        log_unread: false,
        probes: Vec::new(),
        at: at(108),
        not_ready: None,
        fault: Default::default(),
    }
}

impl Midway {
    pub(crate) fn new() -> Self {
        Self::between(release(1, stop_first), release(2, stop_first))
    }

    pub(crate) fn between(r1: Release, r2: Release) -> Self {
        let mut fleet = fleet(3);
        let (service, mut slots, mut releases) = steady(&r1, 3, &mut fleet);
        releases.insert(reference(&r2).digest, r2.clone());
        let id = "00000001".parse().unwrap();
        let (service, mut rollout, _) = start(&service, None, deploy(&r2, false), id, at(100)).unwrap();
        (rollout.state, rollout.changed) = (State::Advancing, true);
        for assignment in slots.values_mut() {
            assignment.edit(|want| {
                (want.release, want.good, want.phase) = (reference(&r2).digest, false, Phase::Pulled);
                want.fallback = Some(reference(&r1).digest);
                want.previous = Some(Previous { release: reference(&r1).digest, phase: Phase::Running });
            });
        }
        report(&slots, &releases, &mut fleet, InstanceState::Healthy);
        Self { fleet, service, slots, releases, rollout, waiting: Vec::new(), r1, r2 }
    }

    pub(crate) fn slot(&self, n: usize) -> SlotId {
        self.slots.keys().nth(n).unwrap().clone()
    }

    /// Its plan says that r1 stops and r2 starts; its host has that plan.
    pub(crate) fn begin(&mut self, n: usize) {
        self.slots.get_mut(&self.slot(n)).unwrap().edit(|want| {
            (want.phase, want.order) = (Phase::Running, Order::StopFirst);
            want.previous.as_mut().unwrap().phase = Phase::Standby;
        });
    }

    /// Sets the instances that run in a slot, as its host says.
    pub(crate) fn see(&mut self, n: usize, running: &[(&Release, InstanceState)]) {
        let slot = self.slot(n);
        let instances = running
            .iter()
            .map(|(release, state)| instance(&slot, reference(release).digest, release, *state));
        let instances = instances.collect();
        self.seen(n).instances = instances;
    }

    pub(crate) fn seen(&mut self, n: usize) -> &mut SlotObservation {
        let slot = self.slot(n);
        let member = self.fleet.members.get_mut(self.slots[&slot].host()).unwrap();
        let observation = Arc::make_mut(member.observation.as_mut().unwrap());
        observation.slots.iter_mut().find(|seen| seen.slot == slot).unwrap()
    }

    /// Its host is away, or back.
    pub(crate) fn is_away(&mut self, n: usize, away: bool) {
        let host = self.slots[&self.slot(n)].host().clone();
        let liveness = if away { Liveness::Lost } else { Liveness::Connected };
        self.fleet.members.get_mut(&host).unwrap().liveness = liveness;
    }

    /// Its host says that this release failed there.
    pub(crate) fn fails(&mut self, n: usize, release: &Release) {
        let evidence = Box::new(evidence(release));
        self.seen(n).status = SlotStatus::Failed { restored: None, evidence };
    }

    /// Its agent has begun anew, and has no answer yet of what runs there.
    pub(crate) fn forgets(&mut self, n: usize) {
        for seen in &mut self.seen(n).instances {
            (seen.state, seen.available, seen.readiness_unknown) = (InstanceState::Starting, false, true);
        }
    }

    /// Its host has not taken its newest plan.
    pub(crate) fn is_behind(&mut self, n: usize) {
        let host = self.slots[&self.slot(n)].host().clone();
        self.fleet.members.get_mut(&host).unwrap().issued_seq = 9;
    }

    pub(crate) fn supersede(&mut self, release: &Release) {
        self.releases.insert(reference(release).digest, release.clone());
        let id = "00000002".parse().unwrap();
        let begun = start(&self.service, Some(&self.rollout), deploy(release, true), id, at(105)).unwrap();
        (self.service, self.rollout) = (begun.0, begun.1);
    }

    pub(crate) fn go_back(&mut self) {
        (self.rollout.state, self.rollout.going_back) = (State::RollingBack, Some(RollbackMode::RolledBack));
    }

    /// One step of the rollout, or of the care after it; the slots that it changed.
    pub(crate) fn step(&mut self) -> Vec<SlotId> {
        let next = advance(&Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: Some(&self.rollout).filter(|rollout| !rollout.state.is_final()),
            releases: &self.releases,
            fleet: &self.fleet,
            now: at(110),
        });
        (self.service, self.slots, self.waiting) = (next.service, next.slots, next.waiting);
        next.rollout.into_iter().for_each(|rollout| self.rollout = rollout);
        next.touched.into_iter().collect()
    }

    pub(crate) fn previous(&self, n: usize) -> Option<(Digest, Phase)> {
        self.slots[&self.slot(n)].other().map(|other| (other.release, other.run))
    }
}
