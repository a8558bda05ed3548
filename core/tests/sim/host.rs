//! A modelled host: the real agent's decisions over a modelled engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_core::fleet::Scheduling;
use windlass_core::host::HostFacts;
use windlass_core::observation::{
    EngineState, Observation, Refusal, RefusalCode, SlotObservation, SlotStatus,
};
use windlass_core::plan::HostPlan;
use windlass_core::reconcile::room::Capacity;
use windlass_core::reconcile::{self, Container, Desired, Lease, LocalHost, Memory, Observed, Step};
use windlass_core::{Counter, Digest, HostId, SlotId, Timestamp};

use super::engine::{Engine, at};
use super::fleet::{Catalogue, facts};

pub(crate) struct Host {
    pub(crate) name: HostId,
    pub(crate) facts: HostFacts,
    pub(crate) scheduling: Scheduling,
    pub(crate) plan: Option<Arc<HostPlan>>,
    pub(crate) engine: Engine,
    memory: Memory,
    /// Its report.
    pub(crate) slots: Vec<SlotObservation>,
    wake_at: Option<Timestamp>,
    /// Its network is cut; it goes on by itself.
    pub(crate) cut: bool,
    /// Nothing it sends arrives; what is sent to it does.
    pub(crate) mute: bool,
    /// Its agent is dead, and what it runs goes on.
    pub(crate) agent_dead: bool,
    /// When the last report that was acknowledged was sent, and the newest plan that the coordinator had then.
    pub(crate) lease: Option<(u64, u64)>,
    /// Its engine does not answer.
    pub(crate) engine_down: bool,
    /// It takes no plan.
    pub(crate) refuses: bool,
    /// It is no member any more.
    pub(crate) evicted: bool,
    /// Contents that failed here and were not asked for again.
    failed: BTreeSet<Digest>,
}

impl Host {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.parse().unwrap(),
            facts: facts(),
            scheduling: Scheduling::Ready,
            plan: None,
            engine: Engine::default(),
            memory: Memory::default(),
            slots: Vec::new(),
            wake_at: None,
            cut: false,
            mute: false,
            agent_dead: false,
            lease: None,
            engine_down: false,
            refuses: false,
            evicted: false,
            failed: BTreeSet::new(),
        }
    }

    pub(crate) fn offer(&mut self, plan: &Arc<HostPlan>) {
        if self.agent_dead {
            return;
        }
        let newer = self.plan.as_ref().is_none_or(|old| old.seq < plan.seq);
        if newer && !self.refuses && !self.cut {
            self.plan = Some(Arc::clone(plan));
            self.wake_at = Some(Timestamp::ZERO);
        }
    }

    /// The agent's disk is lost; its containers are not.
    pub(crate) fn lose_disk(&mut self) {
        self.memory = Memory::of_new_host();
        self.plan = None;
        self.failed.clear();
        self.wake_at = Some(Timestamp::ZERO);
    }

    pub(crate) fn tick(&mut self, now: u64, catalogue: &Catalogue) {
        if self.engine_down {
            return;
        }
        let changed = self.engine.tick(now, catalogue);
        if self.agent_dead {
            return;
        }
        let leased = self.lease.is_some();
        if !leased
            && !changed
            && self.wake_at.is_none_or(|wake_at| wake_at > at(now))
            && !now.is_multiple_of(7)
        {
            return;
        }
        for _ in 0..8 {
            let decision = reconcile::plan(&self.desired(catalogue), &self.observed(), &self.memory, at(now));
            self.memory = decision.memory;
            self.slots = decision.slots;
            self.wake_at = decision.wake_at;
            self.note_failures(catalogue);
            if decision.steps.is_empty() {
                break;
            }
            for step in decision.steps {
                self.check_quarantine(&step, catalogue);
                self.engine.perform(step, now);
            }
        }
    }

    fn note_failures(&mut self, catalogue: &Catalogue) {
        let content = |release: &Digest| catalogue.releases[release].content;
        for seen in &self.slots {
            if let SlotStatus::Failed { evidence, .. } = &seen.status
                && evidence.instance.is_some()
            {
                self.failed.insert(content(&evidence.release));
            }
        }
        for want in self.plan.iter().flat_map(|plan| &plan.slots) {
            if want.good || want.retry_quarantined {
                self.failed.remove(&content(&want.release));
            }
        }
    }

    /// Content that failed here is not started again unless a plan calls it good or asks for a retry.
    fn check_quarantine(&self, step: &Step, catalogue: &Catalogue) {
        let release = match step {
            Step::Launch(launch) => launch.release.digest,
            Step::Start(target) | Step::Restart(target) => target.release,
            _ => return,
        };
        let content = catalogue.releases[&release].content;
        assert!(!self.failed.contains(&content), "{} starts what failed there: {step:?}", self.name);
    }

    fn desired(&self, catalogue: &Catalogue) -> Desired {
        Desired {
            local: Arc::new(LocalHost {
                fleet: "demo".parse().unwrap(),
                host: self.name.clone(),
                address: self.facts.address.clone(),
                policy: self.facts.policy.clone(),
            }),
            plan: self.plan.clone(),
            releases: catalogue.releases.clone(),
            plan_refusal: None,
            refusals: BTreeMap::new(),
        }
    }

    fn observed(&mut self) -> Observed {
        Observed {
            containers: self.engine.containers.clone(),
            images: self.engine.images.clone(),
            pulls: self.engine.pulls.keys().map(|image| (*image, Default::default())).collect(),
            busy: self.engine.stops.keys().cloned().collect(),
            outcomes: std::mem::take(&mut self.engine.outcomes),
            lease: self.lease.map(|(sent, issued)| Lease {
                renewed_at: at(sent),
                current: self.plan.as_ref().is_some_and(|plan| plan.seq >= issued),
            }),
            capacity: Capacity {
                memory: self.facts.memory,
                gpus: self.facts.gpus.iter().map(|gpu| (gpu.uuid.clone(), gpu.clone())).collect(),
                ..Capacity::default()
            },
            ..Observed::default()
        }
    }

    pub(crate) fn observe(&self, now: u64) -> Observation {
        let refusal = || Refusal { code: RefusalCode::UnknownKey, detail: "a test".into() };
        Observation {
            revision: now,
            seq: self.plan.as_ref().map_or(0, |plan| plan.seq),
            engine: if self.engine_down {
                EngineState::Unavailable("no answer".into())
            } else {
                EngineState::Available
            },
            plan_refusal: self.refuses.then(refusal),
            unwritable: None,
            conditions: Vec::new(),
            slots: self.slots.clone(),
            tasks: Vec::new(),
        }
    }

    pub(crate) fn up(&self) -> impl Iterator<Item = &Container> {
        self.engine.containers.iter().filter(|container| container.state.is_up())
    }

    /// Slots with a process that is ready, and its release.
    pub(crate) fn serving(&self) -> BTreeMap<SlotId, Counter> {
        let ready = self.up().filter(|c| c.health.as_ref().is_some_and(|health| health.ready));
        ready.map(|container| (container.slot.clone(), container.counter)).collect()
    }
}
