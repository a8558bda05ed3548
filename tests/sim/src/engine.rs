//! A modelled Docker Engine of one host: containers with processes that come, go and misbehave, images, and requests
//! that take their time, fail, or happen although nobody waits for their answer any more.

use std::collections::BTreeMap;

use windlass_core::reconcile::{
    Container, ContainerState, Launch, Likeness, LocalImage, RestartPolicy, Step,
};
use windlass_core::{Digest, SlotId, Timestamp};

/// Whether an engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// Yes.
    Up,
    /// Its socket is gone; containers go on.
    Down,
    /// It takes requests and answers none.
    Hung,
}

/// A container and its process.
#[derive(Debug, Clone)]
pub struct Process {
    /// As the engine shows it.
    pub container: Container,
    /// Whether it could be used, if somebody asked.
    pub ready: bool,
    /// Since when, in virtual time.
    pub ready_since: Timestamp,
    /// Whether it would answer at all.
    pub live: bool,
    /// It, or one before it in this container, ended or failed by itself.
    pub misbehaved: bool,
    /// Somebody asked for it to be stopped.
    pub by_hand: bool,
    /// It ran on a host that a person had said to be off, or that nobody could tell to stop it.
    pub is_disowned: bool,
    /// No plan of an honest coordinator has it run, as far as anybody knows: a lie began it, or whoever knew of it has
    /// forgotten it. Until such a plan comes, that it stops is nobody's doing.
    pub is_unplanned: bool,
    /// Counts its runs, so that what was to happen to an older run does not happen to a newer one.
    pub run: u64,
    /// Runs in a row that the engine began again.
    pub again: u32,
}

/// A request under way.
#[derive(Debug, Clone)]
pub struct Request {
    /// The step that was asked for.
    pub step: Step,
    /// Which life of the agent asked.
    pub life: u64,
    /// Its progress.
    pub stage: u8,
    /// Nobody waits for it any more.
    pub is_orphan: bool,
    /// For a pull: bytes here.
    pub bytes: u64,
    /// When a byte last came.
    pub moved_at: Timestamp,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    /// Whether it answers.
    pub standing: Reachability,
    /// Containers by the engine's id.
    pub processes: BTreeMap<String, Process>,
    /// Images by digest.
    pub images: BTreeMap<Digest, LocalImage>,
    /// Requests by number.
    pub requests: BTreeMap<u64, Request>,
    next: u64,
    runs: u64,
}

impl Default for Engine {
    fn default() -> Self {
        let (processes, images, requests) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { standing: Reachability::Up, processes, images, requests, next: 0, runs: 0 }
    }
}

impl Engine {
    /// A new request; answers with its number.
    pub fn request(&mut self, step: Step, life: u64, now: Timestamp) -> u64 {
        self.next += 1;
        let request = Request { step, life, stage: 0, is_orphan: false, bytes: 0, moved_at: now };
        self.requests.insert(self.next, request);
        self.next
    }

    /// The container with this name.
    pub fn named(&self, instance: &str) -> Option<&Process> {
        self.processes.values().find(|process| process.container.instance == instance)
    }

    /// Makes a container. One with that name that never ran, or runs already, is taken over, as the agent does.
    pub fn create(&mut self, launch: &Launch, now: Timestamp) -> String {
        if let Some(known) = self.named(&launch.instance) {
            return known.container.id.clone();
        }
        self.next += 1;
        let id = format!("c{:05}", self.next);
        let release = &launch.release;
        let container = Container {
            id: id.clone(),
            instance: launch.instance.clone(),
            slot: launch.slot.clone(),
            release: release.digest,
            content: release.content,
            counter: release.release.counter,
            side: launch.side,
            ports: launch.ports.iter().map(|(name, port)| (name.clone(), port.host)).collect(),
            memory: release.release.spec.resources.memory.bytes(),
            gpus: launch.gpus.clone(),
            created_at: now,
            state: ContainerState::Created,
            policy: RestartPolicy::No,
            restarts: 0,
            last_exit: None,
            health: None,
            generation: launch.generation,
            plan: Some(launch.plan),
            name: launch.instance.clone(),
            likeness: Likeness::Same,
            answers: Default::default(),
        };
        let process = Process {
            container,
            ready: false,
            ready_since: Timestamp::ZERO,
            live: true,
            misbehaved: false,
            by_hand: false,
            is_disowned: false,
            is_unplanned: false,
            run: 0,
            again: 0,
        };
        self.processes.insert(id.clone(), process);
        id
    }

    /// A port that something else holds already.
    pub fn taken_port(&self, id: &str) -> Option<u16> {
        let mine = &self.processes.get(id)?.container;
        let others = self.processes.values().filter(|other| other.container.id != id);
        let held: Vec<u16> = others
            .filter(|other| other.container.state.is_up())
            .flat_map(|other| other.container.ports.values().copied())
            .collect();
        mine.ports.values().copied().find(|port| held.contains(port))
    }

    /// Begins a run. Answers with its number; `None` if there is no such container, or it runs.
    pub fn begin(&mut self, id: &str, now: Timestamp) -> Option<u64> {
        self.runs += 1;
        let process = self.processes.get_mut(id)?;
        if matches!(process.container.state, ContainerState::Running { .. }) {
            return None;
        }
        process.container.state = ContainerState::Running { started_at: now };
        (process.ready, process.live, process.by_hand, process.run) = (false, true, false, self.runs);
        Some(self.runs)
    }

    /// Ends the run of a container, if it runs.
    pub fn end(&mut self, id: &str, code: i64, oom_killed: bool, now: Timestamp) {
        let Some(process) = self.processes.get_mut(id) else { return };
        if process.container.state.is_up() {
            process.container.state = ContainerState::Exited { code, oom_killed, finished_at: now };
            process.container.last_exit = Some((code, oom_killed));
            process.ready = false;
        }
    }

    /// Everything that runs ends: the machine, or the engine with its containers, goes down.
    pub fn end_all(&mut self, now: Timestamp) {
        let ids: Vec<String> = self.processes.keys().cloned().collect();
        ids.iter().for_each(|id| self.end(id, 137, false, now));
    }

    /// Those that the engine starts by itself when it comes up.
    pub fn to_revive(&self) -> Vec<String> {
        let revived = |process: &&Process| {
            process.container.policy == RestartPolicy::UnlessStopped
                && !process.by_hand
                && !process.container.state.is_up()
                && process.container.state != ContainerState::Created
        };
        self.processes.values().filter(revived).map(|process| process.container.id.clone()).collect()
    }

    /// Whether an instance of the slot serves.
    pub fn serves(&self, slot: &SlotId) -> bool {
        self.processes.values().any(|process| &process.container.slot == slot && process.serves())
    }
}

impl Process {
    /// Whether it does its work.
    pub fn serves(&self) -> bool {
        self.ready && self.live && matches!(self.container.state, ContainerState::Running { .. })
    }
}
