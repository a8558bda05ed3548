//! The agent's end of its stream.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use windlass_agent::lease::{Beats, Contact};
use windlass_core::{Digest, Timestamp};

use crate::context::Context;
use crate::event::{Down, Event, Up};
use crate::host::{Host, uptime};
use crate::network;

/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(5);
/// An observation that was not acknowledged is sent again after so long.
const RESEND: Duration = Duration::from_secs(5);

/// A stream, as the agent knows it.
#[derive(Debug)]
pub struct Link {
    /// Its number.
    pub stream: u64,
    welcomed: bool,
    beats: Beats,
    sent: u64,
    sent_at: Timestamp,
    acknowledged: u64,
    /// The newest plan that was offered and not taken yet.
    pub(super) offer: Option<Bytes>,
    /// One that came while what the other names was being fetched. The real intake finishes what it has begun.
    pub(super) next: Option<Bytes>,
    /// The releases fetched for it; `None`: the coordinator does not have it.
    pub(super) fetched: BTreeMap<Digest, Option<Vec<u8>>>,
    /// Releases that were asked for.
    pub(super) is_fetching: bool,
}

impl Link {
    /// Whether there is a plan that is not taken yet.
    pub const fn has_offer(&self) -> bool {
        self.offer.is_some() || self.next.is_some()
    }

    /// Whether it was let in.
    pub const fn is_welcomed(&self) -> bool {
        self.welcomed
    }
}

impl Host {
    /// Opens a stream, if there is none.
    pub fn connect(&mut self, context: &mut Context, stream: u64) {
        let (seq, plan) = match self.disk.state.as_ref().and_then(|state| state.plan.as_ref()) {
            Some(plan) => (plan.seq, plan.envelope.clone().into_bytes()),
            None => (0, Vec::new()),
        };
        let Some(agent) = &mut self.agent else { return };
        if agent.link.is_some() {
            return;
        }
        agent.link = Some(Link {
            stream,
            welcomed: false,
            beats: Beats::default(),
            sent: 0,
            sent_at: Timestamp::ZERO,
            acknowledged: 0,
            offer: None,
            next: None,
            fetched: BTreeMap::new(),
            is_fetching: false,
        });
        context.say(|| format!("{} says hello on stream {stream}, at plan {seq}", self.name));
        let hello =
            Up::Hello(Box::new(self.facts.clone()), self.disk.trust.version(), seq, plan, self.position());
        network::up(self, context, stream, hello);
        // No welcome in time is the end of it.
        context.queue.push(context.now + Duration::from_secs(10), Event::Beat(self.index, stream));
    }

    /// The stream has ended.
    pub fn disconnected(&mut self, context: &mut Context, stream: u64) {
        let index = self.index;
        let Some(agent) = &mut self.agent else { return };
        if agent.link.as_ref().is_none_or(|link| link.stream != stream) {
            return;
        }
        let welcomed = agent.link.take().is_some_and(|link| link.welcomed);
        agent.misses = if welcomed { 0 } else { agent.misses + 1 };
        let most = if agent.misses > 20 { 30_000 } else { 250 << agent.misses.min(3) };
        let again = context.now + context.dice.millis(100, most);
        context.queue.push(again, Event::Connect(index, agent.life));
    }

    /// A heartbeat is due.
    pub fn beat(&mut self, context: &mut Context, stream: u64) {
        let index = self.index;
        let Some(agent) = &mut self.agent else { return };
        let Some(link) = agent.link.as_mut().filter(|link| link.stream == stream) else { return };
        if !link.welcomed {
            return self.disconnected(context, stream);
        }
        let number = link.beats.next(Some(uptime(context.now)));
        let unheard = link.acknowledged < link.sent && context.now >= link.sent_at + RESEND;
        context.queue.push(context.now + BEAT, Event::Beat(index, stream));
        network::up(self, context, stream, Up::Beat(number));
        if unheard {
            self.say_again(context);
        }
        // A plan that could not be written down, or was refused for now, is looked at again.
        self.consider(context);
        self.table_again(context);
    }

    /// There is a newer report.
    pub(super) fn report(&mut self, context: &mut Context) {
        let Some(agent) = &mut self.agent else { return };
        let Some(report) = &agent.report else { return };
        if agent.link.as_ref().is_some_and(|link| link.welcomed && link.sent < report.revision) {
            self.say_again(context);
        }
    }

    /// A heartbeat was acknowledged: see the agent's own session.
    fn renew(&mut self, context: &mut Context, contact: Contact) {
        let boot = self.boots;
        self.hears(context.now);
        let Some(agent) = &mut self.agent else { return };
        agent.contact = Some(contact);
        let exclusive = agent.desired.releases.values().any(|release| release.release.spec.exclusive);
        let isolated = agent.memory.slots.values().any(|known| known.isolated_at.is_some());
        // It is not synced, and no death of the process comes between.
        if exclusive && !self.is_full {
            self.disk.lease = Some((boot, contact.at));
        }
        if exclusive || isolated {
            self.wake(context, Duration::from_millis(1));
        }
    }

    fn say_again(&mut self, context: &mut Context) {
        let now = context.now;
        let Some(agent) = &mut self.agent else { return };
        let (Some(link), Some(report)) = (&mut agent.link, &agent.report) else { return };
        link.sent = report.revision;
        link.sent_at = now;
        let stream = link.stream;
        let bytes = serde_json::to_vec(report).expect("an observation is JSON");
        network::up(self, context, stream, Up::Observation(bytes));
    }

    /// A message of the coordinator arrives.
    pub fn receive(&mut self, context: &mut Context, stream: u64, message: Down) {
        let index = self.index;
        let Some(agent) = &mut self.agent else { return };
        let Some(link) = agent.link.as_mut().filter(|link| link.stream == stream) else { return };
        match message {
            Down::Welcome => {
                let first = !std::mem::replace(&mut link.welcomed, true);
                agent.misses = 0;
                self.belongs_again();
                if first {
                    let beats = context.now + context.dice.millis(1, 5000);
                    context.queue.push(beats, Event::Beat(index, stream));
                    self.report(context);
                    self.tell_again_of_edge(context);
                }
            }
            Down::Plan(envelope) => {
                if link.is_fetching {
                    link.next = Some(envelope);
                } else {
                    link.offer = Some(envelope);
                }
                self.consider(context);
            }
            Down::Routes(envelope) => self.take_table(context, envelope),
            Down::BeatAck(number, seq) => {
                let at = link.beats.acknowledged(number);
                at.into_iter().for_each(|at| self.renew(context, Contact { at, seq: Some(seq) }));
            }
            Down::Ack(revision) => {
                link.acknowledged = link.acknowledged.max(revision.min(link.sent));
                self.is_heard(context.now);
            }
            Down::Trust(version) => {
                if version > self.disk.trust.version() {
                    let after = self.disk.trust.version();
                    network::up(self, context, stream, Up::FetchTrust(after));
                }
            }
            Down::Checkpoint(envelope) => self.witness(context, &envelope),
            Down::Releases(releases) => {
                link.is_fetching = false;
                link.fetched.extend(releases);
                self.consider(context);
            }
            Down::TrustChain(envelopes) => self.take_trust(context, &envelopes),
            Down::KeptRequest => {
                let kept = Up::Kept(self.disk.releases.keys().copied().collect());
                network::up(self, context, stream, kept);
            }
            Down::ReleaseRequest(digest) => {
                let envelope = self.disk.releases.get(&digest).cloned().unwrap_or_default();
                network::up(self, context, stream, Up::Release(digest, envelope));
            }
        }
    }
}
