//! Everything together: hosts, coordinator, network, people and trouble, one event after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::{Counter, ServiceId, Timestamp};

use crate::center::{Backing, Center};
use crate::check::{self, Exempted, Led};
use crate::context::Context;
use crate::event::{Down, Event, Up};
use crate::host::Host;
use crate::keys::{BEGIN, MOST_HOSTS};
use crate::network;
use crate::operator::Action;
use crate::shop::{Behaviour, Profile, Shape};
use crate::strict::Oracle;
use crate::trouble::Trouble;

/// When the first trouble comes.
const SETTLED: Duration = Duration::from_secs(35);
/// So long after the last event, everything has to be at rest.
const PATIENCE: Duration = Duration::from_secs(1500);
/// Time between two questions for it.
const ASK: Duration = Duration::from_secs(10);
/// Standbys are kept for ten minutes; some runs wait for their end.
const TAIL: Duration = Duration::from_secs(660);

/// The simulated world.
pub struct World {
    pub(crate) context: Context,
    pub(crate) hosts: Vec<Host>,
    pub(crate) center: Center,
    pub(crate) profiles: Vec<Profile>,
    /// Floors of the newest trust document.
    pub(crate) floors: BTreeMap<ServiceId, Counter>,
    /// Every version of the trust document after the first, and its floors, as they were signed.
    pub(crate) trusts: BTreeMap<u64, (Vec<u8>, BTreeMap<ServiceId, Counter>)>,
    /// When the store is exported.
    backup_at: Option<Timestamp>,
    /// When somebody will say what counts.
    pub(crate) recovers_at: Option<Timestamp>,
    /// People who asked for something, heard no answer, and will ask again.
    pub(crate) unanswered: u32,
    streams: u64,
    events: u64,
    fingerprint: u64,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Its troubles and checks.
    pub oracle: Oracle,
    /// Events that happened.
    pub events: u64,
    /// Processes that were started.
    pub starts: u64,
    /// Instances that served and were stopped by a step of ours.
    pub stops: u64,
    /// The ends of rollouts.
    pub ends: BTreeMap<&'static str, usize>,
    /// The exempted violations.
    pub exempted: Exempted,
    /// The work of ingresses and gates.
    pub led: Led,
    /// Equal for equal runs.
    pub fingerprint: u64,
    /// The violation, and its time.
    pub violation: Option<String>,
}

/// Some hosts get an ingress, and services what leads requests to them.
fn install(context: &mut Context, hosts: &mut [Host], profiles: &mut [Profile]) {
    let edges = *context.traffic.pick(&[0, 1, 1, 1, 2, 2]);
    for _ in 0..edges {
        let index = context.traffic.index(hosts.len());
        hosts[index].edge.is_installed = true;
        let at = BEGIN + context.traffic.seconds(1, 60);
        context.queue.push(at, Event::EdgeStarts(index));
    }
    profiles.iter_mut().for_each(|profile| profile.lead(&mut context.traffic, edges > 0));
}

impl World {
    /// A world that `seed` decides.
    pub fn new(seed: u64, oracle: Oracle, backing: Backing, trace: bool) -> Self {
        let mut context = Context::new(seed, trace);
        context.checks.oracle = oracle;
        let hosts = 2 + context.dice.index(MOST_HOSTS - 2);
        let services = 1 + context.dice.index(3);
        let profiles: Vec<Profile> =
            (0..services).map(|n| Profile::draw(&mut context.dice, n, hosts)).collect();
        let exclusive = profiles.iter().filter(|profile| profile.shape == Shape::Exclusive);
        context.checks.exclusive = exclusive.map(|profile| profile.id.clone()).collect();
        let memory = *context.dice.pick(&[1500 << 20, 3 << 30]);
        let mut made: Vec<Host> = (0..hosts).map(|index| Host::new(index, memory)).collect();
        for host in &mut made {
            host.ahead = i64::try_from(context.dice.below(80_000)).unwrap_or(0) - 40_000;
        }
        context.checks.is_routed = context.is_routed;
        let mut profiles = profiles;
        if context.is_routed {
            install(&mut context, &mut made, &mut profiles);
        }
        Self {
            center: Center::new(backing, BEGIN),
            context,
            hosts: made,
            profiles,
            floors: BTreeMap::new(),
            trusts: BTreeMap::new(),
            backup_at: None,
            recovers_at: None,
            unanswered: 0,
            streams: 0,
            events: 0,
            fingerprint: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Runs it to the end.
    pub async fn run(mut self, seed: u64) -> Outcome {
        self.begin().await;
        let until = BEGIN + SETTLED + self.context.dice.seconds(60, 420);
        self.draw_trouble(until);
        self.run_until(until).await;
        if self.context.checks.violation().is_none() {
            self.calm();
            self.rest().await;
        }
        let at = self.context.now.since(BEGIN).as_secs_f64();
        let checks = &self.context.checks;
        let violation = checks.violation().map(|violation| format!("at {at:.3} s: {violation}"));
        let outcome = Outcome {
            seed,
            oracle: checks.oracle,
            events: self.events,
            starts: checks.runs,
            stops: checks.stopped,
            ends: checks.ends(),
            exempted: checks.exempted.clone(),
            led: checks.led,
            fingerprint: self.fingerprint,
            violation,
        };
        self.center.close().await;
        outcome
    }

    /// The coordinator starts, hosts join, every service gets a first release.
    async fn begin(&mut self) {
        for profile in &self.profiles {
            self.context.say(|| format!("{profile:?}"));
        }
        self.context.say(|| format!("{:?}", self.context.weather));
        self.center.start(&mut self.context).await;
        for host in 0..self.hosts.len() {
            if let Err(error) = self.rejoin(host).await {
                self.context.checks.fail(format!("h{host} cannot join: {error}"));
            }
        }
        self.context.queue.push(BEGIN + Duration::from_secs(1), Event::Tick);
        for service in 0..self.profiles.len() {
            let at = BEGIN + self.context.dice.seconds(3, 8);
            self.context.queue.push(at, Event::Act(Action::Deploy(service, Behaviour::Good)));
        }
    }

    fn draw_trouble(&mut self, until: Timestamp) {
        let begin = BEGIN + SETTLED;
        let window = u64::try_from(until.since(begin).as_millis()).unwrap_or(0);
        let (hosts, services) = (self.hosts.len(), self.profiles.len());
        let dice = &mut self.context.dice;
        for _ in 0..dice.below(14) {
            let at = begin + Duration::from_millis(dice.below(window));
            self.context.queue.push(at, Event::Break(Trouble::any(dice, hosts)));
        }
        for _ in 0..1 + dice.below(9) {
            let at = begin + Duration::from_millis(dice.below(window));
            self.context.queue.push(at, Event::Act(Action::any(dice, services, hosts)));
        }
        // An older copy that is restored has been made before.
        self.backup_at = Some(begin + Duration::from_millis(dice.below(window)));
        for host in &mut self.hosts {
            host.copy_at = Some(begin + Duration::from_millis(dice.below(window)));
        }
        if self.context.is_routed {
            self.draw_lanes(begin, window);
        }
    }

    async fn run_until(&mut self, until: Timestamp) {
        while self.context.checks.violation().is_none() {
            let Some((at, event)) = self.context.queue.pop() else { return };
            if at > until {
                self.context.queue.push(at, event);
                self.context.now = until;
                return;
            }
            self.context.now = self.context.now.max(at);
            self.center.set_clock(self.context.now);
            self.events += 1;
            self.note(&event);
            self.happen(event).await;
            self.center.settle(&mut self.context, &self.hosts).await;
            self.context.checks.look(&self.hosts, self.context.now);
        }
    }

    async fn happen(&mut self, event: Event) {
        let oracle = self.context.checks.oracle;
        match event {
            Event::Break(trouble) if !oracle.admits_trouble(&trouble) => {}
            Event::Act(action) if !oracle.admits_act(&action) => {}
            Event::Tick => {
                self.context.queue.push(self.context.now + Duration::from_secs(1), Event::Tick);
                self.center.tick(&mut self.context).await;
                self.ask();
                self.copies().await;
                self.notice_recovery();
            }
            Event::Due => {}
            Event::EdgeStarts(host) => self.hosts[host].edge_starts(&mut self.context),
            Event::Hand(host) => self.hosts[host].hand(&mut self.context),
            Event::Pulse(host, process, again) => self.pulse(host, process, again),
            Event::Answer(answered) => self.answered(answered.0, answered.1),
            Event::CenterStarts => {
                self.center.start(&mut self.context).await;
                self.hurry();
            }
            Event::Up(host, stream, message) => self.up(host, stream, message).await,
            Event::Down(host, stream, message) => self.down(host, stream, message),
            Event::Silent(host, stream) => {
                self.center.disconnected(host, stream);
                self.hosts[host].disconnected(&mut self.context, stream);
            }
            Event::AgentStarts(host) => self.hosts[host].start(&mut self.context),
            Event::Connect(host, life) => {
                self.streams += 1;
                if self.lives(host, life) {
                    self.hosts[host].connect(&mut self.context, self.streams);
                }
            }
            Event::Beat(host, stream) => self.hosts[host].beat(&mut self.context, stream),
            Event::Wake(host, life) => {
                let due = self.hosts[host].agent.as_ref().and_then(|agent| agent.wake_at);
                if self.lives(host, life) && due == Some(self.context.now) {
                    self.hosts[host].decide(&mut self.context);
                }
            }
            Event::Probe(host, life, container, run) => {
                if self.lives(host, life) {
                    self.hosts[host].probed(&mut self.context, &container, run);
                }
            }
            Event::Request(host, number) => self.hosts[host].request(&mut self.context, number),
            Event::Life(host, container, run, what) => {
                self.hosts[host].live(&mut self.context, &container, run, what);
            }
            Event::Boot(host) => self.boots(host),
            Event::Break(trouble) => self.breaks(trouble).await,
            Event::Heal(trouble) => self.heals(trouble),
            Event::Act(action) => self.act(action).await,
        }
    }

    /// People deploy as soon as the coordinator is back, while what it knows of its hosts is from before; the more so where
    /// it died in the middle of a rollout.
    fn hurry(&mut self) {
        let Some(embedded) = self.center.embedded.as_ref().filter(|_| !self.context.is_calm) else { return };
        let moving =
            |service: &usize| embedded.look(|view| view.active(&self.profiles[*service].id).is_some());
        let moved: Vec<usize> = (0..self.profiles.len()).filter(moving).collect();
        let dice = &mut self.context.dice;
        let service = if moved.is_empty() { dice.index(self.profiles.len()) } else { *dice.pick(&moved) };
        if dice.chance(if moved.is_empty() { 20 } else { 60 }) {
            let at = self.context.now + dice.millis(0, 600);
            let deploy = Event::Act(Action::Supersede(service, Behaviour::any(dice)));
            self.context.queue.push(at, deploy);
        }
    }

    async fn up(&mut self, host: usize, stream: u64, message: Up) {
        if network::arrives(&self.hosts[host], &mut self.context, stream, true) {
            self.center.receive(&mut self.context, &self.hosts[host], stream, message).await;
        }
    }

    fn down(&mut self, host: usize, stream: u64, message: Down) {
        if network::arrives(&self.hosts[host], &mut self.context, stream, false) {
            self.hosts[host].receive(&mut self.context, stream, message);
        }
    }

    fn lives(&self, host: usize, life: u64) -> bool {
        self.hosts[host].agent.as_ref().is_some_and(|agent| agent.life == life)
    }

    async fn copies(&mut self) {
        if self.backup_at.is_some_and(|at| at <= self.context.now) {
            self.backup_at = None;
            self.center.back_up(&mut self.context).await;
        }
        for host in &mut self.hosts {
            if host.copy_at.is_some_and(|at| at <= self.context.now) {
                host.copy_at = None;
                host.copy = Some(host.disk.clone());
            }
        }
    }

    /// Waits until everything is at rest.
    async fn rest(&mut self) {
        let deadline = self.context.now + PATIENCE;
        let mut why = None;
        while self.context.now < deadline {
            self.look_after().await;
            self.run_until(self.context.now + ASK).await;
            if self.context.checks.violation().is_some() {
                return;
            }
            why = self.why_not_at_rest();
            if why.is_none() {
                break;
            }
        }
        if let Some(why) = why {
            return self
                .context
                .checks
                .fail(format!("not at rest {} s after the last event: {why}", PATIENCE.as_secs()));
        }
        if self.context.dice.chance(5) {
            self.run_until(self.context.now + TAIL).await;
            if let Some(why) = self.why_not_at_rest() {
                self.context.checks.fail(format!("it was at rest, and is not any more: {why}"));
            }
        }
        self.check_memory().await;
    }

    fn why_not_at_rest(&self) -> Option<String> {
        let Some(embedded) = &self.center.embedded else {
            return Some("the coordinator does not run".to_owned());
        };
        if self.unanswered > 0 {
            return Some("somebody will ask again".to_owned());
        }
        embedded.look(|view| check::at_rest(&view, &self.context, &self.hosts))
    }

    /// The audit log holds; and what is stored is what is known.
    async fn check_memory(&mut self) {
        let Some(entries) = self.audit_log().await else { return };
        let known = self.known();
        self.center.close().await;
        self.center.start(&mut self.context).await;
        if known != self.known() {
            self.context.checks.fail("memory and store have parted".to_owned());
        }
        let later = self.audit_log().await;
        if !later.is_some_and(|later| later.starts_with(&entries)) {
            self.context.checks.fail("the audit log has lost entries with its coordinator".to_owned());
        }
    }

    /// The coordinator's knowledge of services, slots and rollouts.
    fn known(&self) -> Option<impl PartialEq + use<>> {
        let embedded = self.center.embedded.as_ref()?;
        Some(embedded.look(|view| (view.services().clone(), view.slots().clone(), view.rollouts().clone())))
    }

    /// The entries of the audit log, which has to hold.
    async fn audit_log(&mut self) -> Option<Vec<Vec<u8>>> {
        let read = self.center.embedded.as_ref()?.audit_log().await;
        let (entries, checkpoints) = match read {
            Ok(read) => read,
            Err(error) => {
                self.context.checks.fail(format!("the audit log cannot be read: {error}"));
                return None;
            }
        };
        let signed: Vec<_> = checkpoints.iter().filter_map(|bytes| check::checkpoint(bytes)).collect();
        if signed.len() != checkpoints.len() || !windlass_core::audit::verify(&entries, &signed).is_sound() {
            self.context.checks.fail("the audit log does not hold".to_owned());
        }
        Some(entries)
    }

    /// Equal runs have equal fingerprints (FNV-1a over the kind and time of every event).
    fn note(&mut self, event: &Event) {
        let at = self.context.now.as_millis().to_le_bytes();
        let text = match event {
            Event::Up(host, stream, _) => format!("up {host} {stream}"),
            Event::Down(host, stream, _) => format!("down {host} {stream}"),
            other => format!("{other:?}"),
        };
        for byte in at.into_iter().chain(text.bytes()) {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
