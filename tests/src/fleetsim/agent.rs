//! One agent: a stream that is reconnected for ever, and what an honest host says on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use windlass_certs::dsse::{Envelope, KeySet, PayloadType};
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{ClientTls, ConnectOptions, connect};
use windlass_core::Digest;
use windlass_core::plan::{HostPlan, Phase};
use windlass_core::receipt::{RECEIPT_VERSION, Receipt, outcomes};
use windlass_core::release::Release;
use windlass_process::{Backoff, backoff};
use windlass_proto::json::encode;
use windlass_proto::limits::CALL_TIMEOUT;
use windlass_proto::pb;
use windlass_proto::pb::agent_link_client::AgentLinkClient;
use windlass_proto::pb::connect_request::Message as Say;
use windlass_proto::pb::connect_response::Message as Hear;

use super::board::Board;
use super::enrol::Member;
use super::herd::Behaviour;
use super::observe;
use super::papers::{fleet, timestamp};

/// As the real agent's link has them while an outage is young.
const DELAYS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));
/// An observation that was not acknowledged is sent again after so long.
const AGAIN: Duration = Duration::from_secs(5);
/// Bytes that a deaf agent's stream takes before the coordinator has to wait for it: a welcome and part of a plan.
const DEAF_WINDOW: u32 = 512;

/// The common parts of all agents.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) address: String,
    pub(super) ca: Digest,
    pub(super) dispatch: KeySet,
    pub(super) releases: KeySet,
    pub(super) board: Board,
    /// Every agent cuts its stream when this changes.
    pub(super) cut: watch::Receiver<u64>,
}

pub(super) struct Agent {
    pub(super) number: usize,
    pub(super) member: Arc<Member>,
    pub(super) common: Arc<Common>,
    pub(super) behaviour: Behaviour,
    pub(super) plan: Option<(HostPlan, Vec<u8>)>,
    pub(super) revision: u64,
}

impl Agent {
    /// Plays its part until it is dropped.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(DELAYS.0, DELAYS.1);
        loop {
            let streams = self.common.board.look(self.number).streams;
            let ended = self.stream().await;
            self.common.board.note(self.number, |look| {
                (look.welcomed_at, look.reported_at) = (None, None);
                look.ended = ended.err().map(|error| format!("{error:#}"));
                if look.streams > streams {
                    backoff.reset();
                }
            });
            sleep(backoff.next(backoff::random())).await;
        }
    }

    async fn stream(&mut self) -> Result<()> {
        let mut cut = self.common.cut.clone();
        cut.mark_unchanged();
        let tls = ClientTls::new(fleet(), vec![self.common.ca], &self.member.identity, Revocations::new())?;
        let mut options = ConnectOptions::default();
        if self.behaviour == Behaviour::Deaf {
            options.stream_window = DEAF_WINDOW;
        }
        let channel = connect(&self.common.address, &tls, &options).await?;
        let mut client = AgentLinkClient::new(channel);
        let (say, said) = mpsc::channel(8);
        send(&say, self.hello()).await?;
        let opened = timeout(CALL_TIMEOUT, async {
            let mut stream = client.connect(ReceiverStream::new(said)).await?.into_inner();
            let first = stream.message().await?;
            Ok::<_, tonic::Status>((stream, first))
        });
        let (mut stream, first) = opened.await.context("not welcomed in time")??;
        let Some(Hear::Welcome(welcome)) = first.and_then(|first| first.message) else {
            bail!("the coordinator did not begin with a welcome");
        };
        self.common.board.note(self.number, |look| {
            look.welcomed_at = Some(Instant::now());
            look.streams += 1;
        });
        let mut beat = interval(Duration::from_millis(u64::from(welcome.heartbeat_ms)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if self.behaviour == Behaviour::Deaf {
            // It says that it lives, and reads nothing more: its window fills.
            loop {
                tokio::select! {
                    _ = beat.tick() => self.heartbeat(&say).await?,
                    Ok(()) = cut.changed() => return Ok(()),
                }
            }
        }
        let mut unacknowledged = Some(self.report(&say).await?);
        loop {
            tokio::select! {
                biased;
                Ok(()) = cut.changed() => return Ok(()),
                heard = stream.message() => match heard?.context("the stream was closed")?.message {
                    Some(Hear::Plan(offer)) if self.take(&mut client, &offer.envelope).await? => {
                        unacknowledged = Some(self.report(&say).await?);
                        self.receipt(&say).await?;
                    }
                    Some(Hear::Ack(ack)) if ack.revision == self.revision => {
                        unacknowledged = None;
                        let now = Instant::now();
                        self.common.board.note(self.number, |look| _ = look.reported_at.get_or_insert(now));
                    }
                    _ => {}
                },
                _ = beat.tick() => {
                    if unacknowledged.is_some_and(|at| at.elapsed() >= AGAIN) {
                        unacknowledged = Some(self.report(&say).await?);
                    }
                    self.heartbeat(&say).await?;
                }
            }
        }
    }

    fn hello(&self) -> Say {
        let (seq, plan) =
            self.plan.as_ref().map(|(plan, bytes)| (plan.seq, bytes.clone())).unwrap_or_default();
        let facts = encode(&observe::facts(&self.member));
        // The number says which process this is: one agent, one process.
        let run = self.number as u64 + 1;
        Say::Hello(pb::Hello {
            facts,
            trust_version: 1,
            seq,
            plan: plan.into(),
            revocations: 0,
            run,
            sends_logs: false,
            routes: Vec::new(),
            knows_routes: false,
        })
    }

    async fn heartbeat(&self, say: &mpsc::Sender<pb::ConnectRequest>) -> Result<()> {
        let stats = encode(&observe::stats(self.plan.as_ref().map(|(plan, _)| plan)));
        send(say, Say::Heartbeat(pb::Heartbeat { number: 0, stats })).await
    }

    async fn report(&mut self, say: &mpsc::Sender<pb::ConnectRequest>) -> Result<Instant> {
        self.revision += 1;
        let seen = observe::observe(self.plan.as_ref().map(|(plan, _)| plan), self.revision);
        send(say, Say::Observation(pb::ObservationReport { observation: encode(&seen) })).await?;
        Ok(Instant::now())
    }

    async fn receipt(&self, say: &mpsc::Sender<pb::ConnectRequest>) -> Result<()> {
        let Some((plan, envelope)) = &self.plan else { return Ok(()) };
        let Some(slots) = outcomes(plan, &observe::observe(Some(plan), self.revision)) else { return Ok(()) };
        let receipt = Receipt {
            version: RECEIPT_VERSION,
            fleet: fleet(),
            host: self.member.host.clone(),
            seq: plan.seq,
            plan: Envelope::parse(envelope, PayloadType::Plan.max_len())?.digest(),
            slots,
            checkpoint: None,
            at: timestamp(),
        };
        let payload = serde_json::to_vec(&receipt)?;
        let envelope =
            Envelope::sign(PayloadType::Receipt, payload, &[&self.member.receipts]).to_bytes().into();
        send(say, Say::Receipt(pb::ReceiptReport { envelope, ..Default::default() })).await
    }

    /// Verifies an offered plan and fetches what it names that is new here. Returns whether another plan is in force now.
    async fn take(&mut self, client: &mut AgentLinkClient<Channel>, bytes: &[u8]) -> Result<bool> {
        let plan = match self.verify(bytes) {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(false),
            Err(error) => {
                let wrong = format!("{}: {error:#}", self.member.host);
                self.common.board.note(self.number, |look| look.wrong.push(wrong));
                return Err(error);
            }
        };
        let known = self.common.board.look(self.number).held;
        for digest in plan.slots.iter().map(|slot| slot.release) {
            if !known.contains_key(&digest) {
                self.fetch(client, digest).await?;
            }
        }
        let now = Instant::now();
        self.common.board.note(self.number, |look| {
            (look.seq, look.planned_at, look.issued_at) = (plan.seq, Some(now), Some(plan.issued_at));
            for slot in &plan.slots {
                look.held.entry(slot.release).or_insert(now);
                if slot.phase == Phase::Running {
                    look.running.entry(slot.release).or_insert(now);
                }
            }
        });
        self.plan = Some((plan, bytes.to_vec()));
        Ok(true)
    }

    fn verify(&self, bytes: &[u8]) -> Result<Option<HostPlan>> {
        let envelope = Envelope::parse(bytes, PayloadType::Plan.max_len())?;
        let plan: HostPlan = envelope.verify(PayloadType::Plan, &self.common.dispatch)?.decode()?;
        ensure!(plan.host == self.member.host && plan.fleet == fleet(), "a plan of another host");
        let Some((last, known)) = &self.plan else { return Ok(Some(plan)) };
        ensure!(plan.seq >= last.seq, "plan {} after plan {}", plan.seq, last.seq);
        ensure!(plan.seq > last.seq || bytes == known.as_slice(), "two plans with number {}", plan.seq);
        Ok((plan.seq > last.seq).then_some(plan))
    }

    async fn fetch(&self, client: &mut AgentLinkClient<Channel>, digest: Digest) -> Result<()> {
        let request = pb::FetchReleaseRequest { digest: digest.to_string() };
        let envelope = timeout(CALL_TIMEOUT, client.fetch_release(request)).await??.into_inner().envelope;
        let envelope = Envelope::parse(&envelope, PayloadType::Release.max_len())?;
        ensure!(envelope.digest() == digest, "another release than was asked for");
        let release: Release = envelope.verify(PayloadType::Release, &self.common.releases)?.decode()?;
        ensure!(release.fleet == fleet(), "a release of another fleet");
        Ok(())
    }
}

async fn send(say: &mpsc::Sender<pb::ConnectRequest>, message: Say) -> Result<()> {
    say.send(pb::ConnectRequest { message: Some(message) }).await.context("the stream has ended")
}
