//! A modelled container engine: what it is told, it does, in virtual seconds; misuse panics.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::reconcile::{
    Container, ContainerState, Health, Launch, Likeness, LocalImage, Outcome, PullFailure, RestartPolicy,
    StartFailure, Step,
};
use windlass_core::{Digest, SlotId, Timestamp};

use super::fleet::{Behaviour, Catalogue, MIN_READY, START};

const PULL: u64 = 2;
const STOP: u64 = 2;

#[derive(Default)]
pub(crate) struct Engine {
    pub(crate) containers: Vec<Container>,
    pub(crate) images: BTreeMap<Digest, LocalImage>,
    /// Until when images are being pulled.
    pub(crate) pulls: BTreeMap<Digest, u64>,
    /// Until when containers are being stopped.
    pub(crate) stops: BTreeMap<SlotId, (String, u64)>,
    pub(crate) outcomes: Vec<Outcome>,
    /// The registry does not answer this host.
    pub(crate) no_registry: bool,
    /// Releases whose process exits at once here, whatever it does elsewhere.
    pub(crate) broken: BTreeSet<Digest>,
    /// Releases whose *new* containers exit at once here; what runs already, runs.
    pub(crate) will_not_start: BTreeSet<Digest>,
    /// Releases of which the engine starts no new container.
    pub(crate) refuses: BTreeSet<Digest>,
    /// Instances that were made like that.
    doomed: BTreeSet<String>,
    /// The number of starts of each release.
    pub(crate) starts: BTreeMap<u64, usize>,
}

pub(crate) fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(second * 1000).unwrap())
}

fn health(since: Timestamp, ready: bool, was_ready: bool) -> Option<Health> {
    let history = Vec::new();
    Some(Health { ready, since, unbroken: true, was_ready, live: true, decided: true, history, why: None })
}

impl Engine {
    /// Time passes. Answers whether anything changed.
    pub(crate) fn tick(&mut self, now: u64, catalogue: &Catalogue) -> bool {
        let mut changed = false;
        let done: Vec<Digest> =
            self.pulls.iter().filter(|(_, until)| **until <= now).map(|(i, _)| *i).collect();
        for image in done {
            changed = true;
            self.pulls.remove(&image);
            if self.no_registry || catalogue.of_image(&image) == Behaviour::CannotPull {
                let failure = PullFailure::Failed("no such image".into());
                self.outcomes.push(Outcome::PullFailed { image, failure });
            } else {
                self.images.insert(image, LocalImage { id: image.to_string(), size: 1, origins: None });
                self.outcomes.push(Outcome::Pulled { image, id: image.to_string() });
            }
        }
        for container in &mut self.containers {
            let stop = self.stops.get(&container.slot).filter(|(name, _)| name == &container.instance);
            if stop.is_some_and(|(_, until)| *until <= now) {
                changed = true;
                self.stops.remove(&container.slot);
                container.state = ContainerState::Exited { code: 0, oom_killed: false, finished_at: at(now) };
            }
            let here = catalogue.behaviour(&container.release);
            let broken =
                self.broken.contains(&container.release) || self.doomed.contains(&container.instance);
            changed |= live(container, now, if broken { Behaviour::ExitsAtOnce } else { here });
        }
        changed
    }

    pub(crate) fn perform(&mut self, step: Step, now: u64) {
        match step {
            Step::Pull { image } => drop(self.pulls.entry(image.digest).or_insert(now + PULL)),
            Step::RemoveImage { image, .. } => drop(self.images.remove(&image)),
            Step::Launch(launch) => self.launch(*launch, now),
            Step::Start(target) | Step::Restart(target) => {
                let container = self.find(&target.instance);
                container.state = ContainerState::Running { started_at: at(now) };
                container.health = health(at(now), false, false);
                let counter = container.counter.0;
                *self.starts.entry(counter).or_default() += 1;
            }
            Step::Stop(target) => drop(self.stops.insert(target.slot, (target.instance, now + STOP))),
            Step::Remove(target) => {
                let index = self.containers.iter().position(|c| c.instance == target.instance).unwrap();
                let gone = self.containers.remove(index);
                assert!(!gone.state.is_up(), "removes {} while it runs", gone.instance);
            }
            Step::KeepRunning(target) => self.find(&target.instance).policy = RestartPolicy::UnlessStopped,
            Step::Task { key, .. } => unreachable!("no release here has hooks: {key}"),
            Step::CollectLog(target) => {
                let lines = vec!["boom".to_owned()];
                self.outcomes.push(Outcome::Log { slot: target.slot, instance: target.instance, lines });
            }
        }
    }

    fn find(&mut self, instance: &str) -> &mut Container {
        self.containers.iter_mut().find(|c| c.instance == instance).unwrap()
    }

    fn launch(&mut self, launch: Launch, now: u64) {
        let release = &launch.release;
        let ports: BTreeMap<String, u16> = launch.ports.iter().map(|(n, p)| (n.clone(), p.host)).collect();
        let up = || self.containers.iter().filter(|c| c.state.is_up());
        if let Some(port) = ports.values().find(|port| up().any(|c| c.ports.values().any(|p| p == *port))) {
            let failure = StartFailure::PortTaken(*port);
            let (slot, instance, release) = (launch.slot, launch.instance, release.digest);
            return self.outcomes.push(Outcome::StartFailed { slot, instance, release, failure });
        }
        if self.refuses.contains(&release.digest) {
            let failure = StartFailure::Failed("the engine says no".to_owned());
            let (slot, instance, release) = (launch.slot, launch.instance, release.digest);
            return self.outcomes.push(Outcome::StartFailed { slot, instance, release, failure });
        }
        for gpu in &launch.gpus {
            let alone = |c: &Container| {
                c.gpus
                    .iter()
                    .all(|held| held.uuid != gpu.uuid || held.memory.is_some() && gpu.memory.is_some())
            };
            assert!(up().all(alone), "{} shares a device that is exclusive", launch.instance);
        }
        *self.starts.entry(release.release.counter.0).or_default() += 1;
        if self.will_not_start.contains(&release.digest) {
            self.doomed.insert(launch.instance.clone());
        }
        let (slot, instance) = (launch.slot.clone(), launch.instance.clone());
        self.outcomes.push(Outcome::Launched { slot, instance, container: launch.instance.clone() });
        self.containers.push(Container {
            id: launch.instance.clone(),
            name: launch.instance.clone(),
            instance: launch.instance,
            slot: launch.slot,
            release: release.digest,
            content: release.content,
            counter: release.release.counter,
            generation: launch.generation,
            side: launch.side,
            ports,
            memory: release.release.spec.resources.memory.bytes(),
            gpus: launch.gpus,
            created_at: at(now),
            state: ContainerState::Running { started_at: at(now) },
            policy: RestartPolicy::No,
            restarts: 0,
            last_exit: None,
            plan: Some(launch.plan),
            health: health(at(now), false, false),
            likeness: Likeness::Same,
            answers: Default::default(),
        });
    }
}

/// A second in the life of a process. Answers whether anything changed.
fn live(container: &mut Container, now: u64, behaviour: Behaviour) -> bool {
    let ContainerState::Running { started_at } = container.state else { return false };
    let age = at(now).since(started_at).as_secs();
    let exits = match behaviour {
        Behaviour::Good | Behaviour::NeverReady => false,
        Behaviour::ExitsAtOnce => age >= 1,
        Behaviour::CrashesLater => age >= START + MIN_READY + 4,
        Behaviour::CannotPull => unreachable!("it never starts"),
    };
    if exits && container.policy == RestartPolicy::UnlessStopped {
        container.restarts += 1;
        container.last_exit = Some((1, false));
        container.state = ContainerState::Running { started_at: at(now) };
        container.health = health(at(now), false, true);
        return true;
    }
    if exits {
        container.state = ContainerState::Exited { code: 1, oom_killed: false, finished_at: at(now) };
        return true;
    }
    let ready = age >= START && behaviour != Behaviour::NeverReady;
    let was = container.health.as_ref().is_some_and(|health| health.ready);
    if ready && !was {
        container.health = health(at(now), true, true);
    }
    ready && !was
}
