//! Lines that containers wrote, on request. Each answer travels over a connection of its own, so that neither its size
//! nor a reader that pauses touches the stream of heartbeats and plans; whoever reads slowly slows down its own answer
//! and nothing else. A coordinator of the version before gets its answer on that stream, in few and large messages.
//!
//! ```text
//! engine ─▶ source (a container each) ─▶ merged by time ─▶ batch ─▶ SendLogs ─▶ coordinator
//! ```

mod line;
mod reading;
mod send;
mod source;
mod wanted;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use windlass_certs::tls::{ClientTls, connect};
use windlass_core::observation::Observation;
use windlass_process::report;
use windlass_proto::Padded;
use windlass_proto::limits::CALL_TIMEOUT;
use windlass_proto::pb::agent_link_client::AgentLinkClient;
use windlass_proto::pb::{self, connect_request as up};

use self::send::{Answer, Batch};
use self::wanted::Wanted;
use super::wires::options;
use crate::runtime::Runtime;

/// Requests at a time on one stream.
const MAX_REQUESTS: usize = 16;
/// Batches that wait for the network.
const BATCHES: usize = 2;
/// Longest line for a coordinator of the version before; the rest is cut.
const SHORT_LINE: usize = 16 * 1024;

/// The coordinator that answers go to.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The coordinator's address.
    pub(super) address: String,
    /// TLS of the connection to it.
    pub(super) tls: ClientTls,
    /// The stream of heartbeats and plans.
    pub(super) out: mpsc::Sender<pb::ConnectRequest>,
}

/// The log requests of one stream; dropping it ends them.
#[derive(Debug)]
pub(super) struct Logs<R> {
    runtime: Arc<R>,
    way: Way,
    running: JoinSet<u64>,
    cancels: BTreeMap<u64, CancellationToken>,
}

impl<R: Runtime> Logs<R> {
    /// Answers go this way.
    pub(super) fn new(runtime: Arc<R>, way: Way) -> Self {
        Self { runtime, way, running: JoinSet::new(), cancels: BTreeMap::new() }
    }

    /// Returns whether nobody reads.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Begins to answer a request. `report` says which containers there are.
    pub(super) fn open(&mut self, request: &pb::LogRequest, report: watch::Receiver<Arc<Observation>>) {
        let number = request.request;
        let wanted = if self.cancels.len() >= MAX_REQUESTS || self.cancels.contains_key(&number) {
            Err(format!("more than {MAX_REQUESTS} log requests at a time"))
        } else {
            Wanted::read(request)
        };
        let wanted = match wanted {
            Ok(wanted) => Arc::new(wanted),
            Err(why) => {
                // Refused without waiting: if even that does not fit, the other side is not reading.
                drop(self.way.out.try_send(lines(number, Vec::new(), Some(why))));
                return;
            }
        };
        let cancel = CancellationToken::new();
        self.cancels.insert(number, cancel.clone());
        let (way, is_apart) = (self.way.clone(), request.apart);
        let answer = Answer { runtime: self.runtime.clone(), wanted, report };
        self.running.spawn(async move {
            let (sender, batches) = mpsc::channel(BATCHES);
            let answering = async move {
                let error = answer.run(sender.clone()).await.unwrap_or_default();
                drop(sender.send(Batch { end: Some(error), ..Batch::default() }).await);
                drop(sender);
                std::future::pending::<()>().await; // what was sent last is still on its way
            };
            let sending = async move {
                match is_apart {
                    true => apart(&way, number, batches).await,
                    false => beside(&way, number, batches).await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sending => {}
                () = answering => {}
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

/// Sends an answer over a connection of its own, until it has ended or nobody reads it.
async fn apart(way: &Way, number: u64, batches: mpsc::Receiver<Batch>) {
    let failed = match connect(&way.address, &way.tls, &options()).await {
        Ok(channel) => {
            // Which request it answers is said at once: the first lines may take their time.
            let first = stream::once(std::future::ready(Batch::default()));
            let requests = first.chain(ReceiverStream::new(batches)).map(move |batch| {
                let Batch { lines, current, end } = batch;
                let (end, error) = (end.is_some(), end.unwrap_or_default());
                pb::SendLogsRequest { request: number, lines, current, end, error, ..Default::default() }
                    .padded()
            });
            let mut client = AgentLinkClient::new(channel);
            match timeout(CALL_TIMEOUT, client.send_logs(requests)).await {
                Ok(Ok(answer)) => {
                    // It ends when the coordinator has read everything, or its reader is gone.
                    let mut answer = answer.into_inner();
                    while let Ok(Some(_)) = answer.message().await {}
                    return;
                }
                Ok(Err(status)) => status.message().to_owned(),
                Err(_) => "the coordinator did not answer in time".to_owned(),
            }
        }
        Err(error) => report::chain(&error),
    };
    tracing::warn!(error = failed, "a log could not be sent");
    let why = format!("the host could not open a connection for its log: {failed}");
    drop(way.out.send(lines(number, Vec::new(), Some(why))).await);
}

/// Sends an answer on the stream of heartbeats and plans, for a coordinator of the version before.
async fn beside(way: &Way, number: u64, mut batches: mpsc::Receiver<Batch>) {
    while let Some(batch) = batches.recv().await {
        let mut sent = batch.lines;
        sent.iter_mut().for_each(shorten);
        if way.out.send(lines(number, sent, batch.end)).await.is_err() {
            return;
        }
    }
}

fn shorten(line: &mut pb::LogLine) {
    if line.text.len() > SHORT_LINE {
        let cut = (0..=SHORT_LINE).rev().find(|at| line.text.is_char_boundary(*at)).unwrap_or(0);
        line.text.truncate(cut);
        line.cut = true;
    }
}

/// Some lines, or the end of them with the reason if some are missing.
fn lines(request: u64, lines: Vec<pb::LogLine>, end: Option<String>) -> pb::ConnectRequest {
    let (end, error) = (end.is_some(), end.unwrap_or_default());
    let lines = pb::LogLines { request, lines, end, error, ..pb::LogLines::default() }.padded();
    pb::ConnectRequest { message: Some(up::Message::LogLines(lines)) }
}
