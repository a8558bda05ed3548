//! Events and the audit log, as streams.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;
use windlass_core::ServiceId;
use windlass_core::view::EventView;
use windlass_proto::json::encode;
use windlass_proto::pb;
use windlass_proto::pb::stream_audit_response::Item;

use super::{Caller, Stream};
use crate::coordinator::Coordinator;
use crate::ledger::{AUDIT_PAGE, Topic};
use crate::store::record::EventRecord;

/// Past events that may be asked for.
const MOST: u32 = 1000;

struct Events {
    coordinator: Arc<Coordinator>,
    caller: Caller,
    topics: Receiver<Topic>,
    next: u64,
    follow: bool,
    ready: VecDeque<EventRecord>,
}

pub(super) fn stream(
    coordinator: Arc<Coordinator>,
    caller: Caller,
    request: &pb::StreamEventsRequest,
) -> Stream<pb::StreamEventsResponse> {
    let topics = coordinator.ledger.signals().topics();
    let next = coordinator.ledger.read(|state| state.next_event);
    let next = next.saturating_sub(u64::from(request.tail.min(MOST)));
    let events = Events { coordinator, caller, topics, next, follow: request.follow, ready: VecDeque::new() };
    stream::unfold(events, |mut events| async move {
        let event = events.next().await?;
        let view =
            EventView { at: event.at, kind: event.kind, subject: event.subject, message: event.message };
        Some((Ok(pb::StreamEventsResponse { view: encode(&view) }), events))
    })
    .boxed()
}

impl Events {
    async fn next(&mut self) -> Option<EventRecord> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                if self.may_see(&event) {
                    return Some(event);
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

    fn fill(&mut self) {
        let next = self.next;
        let newer: Vec<EventRecord> = self
            .coordinator
            .ledger
            .read(|state| state.events.iter().filter(|event| event.n >= next).cloned().collect());
        self.next = newer.last().map_or(next, |event| event.n + 1);
        self.ready.extend(newer);
    }

    /// What is about a service is for those who may see its environment; hosts are everybody's.
    fn may_see(&self, event: &EventRecord) -> bool {
        match event.subject.parse::<ServiceId>() {
            Ok(service) => self.caller.sees(&service.environment),
            Err(_) => true,
        }
    }
}

/// The log from an entry on, and then every checkpoint, so that none is of an entry that did not come.
pub(super) fn audit(coordinator: Arc<Coordinator>, from: u64) -> Stream<pb::StreamAuditResponse> {
    let head = coordinator.ledger.read(|state| state.head.size);
    let pages = (from / AUDIT_PAGE)..head.div_ceil(AUDIT_PAGE);
    let entries = {
        let coordinator = coordinator.clone();
        stream::iter(pages).then(move |page| {
            let coordinator = coordinator.clone();
            async move { coordinator.ledger.audit_page(page).await }
        })
    };
    let entries = entries.flat_map(move |page| match page {
        Ok(page) => stream::iter(
            page.into_iter()
                .filter(|(n, _)| (from..head).contains(n))
                .map(|(_, bytes)| item(Item::Entry(bytes.into())))
                .collect::<Vec<_>>(),
        ),
        Err(error) => stream::iter(vec![Err(unavailable(&error))]),
    });
    let checkpoints = stream::once(async move {
        match coordinator.ledger.checkpoints(head).await {
            Ok(list) => list.into_iter().map(|bytes| item(Item::Checkpoint(bytes.into()))).collect(),
            Err(error) => vec![Err(unavailable(&error))],
        }
    });
    entries.chain(checkpoints.flat_map(stream::iter)).boxed()
}

fn item(item: Item) -> Result<pb::StreamAuditResponse, Status> {
    Ok(pb::StreamAuditResponse { item: Some(item) })
}

fn unavailable(error: &crate::store::StoreError) -> Status {
    tracing::error!(%error, "failed to read the audit log");
    Status::unavailable("the audit log cannot be read")
}
