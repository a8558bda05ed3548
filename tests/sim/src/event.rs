//! Events and their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;
use windlass_core::gate::{Answer, QuestionKey};
use windlass_core::host::HostFacts;
use windlass_core::{Digest, Timestamp};
use windlass_proto::pb::RoutesPosition;

use crate::operator::Action;
use crate::trouble::Trouble;

/// Something that happens. Hosts are named by their index.
#[derive(Debug, Clone)]
pub enum Event {
    /// The coordinator's second has passed.
    Tick,
    /// The coordinator's engine has something to look at.
    Due,
    /// The coordinator starts.
    CenterStarts,
    /// A message arrives at the coordinator.
    Up(usize, u64, Up),
    /// A message arrives at an agent.
    Down(usize, u64, Down),
    /// Both ends of a stream notice that nothing comes any more.
    Silent(usize, u64),
    /// An agent's process starts.
    AgentStarts(usize),
    /// An agent connects.
    Connect(usize, u64),
    /// An agent's heartbeat is due.
    Beat(usize, u64),
    /// An agent decides.
    Wake(usize, u64),
    /// An agent's probe has an answer: container, run.
    Probe(usize, u64, String, u64),
    /// A request to an engine gets further.
    Request(usize, u64),
    /// Something happens to a process: container, run, what.
    Life(usize, String, u64, Life),
    /// An ingress process starts.
    EdgeStarts(usize),
    /// An agent hands the newest table to its ingress.
    Hand(usize),
    /// An ingress process looks at its requests: its number, and whether it does so again and again.
    Pulse(usize, u64, bool),
    /// A provider answers the question of a gate.
    Answer(Box<(QuestionKey, Answer)>),
    /// A machine comes up.
    Boot(usize),
    /// Something breaks.
    Break(Trouble),
    /// Something is whole again.
    Heal(Trouble),
    /// A person does something.
    Act(Action),
}

/// An event of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It can be used.
    Ready,
    /// It cannot be used any more.
    Unready,
    /// It does not answer any more.
    Hangs,
    /// It ends.
    Exits(i64, bool),
    /// The engine starts it again.
    Revived,
}

/// From an agent.
#[derive(Debug, Clone)]
pub enum Up {
    /// Its facts, its trust document's version, the newest plan it took, and the traffic tables that it has.
    Hello(Box<HostFacts>, u64, u64, Vec<u8>, Vec<RoutesPosition>),
    /// It is there; the number of the heartbeat.
    Beat(u64),
    /// Its observation, as it travels.
    Observation(Vec<u8>),
    /// The report of its ingress.
    Ingress(Vec<u8>),
    /// It wants these releases.
    Fetch(Vec<Digest>),
    /// It keeps these releases.
    Kept(Vec<Digest>),
    /// One of them.
    Release(Digest, Vec<u8>),
    /// It wants every version of the trust document after this one.
    FetchTrust(u64),
}

/// From the coordinator.
#[derive(Debug, Clone)]
pub enum Down {
    /// It is let in.
    Welcome,
    /// The newest plan.
    Plan(Bytes),
    /// A traffic table.
    Routes(Bytes),
    /// An observation arrived.
    Ack(u64),
    /// A heartbeat arrived: its number, and that of the newest plan.
    BeatAck(u64, u64),
    /// The version of the trust document in force.
    Trust(u64),
    /// The newest checkpoint of the audit log.
    Checkpoint(Vec<u8>),
    /// Releases that were asked for.
    Releases(Vec<(Digest, Option<Vec<u8>>)>),
    /// Which releases it keeps is asked for.
    KeptRequest,
    /// One of them is asked for.
    ReleaseRequest(Digest),
    /// Versions of the trust document.
    TrustChain(Vec<Vec<u8>>),
}

/// Events in the order of time; those of one moment in the order in which they were made.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<(Timestamp, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    made: u64,
}

impl Queue {
    /// Something will happen at `at`.
    pub fn push(&mut self, at: Timestamp, event: Event) {
        self.made += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(event);
        self.heap.push(Reverse((at, self.made, place)));
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<(Timestamp, Event)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        let event = self.events[place].take()?;
        self.free.push(place);
        Some((at, event))
    }
}
