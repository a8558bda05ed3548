//! A simulated ingress of a host: its processes, the table that it wrote down, and the requests under way. Tables come over the
//! agent, and are verified by the real code before they are written and followed; reports go back over the agent. A process
//! dies, is started again, or is taken over by a successor and finishes the requests that it has.

mod proxy;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use windlass_agent::verify;
use windlass_core::Timestamp;
use windlass_core::observation::RefusalCode;
use windlass_core::traffic::Routes;
use windlass_core::verify::{AcceptedRoutes, PlanOrder, trusted_now};
use windlass_proto::pb::RoutesPosition;

use crate::context::Context;
use crate::event::{Event, Up};
use crate::host::{Host, Written};
use crate::network;
use crate::world::World;

pub use proxy::{Instance, Proxy};

/// Time between two looks of a process at its requests, and between its reports if something has changed.
const PULSE: Duration = Duration::from_secs(2);
/// Time that a process waits for the newest table of its agent before it serves by its own.
const NEWEST: Duration = Duration::from_secs(2);
/// The longest time in which a process that was taken over finishes its requests.
const ENDING: Duration = Duration::from_secs(60);

/// A table that was verified.
#[derive(Debug, Clone)]
pub struct Kept {
    /// As it was signed.
    envelope: Bytes,
    /// Its numbers and digest.
    pub accepted: AcceptedRoutes,
    /// The table.
    pub routes: Arc<Routes>,
}

/// The ingress of a host.
#[derive(Debug, Default)]
pub struct Edge {
    /// Whether the host has one.
    pub is_installed: bool,
    /// The newest table that was written down.
    kept: Option<Kept>,
    /// Its processes, the oldest first.
    pub processes: Vec<Proxy>,
    born: u64,
}

impl Edge {
    /// The process that serves.
    pub fn serving(&self) -> Option<&Proxy> {
        self.processes.iter().find(|process| !process.is_ending())
    }
}

impl Host {
    /// An ingress process starts, unless one serves already. It waits a while for the newest table of its agent.
    pub fn edge_starts(&mut self, context: &mut Context) {
        let opens_at = context.now + NEWEST;
        self.edge_begins(context, opens_at);
    }

    fn edge_begins(&mut self, context: &mut Context, opens_at: Timestamp) {
        if !self.edge.is_installed || !self.is_on || self.edge.serving().is_some() {
            return;
        }
        self.edge.born += 1;
        let (number, table) = (self.edge.born, self.edge.kept.clone());
        context.say(|| format!("{} ingress starts, process {number}", self.name));
        let accepted = table.as_ref().map(|table| table.accepted.committed);
        context.checks.table_at_start(&self.name, accepted);
        let started_at = self.clock(context.now);
        self.edge.processes.push(Proxy::new(
            number,
            (started_at, opens_at),
            table.map(|table| (table, started_at)),
        ));
        let first = context.now + context.traffic.millis(20, 400);
        context.queue.push(first, Event::Pulse(self.index, number, true));
    }

    /// A successor takes over from the process that serves, which finishes what it has.
    pub fn edge_is_taken_over(&mut self, context: &mut Context) {
        let until = context.now + ENDING;
        if let Some(process) = self.edge.processes.iter_mut().find(|process| !process.is_ending()) {
            process.end(until);
            self.edge_begins(context, context.now);
        }
    }

    /// The ingress process that serves is killed, with all of its requests.
    pub fn edge_dies(&mut self, context: &mut Context) {
        context.say(|| format!("{} ingress dies", self.name));
        self.edge.processes.retain(Proxy::is_ending);
    }

    /// A table that the coordinator offers: verified and written down by the agent, and handed on.
    pub fn take_table(&mut self, context: &mut Context, envelope: Bytes) {
        let Some(state) = &self.disk.state else { return };
        let now = trusted_now(self.clock(context.now), state.trusted_time);
        let last = self.disk.table.as_ref().map(|table| table.accepted);
        let trust = self.disk.trust.document();
        let verified = match verify::routes(&envelope, trust, &self.local.fleet, |_| last, now) {
            Ok(verified) if verified.order == PlanOrder::Same => return,
            Ok(verified) => verified,
            Err(refusal) => {
                context.say(|| format!("{} refuses a table: {refusal}", self.name));
                // These pass by themselves, or with the next trust document.
                if matches!(
                    refusal.code,
                    RefusalCode::NotYetValid
                        | RefusalCode::WrongEpoch
                        | RefusalCode::UnknownKey
                        | RefusalCode::Policy
                ) {
                    self.keep_offer(envelope);
                }
                return;
            }
        };
        let accepted = verified.accepted();
        let table = Kept { envelope: envelope.clone(), accepted, routes: Arc::new(verified.routes) };
        match self.write(|disk| disk.table = Some(table)) {
            Written::Yes => {
                let soon = context.now + context.traffic.millis(1, 60);
                context.queue.push(soon, Event::Hand(self.index));
            }
            Written::Full => self.keep_offer(envelope),
            Written::Died => self.crash(context),
        }
    }

    /// Keeps an offer that was refused for now: it is looked at again.
    fn keep_offer(&mut self, envelope: Bytes) {
        if let Some(agent) = &mut self.agent {
            agent.table = Some(envelope);
        }
    }

    /// The agent looks again at a table that it could not take.
    pub fn table_again(&mut self, context: &mut Context) {
        if let Some(envelope) = self.agent.as_mut().and_then(|agent| agent.table.take()) {
            self.take_table(context, envelope);
        }
    }

    /// The agent hands the newest table that it has to the processes of its ingress.
    pub fn hand(&mut self, context: &mut Context) {
        let (Some(_), Some(table)) = (&self.agent, &self.disk.table) else { return };
        if !self.is_on {
            return;
        }
        let (now, clock) = (context.now, self.clock(context.now));
        let trust = self.disk.trust.document();
        for process in &mut self.edge.processes {
            process.is_told(now);
            let last = process.table().map(|table| table.accepted);
            if last == Some(table.accepted) {
                continue;
            }
            let verified = verify::routes(&table.envelope, trust, &self.local.fleet, |_| last, clock);
            if !verified.is_ok_and(|verified| verified.order != PlanOrder::Same) {
                continue;
            }
            if !process.is_ending() {
                if self.is_full {
                    continue;
                }
                self.edge.kept = Some(table.clone());
            }
            let before = last.map(|last| last.committed);
            context.checks.table_taken(&self.name, before, table.accepted.committed, process.is_ending());
            let (number, seq) = (process.number(), table.accepted.committed.seq);
            context.say(|| format!("{} ingress {number} follows table {seq}", self.name));
            process.follow(table.clone(), now, clock);
            let soon = now + context.traffic.millis(1, 60);
            context.queue.push(soon, Event::Pulse(self.index, number, false));
        }
    }

    /// The table that the agent has, as its hello says it.
    pub fn position(&self) -> Vec<RoutesPosition> {
        let position = self.disk.table.iter().map(|table| RoutesPosition {
            environment: table.routes.environment.to_string(),
            epoch: table.accepted.epoch,
            seq: table.accepted.committed.seq,
        });
        position.collect()
    }

    /// On a new stream the agent says the newest report of each process once more.
    pub fn tell_again_of_edge(&mut self, context: &mut Context) {
        for process in &mut self.edge.processes {
            process.has_news();
            let soon = context.now + context.traffic.millis(1, 20);
            context.queue.push(soon, Event::Pulse(self.index, process.number(), false));
        }
    }

    /// A process of the ingress reports, if there is something to say and the agent has a stream.
    fn tell_of_edge(&mut self, context: &mut Context, number: u64) {
        let at = self.clock(context.now);
        let link = self.agent.as_ref().and_then(|agent| agent.link.as_ref());
        let Some(stream) = link.filter(|link| link.is_welcomed()).map(|link| link.stream) else { return };
        let process = self.edge.processes.iter_mut().find(|process| process.number() == number);
        let Some(report) = process.and_then(|process| process.report(context.now, at)) else { return };
        let bytes = serde_json::to_vec(&report).expect("a report is JSON");
        network::up(self, context, stream, Up::Ingress(bytes));
    }
}

impl World {
    /// A process of an ingress looks at its requests.
    pub(crate) fn pulse(&mut self, index: usize, number: u64, again: bool) {
        let now = self.context.now;
        let mut edge = std::mem::take(&mut self.hosts[index].edge);
        let process = edge.processes.iter_mut().find(|process| process.number() == number);
        let is_there = process.is_some();
        process.into_iter().for_each(|process| process.work(&mut self.context, &self.hosts));
        self.hosts[index].edge = edge;
        if !is_there {
            return;
        }
        let host = &mut self.hosts[index];
        host.hand(&mut self.context);
        host.tell_of_edge(&mut self.context, number);
        host.edge.processes.retain(|process| !process.has_ended(now));
        if again && host.edge.processes.iter().any(|process| process.number() == number) {
            self.context.queue.push(now + PULSE, Event::Pulse(index, number, true));
        }
    }
}
