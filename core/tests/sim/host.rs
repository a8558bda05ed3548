//! A modelled host: does what an agent does with a plan, in virtual seconds.

use std::collections::BTreeMap;

use windlass_core::observation::{
    Clock, EngineState, Evidence, FailureReason, Instance, InstanceState, Observation, SlotObservation,
    SlotStatus,
};
use windlass_core::plan::{HostPlan, Order, Phase, PlanSlot};
use windlass_core::{Counter, Digest, SlotId, Timestamp};

use super::world::Behaviour;

const START: u64 = 2;
const MIN_READY: u64 = 5;
const HEALTH_DEADLINE: u64 = 12;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Run {
    Stopped,
    Failed,
    Since(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) release: Digest,
    pub(crate) run: Run,
}

#[derive(Default, Clone)]
pub(crate) struct Slot {
    pub(crate) containers: Vec<Container>,
    failed: Option<(Digest, bool)>,
    pulled: Vec<Digest>,
    begun_pull: BTreeMap<Digest, u64>,
}

#[derive(Default)]
pub(crate) struct Host {
    pub(crate) plan: Option<HostPlan>,
    pub(crate) slots: BTreeMap<SlotId, Slot>,
    quarantine: Vec<Digest>,
    pub(crate) lost: bool,
    pub(crate) lost_at: u64,
}

pub(crate) type Behaviours = BTreeMap<Digest, (Counter, Behaviour)>;

impl Host {
    pub(crate) fn accept(&mut self, plan: &HostPlan) {
        if self.plan.as_ref().is_none_or(|old| old.seq < plan.seq) {
            self.plan = Some(plan.clone());
        }
    }

    pub(crate) fn tick(&mut self, now: u64, behaviours: &Behaviours) {
        let Some(plan) = self.plan.clone() else { return };
        self.slots.retain(|id, _| plan.slots.iter().any(|want| &want.slot == id));
        for want in &plan.slots {
            let mut slot = self.slots.remove(&want.slot).unwrap_or_default();
            self.drive(&mut slot, want, now, behaviours);
            self.slots.insert(want.slot.clone(), slot);
        }
    }

    fn drive(&mut self, slot: &mut Slot, want: &PlanSlot, now: u64, behaviours: &Behaviours) {
        let behaviour = behaviours[&want.release].1;
        if slot
            .failed
            .is_some_and(|(release, retry)| release != want.release || (want.retry_quarantined && !retry))
        {
            slot.failed = None;
        }
        if want.good {
            self.quarantine.retain(|content| content != &want.release);
        }
        let previous = want.previous.as_ref();
        let keeps = |release: &Digest| {
            *release == want.release
                || previous.is_some_and(|p| &p.release == release && p.phase != Phase::Absent)
                || slot.failed.is_some() && want.fallback.as_ref() == Some(release)
        };
        slot.containers.retain(|c| keeps(&c.release) || c.run == Run::Failed);
        let begun = *slot.begun_pull.entry(want.release).or_insert(now);
        if behaviour == Behaviour::CannotPull {
            slot.failed = Some((want.release, want.retry_quarantined));
        } else if now > begun && !slot.pulled.contains(&want.release) {
            slot.pulled.push(want.release);
        }
        if slot.failed.is_none() && want.phase == Phase::Running {
            self.judge(slot, want, now, behaviour);
        }
        let failed = slot.failed.is_some();
        if let Some(previous) = previous {
            let phase = if failed && want.fallback == Some(previous.release) {
                Phase::Running
            } else {
                previous.phase
            };
            set(slot, previous.release, phase, now);
        }
        if failed {
            set(slot, want.release, Phase::Standby, now);
            if let Some(fallback) = want.fallback.filter(|_| want.phase == Phase::Running) {
                set(slot, fallback, Phase::Running, now);
            }
            return;
        }
        match want.phase {
            Phase::Pulled => {}
            Phase::Running if !slot.pulled.contains(&want.release) => {}
            Phase::Running if want.order == Order::StopFirst && runs_other(slot, want.release) => {}
            phase => set(slot, want.release, phase, now),
        }
    }

    /// Local rollback: what an agent does without being told.
    fn judge(&mut self, slot: &mut Slot, want: &PlanSlot, now: u64, behaviour: Behaviour) {
        let Some(container) = slot.containers.iter_mut().find(|c| c.release == want.release) else { return };
        let Run::Since(since) = container.run else { return };
        let age = now - since;
        let fails = match behaviour {
            Behaviour::Good => false,
            Behaviour::NeverReady => age >= HEALTH_DEADLINE,
            Behaviour::ExitsAtOnce => age >= 1,
            Behaviour::CrashesLater => age >= START + MIN_READY + 4,
            Behaviour::CannotPull => unreachable!("it never starts"),
        };
        if fails {
            assert!(!want.good, "only a release that is not yet good fails in this model");
            container.run = Run::Failed;
            slot.failed = Some((want.release, want.retry_quarantined));
            self.quarantine.push(want.release);
        }
    }

    pub(crate) fn observe(&self, now: u64, behaviours: &Behaviours) -> Observation {
        let Some(plan) = &self.plan else {
            return Observation { engine: EngineState::Available, ..Observation::default() };
        };
        let slots = plan.slots.iter().map(|want| self.observe_slot(want, now, behaviours)).collect();
        Observation {
            revision: now,
            seq: plan.seq,
            engine: EngineState::Available,
            plan_refusal: None,
            slots,
        }
    }

    fn observe_slot(&self, want: &PlanSlot, now: u64, behaviours: &Behaviours) -> SlotObservation {
        let slot = self.slots.get(&want.slot).cloned().unwrap_or_default();
        let instances: Vec<Instance> = slot.containers.iter().map(|c| instance(c, now, behaviours)).collect();
        let status = match slot.failed {
            Some((release, _)) => SlotStatus::Failed {
                restored: want.fallback,
                evidence: Box::new(evidence(release, behaviours)),
            },
            None => SlotStatus::Converging,
        };
        SlotObservation {
            slot: want.slot.clone(),
            release: Some(want.release),
            status,
            pulled: slot.pulled.contains(&want.release),
            pull: None,
            instances,
        }
    }

    pub(crate) fn healthy(&self, slot: &SlotId, now: u64, behaviours: &Behaviours) -> Option<Counter> {
        let slot = self.slots.get(slot)?;
        let healthy = |c: &&Container| instance(c, now, behaviours).state == InstanceState::Healthy;
        slot.containers.iter().find(healthy).map(|c| behaviours[&c.release].0)
    }
}

fn runs_other(slot: &Slot, release: Digest) -> bool {
    slot.containers.iter().any(|c| c.release != release && matches!(c.run, Run::Since(_)))
}

fn set(slot: &mut Slot, release: Digest, phase: Phase, now: u64) {
    let found = slot.containers.iter_mut().find(|c| c.release == release);
    match (phase, found) {
        (Phase::Running | Phase::Draining, Some(container)) if container.run == Run::Stopped => {
            container.run = Run::Since(now);
        }
        (Phase::Running | Phase::Draining, None) => {
            slot.containers.insert(0, Container { release, run: Run::Since(now) });
        }
        (Phase::Standby, Some(container)) if container.run != Run::Failed => container.run = Run::Stopped,
        (Phase::Absent, Some(_)) => slot.containers.retain(|c| c.release != release),
        (Phase::Pulled | Phase::Running | Phase::Draining | Phase::Standby | Phase::Absent, _) => {}
    }
}

fn instance(container: &Container, now: u64, behaviours: &Behaviours) -> Instance {
    let (counter, behaviour) = behaviours[&container.release];
    let (state, available) = match container.run {
        Run::Stopped => (InstanceState::Standby, false),
        Run::Failed => (InstanceState::Failed, false),
        Run::Since(since) => {
            let age = now - since;
            let ready = age >= START && behaviour != Behaviour::NeverReady;
            let state = if ready { InstanceState::Healthy } else { InstanceState::Starting };
            (state, ready && age >= START + MIN_READY)
        }
    };
    Instance {
        id: format!("{counter}"),
        container: None,
        release: container.release,
        counter,
        state,
        since: Timestamp::ZERO,
        available,
        endpoints: BTreeMap::new(),
        restarts: 0,
    }
}

fn evidence(release: Digest, behaviours: &Behaviours) -> Evidence {
    Evidence {
        instance: None,
        release,
        counter: behaviours[&release].0,
        clock: Clock::Health,
        reason: FailureReason::LivenessFailed,
        exit_code: None,
        oom_killed: false,
        restarts: 0,
        log: Vec::new(),
        probes: Vec::new(),
        at: Timestamp::ZERO,
    }
}
