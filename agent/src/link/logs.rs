//! Lines that containers wrote, on request. Bounded in requests, instances and length of a line; whoever reads
//! slowly slows its own request down and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_core::ServiceId;
use windlass_core::observation::Observation;
use windlass_process::report;
use windlass_proto::pb::{self, connect_request as up};

use crate::runtime::{LogOptions, Runtime, RuntimeError};

/// Requests at a time on one stream.
const MAX_REQUESTS: usize = 16;
/// Instances that one request may read.
const MAX_INSTANCES: usize = 64;
/// Last lines of one instance.
const MAX_TAIL: u32 = 10_000;
/// Lines in one message.
const BATCH: usize = 64;
/// Longest line; the rest is cut.
const MAX_LINE: usize = 16 * 1024;

/// The log requests of one stream; dropping it ends them.
#[derive(Debug)]
pub(super) struct Logs<R> {
    runtime: Arc<R>,
    out: mpsc::Sender<pb::ConnectRequest>,
    running: JoinSet<u64>,
    cancels: BTreeMap<u64, CancellationToken>,
}

impl<R: Runtime> Logs<R> {
    /// Answers go to `out`.
    pub(super) fn new(runtime: Arc<R>, out: mpsc::Sender<pb::ConnectRequest>) -> Self {
        Self { runtime, out, running: JoinSet::new(), cancels: BTreeMap::new() }
    }

    /// Is nobody reading?
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Begins to answer a request. `seen` says which containers there are.
    pub(super) fn open(&mut self, request: pb::LogRequest, seen: &Observation) {
        let number = request.request;
        let (out, runtime) = (self.out.clone(), self.runtime.clone());
        if self.cancels.len() >= MAX_REQUESTS || self.cancels.contains_key(&number) {
            // Refused without waiting: if even that does not fit, the other side is not reading.
            drop(out.try_send(end(number, format!("more than {MAX_REQUESTS} log requests at a time"))));
            return;
        }
        let cancel = CancellationToken::new();
        self.cancels.insert(number, cancel.clone());
        let containers = containers(&request, seen);
        let options =
            LogOptions { tail: Some(request.tail.min(MAX_TAIL)), since: None, follow: request.follow };
        self.running.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = answer(runtime.as_ref(), &out, number, containers, options) => {}
            }
            number
        });
    }

    /// Nobody wants the answer any more.
    pub(super) fn cancel(&mut self, request: u64) {
        if let Some(cancel) = self.cancels.remove(&request) {
            cancel.cancel();
        }
    }

    /// Waits for a request to end and forgets it.
    pub(super) async fn reap(&mut self) {
        if let Some(ended) = self.running.join_next().await {
            match ended {
                Ok(number) => {
                    self.cancels.remove(&number);
                }
                Err(error) => tracing::error!(%error, "a log request died"),
            }
        }
    }
}

/// The containers that a request means: instance and engine id.
fn containers(request: &pb::LogRequest, seen: &Observation) -> Vec<(String, String)> {
    let service: Option<ServiceId> = request.service.parse().ok();
    seen.slots
        .iter()
        .filter(|slot| service.as_ref() == Some(&slot.slot.service))
        .flat_map(|slot| &slot.instances)
        .filter(|instance| request.instances.is_empty() || request.instances.contains(&instance.id))
        .filter_map(|instance| Some((instance.id.clone(), instance.container.clone()?)))
        .take(MAX_INSTANCES)
        .collect()
}

async fn answer<R: Runtime>(
    runtime: &R,
    out: &mpsc::Sender<pb::ConnectRequest>,
    number: u64,
    containers: Vec<(String, String)>,
    options: LogOptions,
) {
    if containers.is_empty() {
        drop(out.send(end(number, "no such instance on this host".to_owned())).await);
        return;
    }
    let streams = containers.into_iter().map(|(instance, container)| {
        runtime.logs(&container, options).map(move |line| line.map(|line| wire(&instance, line)))
    });
    let mut lines = stream::select_all(streams).ready_chunks(BATCH);
    let mut failed = String::new();
    while let Some(chunk) = lines.next().await {
        let mut batch = Vec::with_capacity(chunk.len());
        for line in chunk {
            match line {
                Ok(line) => batch.push(line),
                Err(error) => failed = why(&error),
            }
        }
        if !batch.is_empty() {
            let lines = pb::LogLines { request: number, lines: batch, end: false, error: String::new() };
            let message = pb::ConnectRequest { message: Some(up::Message::LogLines(lines)) };
            if out.send(message).await.is_err() {
                return;
            }
        }
    }
    drop(out.send(end(number, failed)).await);
}

fn why(error: &RuntimeError) -> String {
    report::chain(error).chars().take(500).collect()
}

fn wire(instance: &str, line: crate::runtime::LogLine) -> pb::LogLine {
    let mut text = line.text;
    if text.len() > MAX_LINE {
        let cut = (0..=MAX_LINE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
    }
    let at = line.at.map_or(0, windlass_core::Timestamp::as_millis);
    pb::LogLine { at, instance: instance.to_owned(), stderr: line.stderr, text }
}

fn end(request: u64, error: String) -> pb::ConnectRequest {
    let lines = pb::LogLines { request, lines: Vec::new(), end: true, error };
    pb::ConnectRequest { message: Some(up::Message::LogLines(lines)) }
}
