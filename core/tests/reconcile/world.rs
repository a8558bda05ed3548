//! A host with an engine, in memory: performs steps, lets time pass, and panics on what must never happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use windlass_core::condition::Condition;
use windlass_core::network::InnerNetwork;
use windlass_core::observation::{InstanceState, SlotObservation, SlotStatus, TaskObservation};
use windlass_core::plan::{HostPlan, Order, Phase, PlanSlot};
use windlass_core::reconcile::room::Capacity;
use windlass_core::reconcile::{
    self, Ask, Container, ContainerState, Desired, Health, Launch, Likeness, LocalImage, Memory, Observed,
    Outcome, PullFailure, RestartPolicy, StartFailure, Step, VerifiedRelease, WantedChecks,
};
use windlass_core::release::{Release, Spec};
use windlass_core::{Digest, EnvironmentId, SlotId, Timestamp};
pub use windlass_testkit::plan::{good, replacing, running, slot};
use windlass_testkit::{plan, release};

/// The behaviour of a release's processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Behaviour {
    /// Ready so long after its start; never if absent.
    pub ready_after: Option<Duration>,
    /// Not ready any more so long after its start.
    pub unready_after: Option<Duration>,
    /// Ends so long after its start, with this code.
    pub exits: Option<(Duration, i64)>,
    /// Does not answer its liveness probe so long after its start.
    pub hangs_after: Option<Duration>,
}

pub const HEALTHY: Behaviour =
    Behaviour { ready_after: Some(secs(1)), unready_after: None, exits: None, hangs_after: None };

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub struct World {
    pub now: Timestamp,
    pub desired: Desired,
    pub plan: HostPlan,
    pub observed: Observed,
    pub memory: Memory,
    pub slots: Vec<SlotObservation>,
    pub tasks: Vec<TaskObservation>,
    pub conditions: Vec<Condition>,
    pub behaviours: BTreeMap<Digest, Behaviour>,
    /// Everything done, with the second in which it was.
    pub journal: Vec<String>,
    pub registry_down: bool,
    pub starts: Vec<StartFailure>,
    /// The host's policy lets nothing start, in these words.
    pub forbids: Option<String>,
    /// Whether the engine has lost track of containers that stand still: it starts none of them.
    pub stuck: bool,
    /// Probes do not answer.
    pub silent: bool,
    /// Probes answer, and by their counts have said neither yes nor no.
    pub readiness_unknown: bool,
    /// Steps that were begun and have not ended.
    pub pending: Vec<Step>,
    /// Things happen between decision and deed.
    pub lazy: bool,
    /// The questions to instances by the last decision.
    pub asks: Vec<Ask>,
    /// And checked before a start.
    pub checks: Vec<WantedChecks>,
    /// Inner networks that the ingress is told of, and those that the engine is to remove.
    pub networks: Vec<InnerNetwork>,
    pub unused_networks: Vec<EnvironmentId>,
    /// When the last decision asked to be made again.
    pub wake_at: Option<Timestamp>,
    ready: BTreeMap<String, (bool, Timestamp)>,
    serial: u64,
    begun: Timestamp,
}

impl World {
    pub fn new() -> Self {
        let now = Timestamp::from_millis(1_000_000_000);
        let plan = plan::plan("h1", 0, now, Vec::new());
        let desired = plan::nothing(Arc::new(plan::local("h1", "10.0.0.1")));
        let capacity = Capacity { memory: 8 << 30, ..Capacity::default() };
        Self {
            now,
            desired,
            plan,
            observed: Observed { capacity, ..Observed::default() },
            memory: Memory::default(),
            slots: Vec::new(),
            tasks: Vec::new(),
            conditions: Vec::new(),
            behaviours: BTreeMap::new(),
            journal: Vec::new(),
            registry_down: false,
            starts: Vec::new(),
            forbids: None,
            stuck: false,
            pending: Vec::new(),
            silent: false,
            readiness_unknown: false,
            lazy: false,
            asks: Vec::new(),
            checks: Vec::new(),
            networks: Vec::new(),
            unused_networks: Vec::new(),
            wake_at: None,
            ready: BTreeMap::new(),
            serial: 0,
            begun: now,
        }
    }

    /// A release whose processes behave like that; `change` adapts it.
    pub fn release(&mut self, counter: u64, behaviour: Behaviour, change: impl FnOnce(&mut Spec)) -> Digest {
        let mut release = release(counter);
        change(&mut release.spec);
        let digest = Digest::of(format!("release {counter} {:?}", release.content_digest()).as_bytes());
        self.desired.releases.insert(digest, Arc::new(VerifiedRelease::new(digest, release)));
        self.behaviours.insert(digest, behaviour);
        digest
    }

    /// A new plan with these slots.
    pub fn plan(&mut self, slots: Vec<PlanSlot>) {
        self.plan.seq += 1;
        self.plan.slots = slots;
        self.desired.plan = Some(Arc::new(self.plan.clone()));
    }

    /// Decides once and does what was decided. Answers with what was done.
    pub fn turn(&mut self) -> Vec<Step> {
        let steps = self.decide();
        for step in &steps {
            self.perform(step);
        }
        steps
    }

    /// Decides once, and begins what was decided. The oldest `ended` of those that were begun end before.
    pub fn begin(&mut self, ended: usize) {
        self.lazy = true;
        for step in self.pending.drain(..ended.min(self.pending.len())).collect::<Vec<_>>() {
            self.perform(&step);
        }
        self.observed.busy = self.pending.iter().filter_map(Step::slot).cloned().collect();
        let pulls = self.pending.iter().filter_map(|step| match step {
            Step::Pull { image } => Some((image.digest, Default::default())),
            _ => None,
        });
        self.observed.pulls = pulls.collect();
        self.observed.collecting = self.pending.iter().any(|step| matches!(step, Step::RemoveImage { .. }));
        let steps = self.decide();
        for step in &steps {
            let slot = step.slot();
            assert!(
                slot.is_none_or(|slot| !self.observed.busy.contains(slot)),
                "one step per slot at a time"
            );
        }
        self.pending.extend(steps);
    }

    fn decide(&mut self) -> Vec<Step> {
        self.look();
        let decision = reconcile::plan(&self.desired, &self.observed, &self.memory, self.now);
        let again = reconcile::plan(&self.desired, &self.observed, &self.memory, self.now);
        assert_eq!(decision.steps, again.steps, "the same question has the same answer");
        let text = serde_json::to_string(&decision.memory).unwrap();
        let mut read: Memory = serde_json::from_str(&text).unwrap();
        read.volatile = decision.memory.volatile.clone();
        assert_eq!(read, decision.memory, "the journal keeps everything");
        self.observed.outcomes.clear();
        self.memory = decision.memory;
        self.slots = decision.slots;
        self.tasks = decision.tasks;
        self.conditions = decision.conditions;
        self.wake_at = decision.wake_at;
        self.asks = decision.asks;
        self.checks = decision.checks;
        if let Some(networks) = decision.networks {
            self.networks = networks;
        }
        self.unused_networks = decision.unused_networks;
        let of_slots = decision.steps.iter().filter(|step| !matches!(step, Step::Task { .. }));
        let owners: Vec<_> = of_slots.filter_map(Step::slot).collect();
        assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), owners.len(), "one step per slot");
        for step in &decision.steps {
            self.check(step);
        }
        decision.steps
    }

    /// Asserts the rules of every decision.
    fn check(&self, step: &Step) {
        let (Step::Stop(target) | Step::Remove(target)) = step else { return };
        let Some(want) = self.plan.slots.iter().find(|want| want.slot == target.slot) else { return };
        if want.phase == Phase::Absent {
            return; // everything in it goes
        }
        let known = &self.memory.slots[&want.slot];
        let wanted = self.desired.releases.get(&want.release);
        let unleased = wanted.is_some_and(|known| known.release.spec.exclusive);
        let failed = known.failed.is_some() || known.isolated_at.is_some() || unleased;
        let fixed = self
            .desired
            .releases
            .get(&want.release)
            .is_some_and(|known| known.release.spec.ports["http"].host.is_some());
        let mine = |release: &Digest| {
            let all = self.observed.containers.iter().filter(|seen| seen.slot == want.slot);
            all.filter(|seen| seen.release == *release && known.kept.as_ref() != Some(&seen.instance)).count()
        };
        let only = mine(&target.release) == 1 && known.kept.as_ref() != Some(&target.instance);
        let stopped = self.observed.containers.iter().find(|seen| seen.id == target.container);
        // A slot has two sides: what is down already makes room where a release runs that the plan does not name.
        let names = |release: &Digest| {
            let previous = want.previous.as_ref().map(|previous| previous.release);
            [Some(want.release), previous, want.fallback].contains(&Some(*release))
        };
        let mut others = self.observed.containers.iter().filter(|seen| seen.slot == want.slot);
        let makes_room =
            others.any(|seen| !names(&seen.release)) && stopped.is_some_and(|seen| !seen.state.is_up());
        if makes_room {
            return;
        }
        if matches!(step, Step::Remove(_)) && only {
            assert!(want.good || want.fallback != Some(target.release), "the fallback is kept while armed");
        }
        let makes_way =
            want.order == Order::StopFirst && stopped.is_some_and(|seen| seen.generation < want.generation);
        if only && want.release == target.release && want.phase == Phase::Running && !failed && !makes_way {
            panic!("what the plan wants to run is never stopped: {step:?}");
        }
        let previous = want.previous.as_ref().filter(|previous| previous.release == target.release);
        let content = self.desired.releases.get(&target.release).map(|release| release.content);
        let barred = want.fallback != Some(target.release)
            && content.is_some_and(|content| self.memory.is_quarantined(&target.slot.service, &content));
        if only && !barred && previous.is_some_and(|previous| previous.phase == Phase::Running) {
            assert!(
                want.order == Order::StopFirst || fixed,
                "start-first never stops the old one unasked: {step:?}"
            );
        }
    }

    /// Lets time pass: whatever is due happens, decisions are made and done.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(
                turns < 2000,
                "it never rests: {:#?}",
                self.journal.iter().rev().take(20).collect::<Vec<_>>()
            );
            if !self.turn().is_empty() || !self.observed.outcomes.is_empty() {
                continue;
            }
            let next = self.next_event().into_iter().chain(self.wake_at).filter(|at| *at > self.now).min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = at,
                None => break,
            }
        }
        self.now = end;
        self.look();
    }

    /// Starts anew like an agent that was killed: its journal stays, what it had in mind is lost.
    pub fn restart_agent(&mut self) {
        self.memory.volatile = reconcile::Volatile::default();
        self.ready.clear();
    }

    pub fn seen(&self, slot: &SlotId) -> &SlotObservation {
        self.slots.iter().find(|seen| &seen.slot == slot).expect("the slot is reported")
    }

    pub fn status(&self, slot: &SlotId) -> &SlotStatus {
        &self.seen(slot).status
    }

    /// `r1 healthy, r2 failed`: what is there, the newest first.
    pub fn picture(&self, slot: &SlotId) -> String {
        let Some(seen) = self.slots.iter().find(|seen| &seen.slot == slot) else { return String::new() };
        let instance = |seen: &windlass_core::observation::Instance| {
            let available = if seen.available { "+" } else { "" };
            format!("{} {}{available}", seen.counter, seen.state.as_str())
        };
        seen.instances.iter().map(instance).collect::<Vec<_>>().join(", ")
    }

    pub fn up(&self, release: &Digest) -> bool {
        self.observed.containers.iter().any(|seen| &seen.release == release && seen.state.is_up())
    }

    fn next_event(&self) -> Option<Timestamp> {
        let times = self.observed.containers.iter().filter_map(|seen| {
            let ContainerState::Running { started_at } = seen.state else { return None };
            let behaviour = self.behaviours.get(&seen.release)?;
            let after = [
                behaviour.ready_after,
                behaviour.unready_after,
                behaviour.exits.map(|(after, _)| after),
                behaviour.hangs_after,
            ];
            after.into_iter().flatten().map(|after| started_at + after).filter(|at| *at > self.now).min()
        });
        times.min()
    }

    /// The engine and the probes catch up with the time.
    fn look(&mut self) {
        let now = self.now;
        for seen in &mut self.observed.containers {
            let ContainerState::Running { started_at } = seen.state else {
                seen.health = None;
                continue;
            };
            let behaviour = self.behaviours.get(&seen.release).copied().unwrap_or(HEALTHY);
            let over = |after: Option<Duration>| after.is_some_and(|after| started_at + after <= now);
            if let Some((after, code)) = behaviour.exits.filter(|(after, _)| over(Some(*after))) {
                let at = started_at + after;
                seen.health = None;
                seen.last_exit = Some((code, code == 137));
                if seen.policy == RestartPolicy::UnlessStopped {
                    seen.restarts += 1;
                    seen.state = ContainerState::Running { started_at: now };
                } else {
                    seen.state = ContainerState::Exited { code, oom_killed: code == 137, finished_at: at };
                }
                continue;
            }
            let ready = over(behaviour.ready_after) && !over(behaviour.unready_after);
            let since = self.ready.entry(seen.id.clone()).or_insert((ready, started_at));
            if since.0 != ready {
                *since = (ready, now);
            }
            let (unbroken, was_ready) = (ready, over(behaviour.ready_after));
            let live = !over(behaviour.hangs_after);
            let (silent, decided) = (self.silent, !self.readiness_unknown);
            seen.health = (!silent).then_some(Health {
                ready: ready && decided,
                since: since.1,
                unbroken,
                was_ready,
                live,
                decided,
                history: Vec::new(),
                why: None,
            });
        }
    }

    fn note(&mut self, step: &Step, what: &str) {
        let second = self.now.since(self.begun).as_secs();
        self.journal.push(format!("{second} {} {what}", step.verb()));
    }

    fn perform(&mut self, step: &Step) {
        let (now, lazy) = (self.now, self.lazy);
        match step {
            Step::Pull { image } => {
                self.note(step, &image.reference);
                let outcome = if self.registry_down {
                    let failure = PullFailure::Failed("no such host".to_owned());
                    Outcome::PullFailed { image: image.digest, failure }
                } else {
                    let id = format!("id {}", image.digest.short());
                    self.observed
                        .images
                        .insert(image.digest, LocalImage { id: id.clone(), size: 1, origins: None });
                    Outcome::Pulled { image: image.digest, id }
                };
                self.observed.outcomes.push(outcome);
            }
            Step::RemoveImage { image, .. } => {
                self.note(step, &image.short());
                let used =
                    self.desired.releases.values().any(|known| known.release.spec.image.digest == *image);
                assert!(!used, "an image that the plan names is never removed");
                self.observed.images.remove(image);
            }
            Step::Launch(launch) => self.launch(step, launch),
            Step::Start(target) => {
                self.note(step, &target.instance);
                let stuck = self.stuck.then(|| StartFailure::Stuck("task c1: already exists".to_owned()));
                if let Some(failure) = self.forbids.clone().map(StartFailure::Forbidden).or(stuck) {
                    let (slot, instance, release) =
                        (target.slot.clone(), target.instance.clone(), target.release);
                    self.observed.outcomes.push(Outcome::StartFailed { slot, instance, release, failure });
                    return;
                }
                let busy = self.ports_in_use(&target.container);
                let seen = self.container(&target.container);
                if lazy && seen.state.is_up() {
                    return;
                }
                assert!(!seen.state.is_up(), "it runs already");
                assert!(seen.ports.values().all(|port| !busy.contains(port)), "the port is in use");
                seen.restarts = 0;
                seen.state = ContainerState::Running { started_at: now };
                self.ready.remove(&target.container);
            }
            Step::Restart(target) => {
                self.note(step, &target.instance);
                self.container(&target.container).state = ContainerState::Running { started_at: now };
                self.ready.remove(&target.container);
            }
            Step::Stop(target) => {
                self.note(step, &target.instance);
                let seen = self.container(&target.container);
                if lazy && !seen.state.is_up() {
                    return;
                }
                assert!(seen.state.is_up(), "it stands still already");
                seen.state = ContainerState::Exited { code: 143, oom_killed: false, finished_at: now };
            }
            Step::Remove(target) => {
                self.note(step, &target.instance);
                assert!(!self.container(&target.container).state.is_up(), "what runs is never removed");
                self.observed.containers.retain(|seen| seen.id != target.container);
            }
            Step::KeepRunning(target) => {
                self.note(step, &target.instance);
                self.container(&target.container).policy = RestartPolicy::UnlessStopped;
            }
            Step::Task { key, step } => {
                let before = self.observed.outcomes.len();
                self.perform(step);
                for outcome in self.observed.outcomes.split_off(before) {
                    let outcome = Outcome::Task { key: key.clone(), outcome: Box::new(outcome) };
                    self.observed.outcomes.push(outcome);
                }
            }
            Step::CollectLog(target) => {
                self.note(step, &target.instance);
                let (slot, instance) = (target.slot.clone(), target.instance.clone());
                self.observed.outcomes.push(Outcome::Log { slot, instance, lines: vec!["boom".to_owned()] });
            }
        }
    }

    fn launch(&mut self, step: &Step, launch: &Launch) {
        self.note(step, &launch.instance);
        assert!(self.observed.images.values().any(|image| image.id == launch.image), "the image is here");
        let forbidden = self.forbids.clone().map(StartFailure::Forbidden);
        if let Some(failure) = forbidden.or_else(|| self.starts.pop()) {
            let (slot, instance) = (launch.slot.clone(), launch.instance.clone());
            let release = launch.release.digest;
            self.observed.outcomes.push(Outcome::StartFailed { slot, instance, release, failure });
            return;
        }
        let busy = self.ports_in_use("");
        let ports: BTreeMap<_, _> =
            launch.ports.iter().map(|(name, port)| (name.clone(), port.host)).collect();
        assert!(ports.values().all(|port| !busy.contains(port) && *port != 0), "the port is in use");
        let names = self.observed.containers.iter().map(|seen| &seen.instance);
        assert!(names.into_iter().all(|name| *name != launch.instance), "the name is taken");
        if let Some(network) = &launch.network {
            self.observed.networks.insert(launch.slot.service.environment.clone(), network.subnet);
        }
        self.serial += 1;
        self.observed.containers.push(Container {
            id: format!("c{}", self.serial),
            instance: launch.instance.clone(),
            slot: launch.slot.clone(),
            release: launch.release.digest,
            content: launch.release.content,
            counter: launch.release.release.counter,
            generation: launch.generation,
            side: launch.side,
            ports,
            memory: launch.release.release.spec.resources.memory.bytes(),
            gpus: launch.gpus.clone(),
            created_at: self.now,
            state: ContainerState::Running { started_at: self.now },
            policy: RestartPolicy::No,
            restarts: 0,
            last_exit: None,
            plan: Some(launch.plan),
            health: None,
            name: launch.instance.clone(),
            likeness: Likeness::Same,
            answers: Default::default(),
        });
        let (slot, instance) = (launch.slot.clone(), launch.instance.clone());
        let container = format!("c{}", self.serial);
        self.observed.outcomes.push(Outcome::Launched { slot, instance, container });
    }

    pub fn container(&mut self, id: &str) -> &mut Container {
        self.observed.containers.iter_mut().find(|seen| seen.id == id).expect("the container is there")
    }

    fn ports_in_use(&self, but: &str) -> BTreeSet<u16> {
        let up = self.observed.containers.iter().filter(|seen| seen.state.is_up() && seen.id != but);
        up.flat_map(|seen| seen.ports.values().copied()).collect()
    }
}

fn release(number: u64) -> Release {
    let probe = json!({
        "check": { "http": { "path": "/", "port": "http" } },
        "every": "2s", "timeout": "1s", "failures": 10, "successes": 1,
    });
    let image = Digest::of(format!("image {number}").as_bytes());
    release::release(
        number,
        json!({
            "image": release::image("registry/web", &number.to_string(), image), "scale": release::replicas(1, 1),
            "ports": { "http": { "container": 80 } }, "main_port": "http",
            "resources": { "cpu_millis": 100, "memory": "512MiB", "pids": 64 },
            "health": { "startup": probe, "liveness": probe }, "strategy": release::rolling(1, "10s"),
            "soak": "30s", "progress_deadline": "10m", "rollback_on": { "restarts": 3, "unhealthy_for": "2m" },
        }),
    )
}

/// States that mean "it serves".
pub const fn serves(state: InstanceState) -> bool {
    matches!(state, InstanceState::Healthy | InstanceState::Draining)
}
