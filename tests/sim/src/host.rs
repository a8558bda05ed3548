//! A simulated host: its machine, its engine, the agent's disk, and the agent's process while it lives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use windlass_agent::state::{State, TrustMark};
use windlass_certs::identity::PeerIdentity;
use windlass_certs::trust::TrustStore;
use windlass_core::host::{HostFacts, HostPolicy, Limit};
use windlass_core::reconcile::LocalHost;
use windlass_core::{Counter, Digest, HostId, ServiceId, Size, Timestamp};

use crate::agent::Agent;
use crate::context::Context;
use crate::engine::Engine;
use crate::event::Event;
use crate::keys::{fleet, keys};

/// What survives the agent's process.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The journal; `None` if it cannot be read.
    pub state: Option<State>,
    /// Releases that were accepted.
    pub releases: BTreeMap<Digest, Vec<u8>>,
    /// The trust document.
    pub trust: TrustStore,
}

/// What came of a write to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    Yes,
    /// There was no room: it is not there.
    Full,
    /// The process died, before or after it was there.
    Died,
}

/// At which write the agent dies.
#[derive(Debug, Clone, Copy)]
pub struct Doom {
    /// So many writes happen before.
    pub writes: u64,
    /// Is the last one there?
    pub written: bool,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    /// Its place.
    pub index: usize,
    /// Its name.
    pub name: HostId,
    /// What it is.
    pub facts: HostFacts,
    /// As the agent's decisions know it.
    pub local: Arc<LocalHost>,
    /// Milliseconds that its clock is ahead.
    pub ahead: i64,
    /// Is the machine on?
    pub is_on: bool,
    /// Nothing it sends arrives.
    pub cut_up: bool,
    /// Nothing sent to it arrives.
    pub cut_down: bool,
    /// The registry does not answer it.
    pub no_registry: bool,
    /// Its engine fails now and then.
    pub is_flaky: bool,
    /// Nothing can be written.
    pub is_full: bool,
    /// At which write its agent dies.
    pub doom: Option<Doom>,
    /// Its certificate.
    pub peer: Option<PeerIdentity>,
    /// How often it joined.
    pub joined: usize,
    /// Its engine.
    pub engine: Engine,
    /// What ended before was ended by a reboot or an outage of the engine.
    pub interrupted_before: Timestamp,
    /// What survives.
    pub disk: Disk,
    /// An older copy of it.
    pub copy: Option<Disk>,
    /// When somebody makes one.
    pub copy_at: Option<Timestamp>,
    /// The agent's process.
    pub agent: Option<Agent>,
    /// Its lives so far.
    pub lives: u64,
    /// The world took its journal, or gave it an older one, and it has taken no plan since.
    pub is_astray: bool,
    /// Contents that failed here, and that no plan has asked for again.
    pub failed: BTreeSet<(ServiceId, Digest)>,
    /// Containers whose stop is not ours: it was begun while the host was alone, or by a person.
    pub excused_stops: BTreeSet<String>,
    /// Floors of good releases that its plans named.
    pub floors: BTreeMap<ServiceId, Counter>,
    /// The highest seq in its journal.
    pub highest: u64,
}

impl Host {
    /// A machine that never joined.
    ///
    /// # Panics
    /// Never: the name is a name.
    pub fn new(index: usize, memory: u64) -> Self {
        let name: HostId = format!("h{index}").parse().expect("a host's name");
        let policy = HostPolicy {
            registries: vec!["registry.sim:5000".to_owned()],
            host_ports: [8080].into(),
            max_memory: Limit::Bytes(Size::from_bytes(memory)),
            ..HostPolicy::default()
        };
        let facts = HostFacts {
            agent_version: "sim".to_owned(),
            plan_versions: vec![windlass_core::plan::PLAN_VERSION],
            address: "127.0.0.1".to_owned(),
            platform: "linux/amd64".to_owned(),
            cpu_millis: 4000,
            memory: 8 << 30,
            policy: policy.clone(),
            ..HostFacts::default()
        };
        let local = LocalHost { fleet: fleet(), host: name.clone(), address: facts.address.clone(), policy };
        Self {
            index,
            name,
            facts,
            local: Arc::new(local),
            ahead: 0,
            is_on: true,
            cut_up: false,
            cut_down: false,
            no_registry: false,
            is_flaky: false,
            is_full: false,
            doom: None,
            peer: None,
            joined: 0,
            engine: Engine::default(),
            interrupted_before: Timestamp::ZERO,
            disk: Disk { state: None, releases: BTreeMap::new(), trust: keys().first_trust() },
            copy: None,
            copy_at: None,
            agent: None,
            lives: 0,
            is_astray: false,
            failed: BTreeSet::new(),
            excused_stops: BTreeSet::new(),
            floors: BTreeMap::new(),
            highest: 0,
        }
    }

    /// A new folder, as a join makes it.
    pub fn fresh_disk(&mut self, trust: TrustStore, now: Timestamp) {
        let mark = TrustMark { version: trust.version(), digest: trust.digest() };
        let state = Some(State::joined(mark, self.clock(now)));
        self.disk = Disk { state, releases: BTreeMap::new(), trust };
        self.forget();
    }

    /// What was known of its journal holds no more: the world changed it.
    pub fn forget(&mut self) {
        self.is_astray = true;
        self.failed.clear();
        self.floors.clear();
        self.highest = self.disk.state.as_ref().and_then(|s| s.plan.as_ref()).map_or(0, |plan| plan.seq);
    }

    /// What its clock shows.
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis() + self.ahead)
    }

    /// Writes to the disk.
    pub fn write(&mut self, change: impl FnOnce(&mut Disk)) -> Written {
        if self.is_full {
            return Written::Full;
        }
        match &mut self.doom {
            Some(Doom { writes: 0, written }) => {
                if *written {
                    change(&mut self.disk);
                }
                self.doom = None;
                Written::Died
            }
            Some(doom) => {
                doom.writes -= 1;
                change(&mut self.disk);
                Written::Yes
            }
            None => {
                change(&mut self.disk);
                Written::Yes
            }
        }
    }

    /// The agent's process ends, however it ends. What it asked the engine for may still happen.
    pub fn die(&mut self, context: &mut Context) {
        let Some(agent) = self.agent.take() else { return };
        let mut gone = Vec::new();
        for (number, request) in &mut self.engine.requests {
            request.is_orphan = true;
            let is_pull = matches!(request.step, windlass_core::reconcile::Step::Pull { .. });
            if is_pull || context.dice.chance(50) {
                gone.push(*number);
            }
        }
        gone.iter().for_each(|number| drop(self.engine.requests.remove(number)));
        if let Some(link) = agent.link {
            let noticed = context.now + context.dice.millis(1, 60);
            context.queue.push(noticed, Event::Silent(self.index, link.stream));
        }
    }

    /// The agent's process ends, and whoever looks after it starts it again.
    pub fn crash(&mut self, context: &mut Context) {
        self.die(context);
        let back = context.now + context.dice.millis(300, 15_000);
        context.queue.push(back, Event::AgentStarts(self.index));
    }

    /// Wakes the agent so much later.
    pub fn wake(&mut self, context: &mut Context, after: Duration) {
        let (index, at) = (self.index, context.now + after);
        let Some(agent) = &mut self.agent else { return };
        if agent.wake_at.is_none_or(|wake_at| wake_at > at) {
            agent.wake_at = Some(at);
            context.queue.push(at, Event::Wake(index, agent.life));
        }
    }
}
