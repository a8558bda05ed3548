//! Events, as a stream that can be taken up again where it ended.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::view::EventView;
use windlass_core::{HostId, ServiceId, Timestamp};
use windlass_proto::Padded;
use windlass_proto::json::encode;
use windlass_proto::pb;

use super::{Caller, Stream, known, service};
use crate::coordinator::Coordinator;
use crate::grpc::status::{invalid, refused};
use crate::hosts::HostError;
use crate::ledger::{State, Topic};
use crate::store::record::EventRecord;

/// Past events that may be asked for by number.
const MOST: u32 = 1000;
/// Kinds are words of ours; longer ones match nothing.
const KIND: usize = 64;

struct Events {
    coordinator: Arc<Coordinator>,
    caller: Caller,
    topics: Receiver<Topic>,
    wanted: Wanted,
    /// Number of the first event that was not looked at.
    next: u64,
    follow: bool,
    /// Whether the place where the stream begins is still to be said.
    opening: bool,
    missed: u64,
    ready: VecDeque<EventRecord>,
}

/// Which events.
#[derive(Debug, Default)]
struct Wanted {
    service: Option<ServiceId>,
    host: Option<HostId>,
    kind: String,
    since: Option<Timestamp>,
}

impl Wanted {
    fn read(caller: &Caller, request: &pb::StreamEventsRequest) -> Result<Self, Status> {
        let service = match request.service.as_str() {
            "" => None,
            text => Some(service(caller, text, OperatorRole::Viewer)?),
        };
        let host = match request.host.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|error| invalid("host", &error))?),
        };
        if request.kind.len() > KIND {
            return Err(Status::invalid_argument("`kind` is longer than any kind of event"));
        }
        let since = request.since.map(Timestamp::from_millis);
        Ok(Self { service, host, kind: request.kind.clone(), since })
    }

    /// Refuses a service or host that the fleet never had. One that is followed may still come.
    fn check(&self, coordinator: &Coordinator) -> Result<(), Status> {
        self.service.as_ref().map_or(Ok(()), |id| known(coordinator, id))?;
        match &self.host {
            Some(host) if !coordinator.ledger.read(|state| state.hosts.contains_key(host)) => {
                Err(refused(HostError::Unknown(host.clone())))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn holds(&self, event: &EventRecord) -> bool {
        self.service.as_ref().is_none_or(|service| event.subject == service.to_string())
            && self.host.as_ref().is_none_or(|host| event.subject == host.as_str())
            && self.since.is_none_or(|since| event.at >= since)
            && is_kind(&event.kind, &self.kind)
    }
}

/// `rollout` stands for `rollout.failed`, and `roll` for nothing.
fn is_kind(kind: &str, wanted: &str) -> bool {
    let rest = kind.strip_prefix(wanted.trim_end_matches('.'));
    wanted.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

pub(super) fn stream(
    coordinator: Arc<Coordinator>,
    caller: Caller,
    request: &pb::StreamEventsRequest,
) -> Result<Stream<pb::StreamEventsResponse>, Status> {
    let wanted = Wanted::read(&caller, request)?;
    if !request.follow {
        wanted.check(&coordinator)?;
    }
    // Before the first look, so that nothing happens in between unheard.
    let topics = coordinator.ledger.signals().topics();
    let (next, missed) = coordinator.ledger.read(|state| begin(state, request));
    let (follow, opening) = (request.follow, request.from.is_some() || request.positions);
    let ready = VecDeque::new();
    let events = Events { coordinator, caller, topics, wanted, next, follow, opening, missed, ready };
    let messages = stream::unfold(events, |mut events| async move {
        let message = events.next().await?;
        Some((Ok(message.padded()), events))
    });
    Ok(messages.boxed())
}

/// The begin of a stream, and the number of wanted events that are kept no more.
fn begin(state: &State, request: &pb::StreamEventsRequest) -> (u64, u64) {
    let end = state.next_event;
    let first = state.events.front().map_or(end, |event| event.n);
    match (request.from, request.since) {
        // Beyond the end: this is another history than the one that was followed. It begins here.
        (Some(from), _) if from > end => (end, 0),
        (Some(from), _) => (from.max(first), first.saturating_sub(from)),
        (None, Some(_)) => (first, 0),
        (None, None) => (end.saturating_sub(u64::from(request.tail.min(MOST))), 0),
    }
}

impl Events {
    async fn next(&mut self) -> Option<pb::StreamEventsResponse> {
        if std::mem::take(&mut self.opening) {
            let missed = std::mem::take(&mut self.missed);
            return Some(pb::StreamEventsResponse { next: self.next, missed, ..Default::default() });
        }
        loop {
            while let Some(event) = self.ready.pop_front() {
                if self.wanted.holds(&event) && may_see(&self.caller, &event.kind, &event.subject) {
                    return Some(self.message(event));
                }
            }
            self.fill();
            if !self.ready.is_empty() {
                continue;
            }
            if !self.follow {
                return None;
            }
            loop {
                match self.topics.recv().await {
                    Ok(Topic::Event) | Err(RecvError::Lagged(_)) => break,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        }
    }

    fn message(&mut self, event: EventRecord) -> pb::StreamEventsResponse {
        let EventRecord { n, at, kind, subject, message, actor } = event;
        let view = EventView { n, at, kind, subject, message, actor };
        let missed = std::mem::take(&mut self.missed);
        pb::StreamEventsResponse { view: encode(&view), next: n + 1, missed, ..Default::default() }
    }

    fn fill(&mut self) {
        let next = self.next;
        let newer: Vec<EventRecord> = self.coordinator.ledger.read(|state| {
            // The newest are at the end, and mostly it is a few of them that are new.
            let newer = state.events.iter().rev().take_while(|event| event.n >= next);
            newer.cloned().collect()
        });
        // A reader that is slower than 2000 events hears how many it has missed.
        self.missed += newer.last().map_or(0, |event| event.n.saturating_sub(next));
        self.next = newer.first().map_or(next, |event| event.n + 1);
        self.ready.extend(newer.into_iter().rev());
    }
}

/// Whether a caller may see an event: of a service, those that may see its environment; of a host, everybody.
pub(super) fn may_see(caller: &Caller, kind: &str, subject: &str) -> bool {
    if is_of_the_fleet(kind) {
        return caller.sees_fleet();
    }
    match subject.parse::<ServiceId>() {
        Ok(service) => caller.sees(&service.environment),
        Err(_) => true,
    }
}

/// Returns whether events of a kind are for operators of the whole fleet: `operator/bob` reads like a service of an environment
/// `operator`, and a host that recovers names slots of every environment.
fn is_of_the_fleet(kind: &str) -> bool {
    kind.starts_with("operator.") || kind == "host.recovering"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_name_others_are_of_the_fleet() {
        for (kind, want) in [("operator.added", true), ("host.recovering", true), ("host.joined", false)] {
            assert_eq!(is_of_the_fleet(kind), want, "{kind}");
        }
    }

    #[test]
    fn kinds_match_by_their_words() {
        #[rustfmt::skip]
        let table = [
            ("rollout.failed", "", true), ("rollout.failed", "rollout", true), ("rollout.failed", "rollout.", true),
            ("rollout.failed", "rollout.failed", true), ("rollout.failed", "roll", false),
            ("rollout.failed", "rollout.fail", false), ("host.lost", "rollout", false),
        ];
        for (kind, wanted, want) in table {
            assert_eq!(is_kind(kind, wanted), want, "{kind} by {wanted}");
        }
    }
}
