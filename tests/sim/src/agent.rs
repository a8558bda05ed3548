//! A simulated agent: the real verification and the real decisions, over a modelled engine, disk and network.
//!
//! The knowledge of its process is in [`Agent`] and is lost with it; its files are in [`crate::host::Disk`]. The
//! order is that of the real one: verified, written, and only then acted upon.

mod documents;
mod link;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use windlass_agent::lease::Contact;
use windlass_core::condition::Condition;
use windlass_core::observation::{
    EngineState, Observation, PullProgress, Refusal, RefusalCode, SlotObservation, SlotStatus,
};
use windlass_core::reconcile::room::Capacity;
use windlass_core::reconcile::{
    self, Container, ContainerState, Desired, Health, Lease, Memory, Observed, Outcome, PlanNumber, Step,
};
use windlass_core::{Digest, SlotId, Span, Timestamp};

use crate::context::Context;
use crate::engine::Reachability;
use crate::event::Event;
use crate::host::{Host, Written, uptime};

pub use link::Link;
pub use requests::STOPPED;

/// Time between two looks at everything without an event.
const RESYNC: Duration = Duration::from_secs(15);
/// Time until the engine is asked again while it does not answer.
const AWAY: Duration = Duration::from_secs(2);
/// Decisions at one moment; more are a loop.
const MOST_AT_ONCE: u32 = 40;
/// Decisions in a second; more are an agent that asks itself again and again.
const MOST_A_SECOND: u32 = 300;

/// The agent's process.
#[derive(Debug)]
pub struct Agent {
    /// Which life of the host's agent it is.
    pub life: u64,
    /// When it will decide.
    pub wake_at: Option<Timestamp>,
    /// Its stream.
    pub link: Option<Link>,
    /// A traffic table that it could not take when it came.
    pub table: Option<Bytes>,
    /// Streams that failed in a row.
    pub misses: u32,
    begun_at: Timestamp,
    memory: Memory,
    desired: Arc<Desired>,
    outcomes: Vec<Outcome>,
    slots: Vec<SlotObservation>,
    watched: BTreeMap<String, Watched>,
    /// Its newest report.
    pub report: Option<Observation>,
    /// The coordinator's last sign of life, by a clock that nobody sets.
    contact: Option<Contact>,
    /// When the agent began, by that clock.
    began: Duration,
    was_away: bool,
    /// The plan of the journal as it was found.
    from_journal: Option<PlanNumber>,
    clock_set_at: Timestamp,
    /// The carried out plan, if it is newer than the plan in force.
    behind: Option<PlanNumber>,
    /// The conditions, for people.
    conditions: Vec<Condition>,
    decided: (Timestamp, u32),
    /// The same since the beginning of a second.
    decided_lately: (Timestamp, u32),
}

/// The knowledge of a run from asking it.
#[derive(Debug)]
struct Watched {
    run: u64,
    health: Option<Health>,
    /// Whether there was an answer that was not good.
    broken: bool,
}

impl Agent {
    /// The number of slots in the plan in force.
    pub fn slots(&self) -> u64 {
        let slots = self.desired.plan.as_ref().map_or(0, |plan| plan.slots.len());
        u64::try_from(slots).unwrap_or(u64::MAX)
    }

    /// The last sign of life by which what never runs twice may run.
    pub fn lease(&self) -> Option<Contact> {
        self.contact.filter(|contact| contact.seq.is_some())
    }
}

impl Host {
    /// The agent starts: it takes up what its disk says.
    pub fn start(&mut self, context: &mut Context) {
        if self.agent.is_some() || !self.is_on {
            return;
        }
        self.lives += 1;
        let now = self.clock(context.now);
        let memory = self.disk.state.as_ref().map(|state| state.memory.clone());
        let desired = self.taken_up(context);
        self.agent = Some(Agent {
            life: self.lives,
            wake_at: None,
            link: None,
            table: None,
            misses: 0,
            begun_at: now,
            memory: memory.unwrap_or_else(Memory::of_new_host),
            from_journal: desired.plan.as_deref().map(PlanNumber::of),
            desired: Arc::new(desired),
            clock_set_at: Timestamp::ZERO,
            behind: None,
            conditions: Vec::new(),
            outcomes: Vec::new(),
            slots: Vec::new(),
            watched: BTreeMap::new(),
            report: None,
            contact: self.kept_lease(),
            began: uptime(context.now),
            was_away: false,
            decided: (Timestamp::ZERO, 0),
            decided_lately: (Timestamp::ZERO, 0),
        });
        context.say(|| format!("{} agent starts, life {}", self.name, self.lives));
        self.wake(context, Duration::ZERO);
        if self.edge.is_installed {
            let hands = context.now + context.traffic.millis(10, 600);
            context.queue.push(hands, Event::Hand(self.index));
        }
        let connects = context.now + context.dice.millis(1, 500);
        context.queue.push(connects, Event::Connect(self.index, self.lives));
    }

    /// Looks, decides, writes down, acts, reports: what the reconciler does whenever it wakes.
    pub fn decide(&mut self, context: &mut Context) {
        let now = self.clock(context.now);
        let Some(agent) = &mut self.agent else { return };
        agent.wake_at = None;
        agent.decided = if agent.decided.0 == now { (now, agent.decided.1 + 1) } else { (now, 1) };
        let (since, count) = agent.decided_lately;
        let is_over = context.now.since(since) >= Duration::from_secs(1);
        agent.decided_lately = if is_over { (context.now, 1) } else { (since, count + 1) };
        if agent.decided.1 > MOST_AT_ONCE || agent.decided_lately.1 > MOST_A_SECOND {
            return context.checks.fail(format!("{}: its agent decides without end", self.name));
        }
        if self.engine.standing != Reachability::Up {
            agent.was_away = true;
            self.publish(context, EngineState::Unavailable("the engine does not answer".to_owned()));
            return self.wake(context, AWAY);
        }
        if std::mem::take(&mut agent.was_away) {
            self.interrupted_before = now;
        }
        self.watch(context);
        let observed = self.observed(context);
        let Some(agent) = &mut self.agent else { return };
        let decision = reconcile::plan(&agent.desired, &observed, &agent.memory, now);
        if !decision.memory.is_journaled_by(&agent.memory) && self.disk.state.is_some() {
            let memory = Memory { volatile: Default::default(), ..decision.memory.clone() };
            let written = self.write(|disk| {
                if let Some(state) = &mut disk.state {
                    state.memory = memory;
                }
            });
            match written {
                Written::Yes => {}
                Written::Full => return self.wake(context, Duration::from_secs(1)),
                Written::Died => return self.crash(context),
            }
        }
        let Some(agent) = &mut self.agent else { return };
        agent.memory = decision.memory;
        agent.behind = decision.behind;
        agent.conditions = decision.conditions;
        agent.outcomes.clear();
        agent.slots = decision.slots;
        self.note_failures(context);
        for step in decision.steps {
            self.begin(context, step);
        }
        self.publish(context, EngineState::Available);
        let until = decision.wake_at.map_or(RESYNC, |at| at.since(now).min(RESYNC));
        self.wake(context, until.max(Duration::from_millis(1)));
    }

    /// Whether it would do nothing, if it were asked once more; else the reason.
    pub fn is_settled(&self, context: &Context) -> Result<(), String> {
        let Some(agent) = &self.agent else { return Err("its agent does not run".to_owned()) };
        let observed = self.observed(context);
        let decision = reconcile::plan(&agent.desired, &observed, &agent.memory, self.clock(context.now));
        // A good release that has turned bad since is started again and again; that is no unrest of ours.
        let behaves = |slot: &SlotId| {
            let release = self.plan_slot(slot).map(|want| want.release);
            release.is_none_or(|release| context.shop.behaves(&release))
        };
        let ours = |step: &&Step| step.slot().is_none_or(behaves);
        if let Some(step) = decision.steps.iter().find(ours) {
            return Err(format!("one more decision is not empty: {step:?}"));
        }
        if decision.steps.is_empty() && !decision.memory.is_journaled_by(&agent.memory) {
            return Err("one more decision remembers something else".to_owned());
        }
        let converging = SlotStatus::Converging;
        let may_rest = |slot: &SlotId| behaves(slot) && !self.is_below_floor(context, slot);
        match decision.slots.iter().find(|seen| seen.status == converging && may_rest(&seen.slot)) {
            Some(seen) => Err(format!("{} is still converging: {:?}", seen.slot, seen.instances)),
            None => Ok(()),
        }
    }

    fn observed(&self, context: &Context) -> Observed {
        let Some(agent) = &self.agent else { return Observed::default() };
        let containers = self.engine.processes.values().map(|process| {
            let watched = agent.watched.get(&process.container.id);
            let health = watched.filter(|watched| watched.run == process.run).and_then(|w| w.health.clone());
            Container { health, ..process.container.clone() }
        });
        let (now, up) = (self.clock(context.now), uptime(context.now));
        // The clock may have been set since: what counts is how long ago it was.
        let ago = |at: Duration| now - up.saturating_sub(at);
        let seen_at = agent.contact.map(|contact| ago(contact.at));
        let mine = || self.engine.requests.values().filter(|request| request.life == agent.life);
        let pulls = mine().filter_map(|request| match &request.step {
            Step::Pull { image } => {
                Some((image.digest, PullProgress { done: request.bytes, total: image.size }))
            }
            _ => None,
        });
        Observed {
            containers: containers.collect(),
            images: self.engine.images.clone(),
            pulls: pulls.collect(),
            collecting: mine().any(|request| matches!(request.step, Step::RemoveImage { .. })),
            busy: self.busy(agent.life),
            busy_tasks: BTreeSet::new(),
            outcomes: agent.outcomes.clone(),
            capacity: Capacity { memory: self.facts.memory, ..Capacity::default() },
            coordinator_last_seen: seen_at.max(Some(ago(agent.began))),
            heard: agent.contact.is_some_and(|contact| contact.at > agent.began),
            lease: agent
                .contact
                .and_then(|contact| contact.seq)
                .zip(seen_at)
                .map(|(newest, renewed_at)| Lease { renewed_at, current: self.seq() >= newest }),
            interrupted_before: self.interrupted_before,
            watching_since: agent.begun_at.min(self.clock(context.now)),
            from_journal: agent.from_journal,
            checks: BTreeMap::new(),
            gpu_errors: BTreeMap::new(),
            networks: BTreeMap::new(),
            subnets: BTreeSet::new(),
            clock_set_at: agent.clock_set_at,
        }
    }

    fn busy(&self, life: u64) -> BTreeSet<SlotId> {
        let mine = self.engine.requests.values().filter(|request| request.life == life && !request.is_orphan);
        mine.filter_map(|request| request.step.slot().cloned()).collect()
    }

    /// The clock was set: nothing is known of how long anything has lasted.
    pub fn clock_was_set(&mut self, context: &Context) {
        let now = self.clock(context.now);
        self.interrupted_before = self.interrupted_before.min(now);
        let Some(agent) = &mut self.agent else { return };
        agent.clock_set_at = now;
        let volatile = &mut agent.memory.volatile;
        volatile.pulls.clear();
        volatile.starts.clear();
        volatile.asked.clear();
        volatile.steps.clear();
        for health in agent.watched.values_mut().filter_map(|watched| watched.health.as_mut()) {
            health.since = now;
        }
    }

    /// Asks those that run and have probes, each from a moment of its own on.
    fn watch(&mut self, context: &mut Context) {
        let Some(agent) = &mut self.agent else { return };
        let processes = &self.engine.processes;
        agent.watched.retain(|id, _| processes.contains_key(id));
        for (id, process) in processes {
            let runs = matches!(process.container.state, ContainerState::Running { .. });
            let known = agent.watched.get(id).is_some_and(|watched| watched.run == process.run);
            if !runs || known || !agent.desired.releases.contains_key(&process.container.release) {
                continue;
            }
            agent.watched.insert(id.clone(), Watched { run: process.run, health: None, broken: false });
            let answers = context.now + context.dice.millis(20, 900);
            context.queue.push(answers, Event::Probe(self.index, agent.life, id.clone(), process.run));
        }
    }

    /// A probe has an answer.
    pub fn probed(&mut self, context: &mut Context, id: &str, run: u64) {
        let now = self.clock(context.now);
        let Some(agent) = &mut self.agent else { return };
        let Some(process) = self.engine.processes.get(id).filter(|process| process.run == run) else {
            return;
        };
        let Some(watched) = agent.watched.get_mut(id).filter(|watched| watched.run == run) else { return };
        if !matches!(process.container.state, ContainerState::Running { .. }) {
            return;
        }
        let (ready, live) = (process.ready, process.live);
        watched.broken |= !ready;
        let before = watched.health.as_ref();
        let since = before.filter(|health| health.ready == ready).map_or(now, |health| health.since);
        let was_ready = ready || before.is_some_and(|health| health.was_ready);
        let (unbroken, decided, history) = (!watched.broken, true, Vec::new());
        let next = Health { ready, since, unbroken, was_ready, live, decided, history, why: None };
        if watched.health.as_ref() != Some(&next) {
            watched.health = Some(next);
            self.wake(context, Duration::from_millis(1));
        }
    }

    /// Asks a process whose truth has changed, as the next probe would.
    pub fn ask_soon(&mut self, context: &mut Context, id: &str, patience: (u64, u64)) {
        let Some(agent) = &self.agent else { return };
        let Some(process) = self.engine.processes.get(id) else { return };
        let answers = context.now + context.dice.millis(patience.0, patience.1);
        context.queue.push(answers, Event::Probe(self.index, agent.life, id.to_owned(), process.run));
    }

    /// Something in the engine changed, and its events say so.
    pub fn notice(&mut self, context: &mut Context) {
        let after = context.dice.millis(1, 40);
        self.wake(context, after);
    }

    fn publish(&mut self, context: &mut Context, engine: EngineState) {
        let Some(agent) = &mut self.agent else { return };
        let revision = agent.report.as_ref().map_or(0, |report| report.revision);
        let next = Observation {
            revision,
            seq: agent.desired.plan.as_ref().map_or(0, |plan| plan.seq),
            engine,
            plan_refusal: agent.desired.plan_refusal.clone().or_else(|| agent.behind.map(older_copy)),
            unwritable: self.is_full.then(|| "no space left".to_owned()),
            conditions: agent.conditions.clone(),
            slots: agent.slots.clone(),
            tasks: Vec::new(),
        };
        if agent.report.as_ref() != Some(&next) {
            agent.report = Some(Observation { revision: revision + 1, ..next });
            self.report(context);
        }
    }

    /// The plan in force.
    pub fn seq(&self) -> u64 {
        self.agent.as_ref().and_then(|agent| agent.desired.plan.as_ref()).map_or(0, |plan| plan.seq)
    }

    /// The slot in the plan in force.
    pub(crate) fn plan_slot(&self, slot: &SlotId) -> Option<&windlass_core::plan::PlanSlot> {
        let plan = self.agent.as_ref()?.desired.plan.as_ref()?;
        plan.slots.iter().find(|want| &want.slot == slot)
    }

    /// Whether its agent has this release, and believes it.
    pub(crate) fn believes(&self, release: &Digest) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.desired.releases.contains_key(release))
    }

    /// Whether the wanted release failed in the slot, as it was last said.
    pub(crate) fn has_failed(&self, slot: &SlotId) -> bool {
        let agent = self.agent.as_ref();
        let known = agent.and_then(|agent| agent.memory.slots.get(slot));
        known.is_some_and(|known| known.failed.is_some())
    }

    /// Whether the slot stands still because the coordinator was not heard of.
    pub(crate) fn is_isolated(&self, slot: &SlotId, now: Timestamp) -> bool {
        let known = self.agent.as_ref().and_then(|agent| agent.memory.slots.get(slot));
        known.is_some_and(|known| known.isolated_at.is_some()) || self.is_unleased(slot, now)
    }

    /// Whether the slot's release is one that never runs twice, and its lease is over.
    fn is_unleased(&self, slot: &SlotId, now: Timestamp) -> bool {
        let Some(agent) = &self.agent else { return false };
        let release = self.plan_slot(slot).and_then(|want| agent.desired.releases.get(&want.release));
        let Some(spec) = release.map(|release| &release.release.spec).filter(|spec| spec.exclusive) else {
            return false;
        };
        let limit = spec.on_lost.stop_isolated_after.map(Span::duration);
        agent.lease().is_none_or(|c| limit.is_some_and(|limit| uptime(now).saturating_sub(c.at) >= limit))
    }

    /// Notes the content that failed here, as its reports say: it may not be started again unasked.
    fn note_failures(&mut self, context: &mut Context) {
        use windlass_core::observation::FailureReason;
        let Some(agent) = &self.agent else { return };
        for seen in &agent.slots {
            let SlotStatus::Failed { evidence, .. } = &seen.status else { continue };
            context.say(|| format!("{} says that {} failed: {:?}", self.name, seen.slot, evidence.reason));
            // A journal from before knows nothing of that.
            let by_us = evidence.reason == FailureReason::Exited { code: STOPPED };
            let instance = evidence.instance.as_deref().and_then(|name| self.engine.named(name));
            if by_us && !self.is_restored && instance.is_some_and(|process| !process.misbehaved) {
                let line = format!("{}: {} is blamed for a stop of ours: {evidence:?}", self.name, seen.slot);
                context.checks.fail(line);
            }
            // A new instance of a good release that fails condemns nothing: what it was to replace goes on.
            let is_restart = self.plan_slot(&seen.slot).is_some_and(|want| want.good);
            let fault = !is_restart && !matches!(evidence.reason, FailureReason::PortTaken { .. });
            if let Some(release) = agent.desired.releases.get(&evidence.release).filter(|_| fault)
                && evidence.instance.is_some()
            {
                let content = (seen.slot.service.clone(), release.content);
                // It may have failed before a plan asked for it again, and be reported after.
                if self.asked.get(&content).is_none_or(|asked_at| evidence.at > *asked_at) {
                    self.failed.insert(content);
                }
            }
        }
    }
}

fn older_copy(newer: PlanNumber) -> Refusal {
    let detail = format!("the journal is older than what runs here, which was made under plan {newer}");
    Refusal { code: RefusalCode::Stale, detail }
}
