//! A simulated host: its machine, its engine, the agent's disk, and the agent's process while it lives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use windlass_agent::lease::Contact;
use windlass_agent::state::{State, TrustMark};
use windlass_certs::identity::PeerIdentity;
use windlass_certs::trust::TrustStore;
use windlass_core::host::{HostFacts, HostPolicy, Limit};
use windlass_core::reconcile::LocalHost;
use windlass_core::{Counter, Digest, HostId, ServiceId, Size, Timestamp};

use crate::agent::Agent;
use crate::context::Context;
use crate::edge::{Edge, Kept};
use crate::engine::{Engine, Reachability};
use crate::event::Event;
use crate::keys::{BEGIN, fleet, keys};
use crate::shop::LEASE;

/// The state that survives the agent's process.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The journal; `None` if it cannot be read.
    pub state: Option<State>,
    /// Releases that were accepted.
    pub releases: BTreeMap<Digest, Vec<u8>>,
    /// The trust document.
    pub trust: TrustStore,
    /// The lease of what never runs twice: in which boot of the machine, and of when.
    pub lease: Option<(u64, Duration)>,
    /// The newest traffic table.
    pub table: Option<Kept>,
}

/// The clock that nobody sets. It does not begin anew with a boot, as the real one does; what is compared with what is
/// from before the boot is told apart by the boot.
pub fn uptime(now: Timestamp) -> Duration {
    now.since(BEGIN)
}

/// The result of a write to the disk.
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
    /// Whether the last one is there.
    pub written: bool,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    /// Its place.
    pub index: usize,
    /// Its name.
    pub name: HostId,
    /// Its facts.
    pub facts: HostFacts,
    /// As the agent's decisions know it.
    pub local: Arc<LocalHost>,
    /// The memory that its policy gives to containers, in bytes.
    pub memory: u64,
    /// Milliseconds that its clock is ahead.
    pub ahead: i64,
    /// Whether the machine is on.
    pub is_on: bool,
    /// The number of its boots.
    pub boots: u64,
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
    /// The number of its joins.
    pub joined: usize,
    /// Its ingress.
    pub edge: Edge,
    /// Its engine.
    pub engine: Engine,
    /// An end before this time is that of a reboot or of an outage of the engine.
    pub interrupted_before: Timestamp,
    /// The state that survives.
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
    /// The coordinator has heard nothing of that, since then.
    pub loss_unheard_since: Option<Timestamp>,
    /// The world gave it an older journal, which it works on since.
    pub is_restored: bool,
    /// A person said that it is off, and it was not: what it runs is that person's business.
    pub is_disowned: bool,
    /// Digests of plans that nobody honest has signed.
    pub lies: BTreeSet<Digest>,
    /// It took one of them.
    pub is_deceived: bool,
    /// When its engine last did not do what it was asked for.
    pub hindered_at: Option<Timestamp>,
    /// Contents that failed here, and that no plan has asked for again.
    pub failed: BTreeSet<(ServiceId, Digest)>,
    /// Containers whose stop is not ours: it was begun while the host was alone, or by a person.
    pub excused_stops: BTreeSet<String>,
    /// When a plan last asked for a content again, or called it good, by its clock.
    pub asked: BTreeMap<(ServiceId, Digest), Timestamp>,
    /// Floors of good releases that its plans named.
    pub floors: BTreeMap<ServiceId, Counter>,
    /// The highest seq in its journal.
    pub highest: u64,
}

/// The address of a host.
pub fn address(index: usize) -> String {
    format!("10.0.0.{}", index + 1)
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
            plan_versions: windlass_core::plan::PLAN_VERSIONS.to_vec(),
            release_versions: windlass_core::release::RELEASE_VERSIONS.to_vec(),
            routes_versions: windlass_core::traffic::ROUTES_VERSIONS.to_vec(),
            address: address(index),
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
            memory,
            ahead: 0,
            is_on: true,
            boots: 0,
            cut_up: false,
            cut_down: false,
            no_registry: false,
            is_flaky: false,
            is_full: false,
            doom: None,
            peer: None,
            joined: 0,
            edge: Edge::default(),
            engine: Engine::default(),
            interrupted_before: Timestamp::ZERO,
            disk: Disk {
                state: None,
                releases: BTreeMap::new(),
                trust: keys().first_trust(),
                lease: None,
                table: None,
            },
            copy: None,
            copy_at: None,
            agent: None,
            lives: 0,
            is_astray: false,
            loss_unheard_since: None,
            is_restored: false,
            is_disowned: false,
            lies: BTreeSet::new(),
            is_deceived: false,
            hindered_at: None,
            failed: BTreeSet::new(),
            excused_stops: BTreeSet::new(),
            asked: BTreeMap::new(),
            floors: BTreeMap::new(),
            highest: 0,
        }
    }

    /// A new folder, as a join makes it.
    pub fn fresh_disk(&mut self, context: &mut Context, trust: TrustStore) {
        let mark = TrustMark { version: trust.version(), digest: trust.digest() };
        let state = Some(State::joined(mark, self.clock(context.now)));
        self.disk = Disk { state, releases: BTreeMap::new(), trust, lease: None, table: None };
        self.forget(context);
        self.is_restored = false;
        self.is_deceived = false;
    }

    /// Whether the newest plan of its journal is one that nobody honest has signed.
    pub fn holds_a_lie(&self) -> bool {
        let mark = self.disk.state.as_ref().and_then(|state| state.plan.as_ref());
        mark.is_some_and(|mark| self.lies.contains(&mark.digest))
    }

    /// Below that number nothing of a service may start here.
    pub fn floor(&self, service: &ServiceId) -> Counter {
        let known = self.floors.get(service).copied().unwrap_or(Counter(0));
        self.disk.trust.document().floor(service).max(known)
    }

    /// The lease that an agent before this one kept, in this boot. It does not tell which plan is the newest.
    pub fn kept_lease(&self) -> Option<Contact> {
        let (_, at) = self.disk.lease.filter(|(boot, _)| *boot == self.boots)?;
        Some(Contact { at, seq: Some(u64::MAX) })
    }

    /// Forgets the known journal: the world changed it.
    pub fn forget(&mut self, context: &mut Context) {
        self.is_astray = true;
        self.loss_unheard_since.get_or_insert(context.now);
        self.failed.clear();
        self.floors.clear();
        self.highest = self.disk.state.as_ref().and_then(|s| s.plan.as_ref()).map_or(0, |plan| plan.seq);
        context.checks.forgotten(&self.name, self.highest);
        let name = &self.name;
        for process in self.engine.processes.values_mut() {
            process.is_unplanned |= context.checks.has_forgotten(name, &process.container);
        }
    }

    /// Whether its engine, or its disk, kept the agent from stopping what never runs twice when the lease was over. One that
    /// lost its journal while nobody heard of that does not know what it has to stop.
    pub fn was_kept_from_stopping(&self, now: Timestamp) -> bool {
        let contact = self.agent.as_ref().map_or_else(|| self.kept_lease(), Agent::lease);
        let over_at = contact.map_or(Duration::ZERO, |contact| contact.at + LEASE);
        let is_hindered = self.is_flaky || self.is_full || self.engine.standing != Reachability::Up;
        let hindered_at = if is_hindered { Some(now) } else { self.hindered_at };
        let hindered = hindered_at.is_some_and(|at| uptime(at) >= over_at);
        self.loss_unheard_since.is_some() || (uptime(now) >= over_at && hindered)
    }

    /// The coordinator hears what became of the journal. What ran on until then, and longer than by any lease, nobody
    /// could have stopped.
    pub fn is_heard(&mut self, now: Timestamp) {
        let since = self.loss_unheard_since.take();
        if since.is_some_and(|since| now.since(since) >= LEASE) {
            self.engine.processes.values_mut().for_each(|process| process.is_disowned = true);
        }
    }

    /// It is a member again: it joined anew, or the coordinator was set back to before it was evicted. What ran here all the
    /// while is the business of whoever had said that the machine is off.
    pub fn belongs_again(&mut self) {
        if std::mem::take(&mut self.is_disowned) {
            self.engine.processes.values_mut().for_each(|process| process.is_disowned = true);
        }
    }

    /// The coordinator is heard of. What ran on although the lease was over, since nothing could be stopped, is nobody's fault
    /// until it stops.
    pub fn hears(&mut self, now: Timestamp) {
        if self.was_kept_from_stopping(now) {
            self.engine.processes.values_mut().for_each(|process| process.is_disowned = true);
        }
    }

    /// The time of its clock.
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
