//! One agent's stream. The response stream drives everything: when tonic asks for the next message, the session
//! waits for whatever comes first. So there is no task per host, a host that does not read stalls only itself,
//! and the session ends when the connection does.
//!
//! ```text
//!   agent ── Hello, Heartbeat, Observation, Facts ──▶ registry, ledger ──▶ engine
//!   agent ◀── Welcome, newest plan, acks, notices, log requests ── here
//! ```
//!
//! Logs come over connections of their own ([`logs`]).
//!
//! The waiting messages are never a queue of plans: a wake-up says that there is a newer one, and the sent plan is
//! the newest at that moment.

mod inbound;
mod logs;
mod outbound;
mod reports;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use windlass_certs::identity::PeerIdentity;
use windlass_core::host::HostFacts;
use windlass_core::{Digest, EnvironmentId, HostId};
use windlass_proto::pb;
use windlass_proto::pb::connect_response::Message as To;

use crate::coordinator::Coordinator;
use crate::grpc::status::{refused, stopping};
use crate::recovery;
use crate::registry::Place;
use crate::routes;

pub(crate) use logs::{Calls, LogCommand, LogPiece, Pieces, Readers, receive};
pub(crate) use outbound::{newer_routes, newest_plan};
pub(crate) use reports::{admit, await_decision, bounded, heard, observed};

/// The longest time for the hello of a new stream.
const HELLO: Duration = Duration::from_secs(10);
/// Log requests that wait for the stream.
const LOGS: usize = 16;

/// A stream of one host.
pub(crate) struct Session {
    coordinator: Arc<Coordinator>,
    host: HostId,
    inbound: Streaming<pb::ConnectRequest>,
    place: Place,
    /// Tripped when the connection or its certificate ends.
    cut: CancellationToken,
    plan: Arc<Notify>,
    everyone: watch::Receiver<u64>,
    /// Numbers of the log requests of this stream.
    asked: BTreeSet<u64>,
    /// The agent sends logs over connections of their own.
    sends_logs: bool,
    /// The agent takes traffic tables.
    knows_routes: bool,
    /// Tables that were sent on this stream.
    sent_routes: BTreeMap<EnvironmentId, Digest>,
    commands: mpsc::Receiver<LogCommand>,
    pending: VecDeque<pb::ConnectResponse>,
    sent_seq: u64,
    sent_trust: u64,
    sent_checkpoint: u64,
    sent_revocations: u64,
    /// Facts that came too soon after others, to be stored with a later message.
    held: Option<HostFacts>,
}

type Answer = Result<pb::ConnectResponse, Status>;

enum Woken {
    Stopping,
    Cut,
    Replaced,
    Message(Result<Option<pb::ConnectRequest>, Status>),
    Plan,
    Everyone,
    Command(LogCommand),
}

impl Session {
    /// Waits for the agent's hello, and takes the host's place in the registry.
    pub(crate) async fn open(
        coordinator: Arc<Coordinator>,
        host: HostId,
        peer: &PeerIdentity,
        cut: CancellationToken,
        mut inbound: Streaming<pb::ConnectRequest>,
    ) -> Result<Self, Status> {
        let first = timeout(HELLO, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello within 10s"))??;
        let Some(pb::connect_request::Message::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be `hello`"));
        };
        let facts = reports::facts_of("hello.facts", &hello.facts)?;
        let held = admit(&coordinator, &host, peer, facts).await?;
        if coordinator.registry.comes_back(&host, hello.run) {
            coordinator.peers.log_limited(&format!("agent/{host}"), || {
                tracing::warn!(%host, "two machines connect as one host");
            });
            return Err(refused(coordinator.enrolment.cut_off(&host).await.map_err(refused)?));
        }
        let (commands_in, commands) = mpsc::channel(LOGS);
        let place = coordinator.registry.connect(&host, commands_in, coordinator.ledger.now());
        let plan = coordinator.ledger.signals().plan_of(&host);
        let everyone = coordinator.ledger.signals().everyone();
        let mut session = Self {
            coordinator,
            host,
            inbound,
            place,
            cut,
            plan,
            everyone,
            asked: BTreeSet::new(),
            sends_logs: hello.sends_logs,
            knows_routes: hello.knows_routes,
            sent_routes: BTreeMap::new(),
            commands,
            pending: VecDeque::new(),
            sent_seq: 0,
            sent_trust: hello.trust_version,
            sent_checkpoint: 0,
            sent_revocations: hello.revocations,
            held,
        };
        await_decision(&session.coordinator).await?;
        session.welcome();
        let holds = recovery::Hello { seq: hello.seq, plan: &hello.plan, trust: hello.trust_version };
        if recovery::compare(&session.coordinator, &session.host, holds).await? {
            session.push(To::KeptRequest(pb::KeptRequest {}));
        }
        routes::raise(&session.coordinator, &session.host, hello.routes).await?;
        session.offer_plan();
        session.notify();
        session.coordinator.host_changed(&session.host);
        session.log(|host| tracing::info!(%host, generation = peer.generation, "host connected"));
        Ok(session)
    }

    /// Writes a line about its host; one that comes and goes all the time writes few.
    fn log(&self, write: impl FnOnce(&HostId)) {
        self.coordinator.peers.log_limited(&format!("agent/{}", self.host), || write(&self.host));
    }

    /// The messages to send, until the session ends.
    pub(crate) fn into_stream(self) -> BoxStream<'static, Answer> {
        stream::unfold(Some(self), |session| async move {
            let mut session = session?;
            match session.next().await {
                Ok(Some(message)) => Some((Ok(message), Some(session))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<pb::ConnectResponse>, Status> {
        loop {
            if let Some(message) = self.pending.pop_front() {
                return Ok(Some(message));
            }
            match self.wait().await {
                Woken::Stopping => return Err(stopping()),
                Woken::Cut => {
                    return Err(Status::unauthenticated("the certificate is revoked or superseded"));
                }
                Woken::Replaced => return Err(Status::aborted("the host has connected again")),
                Woken::Message(message) => match message? {
                    Some(message) => self.received(message).await?,
                    None => return Ok(None),
                },
                Woken::Plan => self.offer_plan(),
                Woken::Everyone => {
                    self.notify();
                    if self.sent_seq == 0 {
                        self.offer_plan(); // the fleet may go on now
                    }
                }
                Woken::Command(command) => self.command(command),
            }
        }
    }

    /// Every branch only waits, and losing a race loses nothing.
    async fn wait(&mut self) -> Woken {
        tokio::select! {
            biased;
            () = self.coordinator.stopping.cancelled() => Woken::Stopping,
            () = self.cut.cancelled() => Woken::Cut,
            () = self.place.replaced.cancelled() => Woken::Replaced,
            () = self.plan.notified() => Woken::Plan,
            message = self.inbound.message() => Woken::Message(message),
            Ok(()) = self.everyone.changed() => Woken::Everyone,
            Some(command) = self.commands.recv() => Woken::Command(command),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.coordinator.readers.forget(&self.host, &self.asked);
        self.log(|host| tracing::info!(%host, "host disconnected"));
    }
}
