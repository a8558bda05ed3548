//! The coordinator of the simulation: the real one without sockets, the store it lives on, and its end of the streams.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::json::decode_bounded;
use windlass_core::Timestamp;
use windlass_core::gate::QuestionKey;
use windlass_core::plan::HostPlan;
use windlass_server::config::LivenessRules;
use windlass_server::embedded::{Embedded, EmbeddedError, Hello, Session, View};
use windlass_server::store::Store;
use windlass_server::store::memory::MemoryStore;
use windlass_server::{Clock, open_store};

use crate::check;
use crate::context::Context;
use crate::event::{Down, Event, Up};
use crate::host::Host;
use crate::keys::keys;
use crate::mortal::{Death, Mortal};
use crate::network;

/// Turns of the engine after one event; more are a loop.
const MOST_TURNS: u32 = 300;

/// The coordinator's memory while it is dead.
#[derive(Clone)]
pub enum Backing {
    /// In this process.
    Memory(Arc<dyn Store>),
    /// In a folder: opened anew at every start.
    Sled(PathBuf),
}

impl Backing {
    /// A new store in memory.
    pub fn memory() -> Self {
        Self::Memory(Arc::new(MemoryStore::new()))
    }

    /// Opens it.
    pub(crate) async fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        match self {
            Self::Memory(store) => Ok(store.clone()),
            Self::Sled(folder) => {
                let folder = folder.clone();
                Ok(tokio::task::spawn_blocking(move || open_store(&folder)).await??)
            }
        }
    }
}

/// A stream of one host.
struct Seat {
    stream: u64,
    session: Session,
}

/// The coordinator.
pub struct Center {
    pub(crate) backing: Backing,
    /// The newest export of the store.
    pub(crate) backup: Option<Vec<u8>>,
    /// Exports that were read back so far.
    pub(crate) backups: u64,
    clock: Clock,
    mortal: Option<Arc<Mortal>>,
    /// Its life, if it lives.
    pub embedded: Option<Embedded>,
    seats: BTreeMap<usize, Seat>,
    due: Option<Timestamp>,
    seconds: u64,
    looked: u64,
    /// Questions of gates that were asked in this life.
    pub(crate) asked: BTreeSet<QuestionKey>,
}

impl Center {
    /// A coordinator that was never started.
    pub fn new(backing: Backing, now: Timestamp) -> Self {
        Self {
            backing,
            backup: None,
            backups: 0,
            clock: Clock::manual(now),
            mortal: None,
            embedded: None,
            seats: BTreeMap::new(),
            due: None,
            seconds: 0,
            looked: 0,
            asked: BTreeSet::new(),
        }
    }

    /// Time passes.
    pub fn set_clock(&self, now: Timestamp) {
        self.clock.set(now);
    }

    /// The time of its clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Its store, while it lives.
    pub(crate) fn store(&self) -> Option<Arc<Mortal>> {
        self.mortal.clone()
    }

    /// It starts on what is stored.
    pub async fn start(&mut self, context: &mut Context) {
        if self.embedded.is_some() {
            return;
        }
        match self.open().await {
            Ok((mortal, embedded)) => {
                context.say(|| "coordinator starts".to_owned());
                self.looked = 0;
                self.asked.clear();
                self.due = None;
                (self.mortal, self.embedded) = (Some(mortal), Some(embedded));
            }
            Err(error) => context.checks.fail(format!("the coordinator does not start: {error:#}")),
        }
    }

    async fn open(&self) -> anyhow::Result<(Arc<Mortal>, Embedded)> {
        let mortal = Arc::new(Mortal::new(self.backing.open().await?));
        let (trust, rules) = (keys().first_trust(), LivenessRules::default());
        let embedded =
            Embedded::open(mortal.clone(), trust, &keys().server, rules, self.clock.clone()).await?;
        Ok((mortal, embedded))
    }

    /// Says at which write it dies.
    pub fn doom(&self, death: Death) {
        if let Some(mortal) = &self.mortal {
            mortal.doom(death);
        }
    }

    /// It dies. Its streams break, and whoever looks after it starts it again.
    pub async fn die(&mut self, context: &mut Context) {
        let Some(embedded) = self.embedded.take() else { return };
        context.say(|| "coordinator dies".to_owned());
        for (host, seat) in std::mem::take(&mut self.seats) {
            let noticed = context.now + context.dice.millis(1, 200);
            context.queue.push(noticed, Event::Silent(host, seat.stream));
        }
        embedded.close().await;
        self.mortal = None;
        let most = if context.dice.chance(20) { 120 } else { 10 };
        let back = context.now + context.dice.seconds(0, most);
        context.queue.push(back, Event::CenterStarts);
    }

    /// Closes it in order, at the end.
    pub async fn close(&mut self) {
        self.seats.clear();
        if let Some(embedded) = self.embedded.take() {
            embedded.close().await;
        }
        self.mortal = None;
    }

    /// A second has passed.
    pub async fn tick(&mut self, context: &mut Context) {
        self.seconds += 1;
        let Some(embedded) = &mut self.embedded else { return };
        let mut done = embedded.tick().await;
        if done.is_ok() && self.seconds.is_multiple_of(2) {
            done = embedded.record().await;
        }
        if done.is_ok() && self.seconds.is_multiple_of(60) {
            done = embedded.anchor().await;
        }
        if done.is_err() {
            self.die(context).await;
        }
    }

    /// Looks at everything that is due until nothing is, and tells the hosts.
    pub async fn settle(&mut self, context: &mut Context, hosts: &[Host]) {
        let mut turns = 0;
        loop {
            let Some(embedded) = &mut self.embedded else { return };
            match embedded.turn().await {
                Ok(false) => break,
                Ok(true) if turns < MOST_TURNS => turns += 1,
                Ok(true) => return context.checks.fail("the engine never comes to rest".to_owned()),
                Err(_) => return self.die(context).await,
            }
        }
        self.check(context, hosts);
        self.say(context, hosts);
        let due = self.embedded.as_ref().and_then(Embedded::due_at);
        if let Some(at) = due.filter(|_| due != self.due) {
            // A moment later than asked, as the real one waits.
            let at = at.max(context.now) + Duration::from_millis(1);
            context.queue.push(at, Event::Due);
        }
        self.due = due;
    }

    fn check(&mut self, context: &mut Context, hosts: &[Host]) {
        let (Some(embedded), Some(mortal)) = (&self.embedded, &self.mortal) else { return };
        let written = mortal.written.load(Ordering::Relaxed) + 1;
        if std::mem::replace(&mut self.looked, written) != written {
            embedded.look(|view| {
                tell(&view, context);
                context.checks.decided(&view, hosts, context.now);
            });
        }
    }

    /// Sends the messages of sessions.
    fn say(&mut self, context: &mut Context, hosts: &[Host]) {
        let Some(embedded) = &self.embedded else { return };
        let replaced = |(_, seat): &(&usize, &mut Seat)| seat.session.is_replaced();
        let cut: Vec<(usize, u64)> =
            self.seats.iter_mut().filter(replaced).map(|(index, seat)| (*index, seat.stream)).collect();
        for (index, stream) in cut {
            self.seats.remove(&index);
            hang_up(context, index, stream);
        }
        for (index, seat) in &mut self.seats {
            let (host, stream) = (&hosts[*index], seat.stream);
            let said = embedded.say(&mut seat.session);
            if said.kept {
                network::down(host, context, stream, Down::KeptRequest);
            }
            if let Some(version) = said.trust {
                network::down(host, context, stream, Down::Trust(version));
            }
            if let Some(envelope) = said.checkpoint {
                network::down(host, context, stream, Down::Checkpoint(envelope));
            }
            for envelope in said.routes.into_iter().filter(|_| host.edge.is_installed) {
                network::down(host, context, stream, Down::Routes(envelope));
            }
            if let Some((seq, envelope)) = said.plan {
                context.say(|| format!("plan {seq} for {}", host.name));
                let allowed = embedded.look(|view| check::allowed(&view, &context.shop));
                let parsed = Envelope::parse(&envelope, PayloadType::Plan.max_len()).ok();
                let plan = parsed.as_ref().and_then(|envelope| {
                    decode_bounded::<HostPlan>(envelope.payload_bytes(), PayloadType::Plan.max_len()).ok()
                });
                match (parsed, plan) {
                    (Some(parsed), Some(plan)) => {
                        context.checks.offered(&host.name, &plan, parsed.digest(), allowed);
                    }
                    _ => context.checks.fail(format!("{}: its plan cannot be read", host.name)),
                }
                context.plans.entry(*index).or_default().push(envelope.clone());
                network::down(host, context, stream, Down::Plan(envelope));
            }
        }
    }

    /// A message arrives.
    pub async fn receive(&mut self, context: &mut Context, host: &Host, stream: u64, message: Up) {
        let Some(embedded) = &self.embedded else { return hang_up(context, host.index, stream) };
        if let Up::Hello(facts, trust, seq, plan, routes) = message {
            if self.seats.get(&host.index).is_some_and(|seat| seat.stream == stream) {
                // It comes once, and first.
                self.seats.remove(&host.index);
                return hang_up(context, host.index, stream);
            }
            return self
                .greet(context, host, stream, Hello { facts: *facts, trust, seq, plan, routes })
                .await;
        }
        let Some(seat) = self.seats.get(&host.index).filter(|seat| seat.stream == stream) else { return };
        match message {
            Up::Hello(..) => {}
            Up::Beat(number) => match embedded.heard(&seat.session).await {
                Ok(seq) => network::down(host, context, stream, Down::BeatAck(number, seq)),
                Err(_) => self.die(context).await,
            },
            Up::Observation(bytes) => match embedded.observed(&seat.session, &bytes) {
                Ok(revision) => network::down(host, context, stream, Down::Ack(revision)),
                Err(error) => context.checks.fail(format!("{}: its report is refused: {error}", host.name)),
            },
            Up::Ingress(report) => match embedded.ingress_reported(&seat.session, &report).await {
                Ok(()) => {}
                Err(EmbeddedError::Refused(why)) => {
                    context
                        .checks
                        .fail(format!("{}: the report of its ingress is refused: {why}", host.name));
                }
                Err(EmbeddedError::Stopped) => self.die(context).await,
            },
            Up::Fetch(digests) => {
                let releases =
                    digests.into_iter().map(|digest| (digest, embedded.release_for(&host.name, &digest)));
                network::down(host, context, stream, Down::Releases(releases.collect()));
            }
            Up::Kept(digests) => match embedded.kept(&seat.session, &digests).await {
                Ok(wanted) => {
                    for digest in wanted {
                        network::down(host, context, stream, Down::ReleaseRequest(digest));
                    }
                }
                Err(EmbeddedError::Refused(why)) => {
                    context.checks.fail(format!("{}: what it keeps is refused: {why}", host.name));
                }
                Err(EmbeddedError::Stopped) => self.die(context).await,
            },
            Up::Release(digest, envelope) => {
                if embedded.shown(&seat.session, &digest, envelope).await.is_err() {
                    self.die(context).await;
                }
            }
            Up::FetchTrust(after) => {
                let (_, chain) = embedded.trust_after(after);
                network::down(host, context, stream, Down::TrustChain(chain));
            }
        }
    }

    async fn greet(&mut self, context: &mut Context, host: &Host, stream: u64, hello: Hello) {
        let (Some(embedded), Some(peer)) = (&self.embedded, &host.peer) else {
            return hang_up(context, host.index, stream);
        };
        match embedded.connect(&host.name, peer, hello).await {
            Ok(session) => {
                context.say(|| format!("{} is connected", host.name));
                let old = self.seats.insert(host.index, Seat { stream, session });
                if let Some(old) = old {
                    hang_up(context, host.index, old.stream);
                }
                network::down(host, context, stream, Down::Welcome);
            }
            Err(EmbeddedError::Refused(why)) => {
                context.say(|| format!("{} is refused: {why}", host.name));
                context.refused.insert(host.index);
                hang_up(context, host.index, stream);
            }
            Err(EmbeddedError::Stopped) => self.die(context).await,
        }
    }

    /// A stream has ended.
    pub fn disconnected(&mut self, host: usize, stream: u64) {
        if self.seats.get(&host).is_some_and(|seat| seat.stream == stream) {
            self.seats.remove(&host);
        }
    }

    /// A host's certificate counts no more: its stream is cut.
    pub fn cut(&mut self, context: &mut Context, host: usize) {
        if let Some(seat) = self.seats.remove(&host) {
            hang_up(context, host, seat.stream);
        }
    }
}

/// Writes down what is stored of services, if somebody reads it.
fn tell(view: &View<'_>, context: &Context) {
    for (id, service) in view.services() {
        context.say(|| {
            let rollout = view.active(id).map(|r| format!("{} {}", r.to.counter, r.state.as_str()));
            let slots = view.slots().get(id).into_iter().flatten().map(|(slot, assignment)| {
                let want = assignment.plan();
                let counter = |digest| context.shop.signed.get(digest).map_or(0, |s| s.release.counter.0);
                let previous =
                    want.previous.as_ref().map(|p| format!("+r{} {:?}", counter(&p.release), p.phase));
                let (phase, good) = (want.phase, if want.good { "" } else { "?" });
                let release = counter(&want.release);
                let previous = previous.unwrap_or_default();
                format!("{}@{} r{release}{good} {phase:?}{previous}", slot.index, assignment.host())
            });
            let slots: Vec<String> = slots.collect();
            let rollout = rollout.unwrap_or_default();
            format!("    {} x{} [{rollout}] {}", id.name, service.replicas, slots.join(", "))
        });
    }
}

fn hang_up(context: &mut Context, host: usize, stream: u64) {
    let noticed = context.now + context.dice.millis(1, 100);
    context.queue.push(noticed, Event::Silent(host, stream));
}
