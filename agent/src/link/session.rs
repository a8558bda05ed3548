//! One stream: who we are, what they want, what we see. Ends with the connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use windlass_certs::tls::ClientTls;
use windlass_proto::json;
use windlass_proto::limits::{CALL_TIMEOUT, HEARTBEAT};
use windlass_proto::pb::{self, connect_request as up, connect_response as down};

use super::ended::{Ended, after, before, words};
use super::intake::{self, Coordinator, Offers};
use super::logs::{Logs, Way};
use super::outbox::{Item, Outbox};
use super::telemetry;
use super::traffic::{newer, positions};
use super::wires::Wires;
use crate::clock;
use crate::document_store::DocumentStore;
use crate::lease::{self, Beats, Contact};
use crate::runtime::Runtime;

/// Messages that wait for the network; more make their writers wait.
const CAPACITY: usize = 32;
/// The least and most that a coordinator may set as interval of heartbeats.
const BEATS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// Time between two looks whether there is room for a report.
const LOOK: Duration = Duration::from_millis(100);

/// The coordinator's terms for a session.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// The interval of heartbeats that it asks for.
    beat: Duration,
    /// It acknowledges heartbeats.
    acked: bool,
    /// It takes statistics beside heartbeats.
    takes_stats: bool,
}

/// One connection's worth of talk.
#[derive(Debug)]
pub(super) struct Session<'a, R> {
    keeper: &'a Arc<DocumentStore>,
    runtime: &'a Arc<R>,
    wires: &'a Wires,
    tls: &'a ClientTls,
    address: &'a str,
    run: u64,
}

impl<'a, R: Runtime> Session<'a, R> {
    /// Over a channel to `address`.
    pub(super) fn new(
        keeper: &'a Arc<DocumentStore>,
        runtime: &'a Arc<R>,
        wires: &'a Wires,
        tls: &'a ClientTls,
        address: &'a str,
        run: u64,
    ) -> Self {
        Self { keeper, runtime, wires, tls, address, run }
    }

    /// Talks until the connection ends.
    pub(super) async fn run(self, channel: Channel) -> Ended {
        let coordinator = Coordinator::new(channel);
        let (out, outgoing) = mpsc::channel(CAPACITY);
        let mut wires = self.wires.clone();
        // Later changes come after the hello.
        let facts = json::encode(&**wires.facts.borrow_and_update());
        if out.send(self.hello(facts)).await.is_err() {
            return before("the stream was closed at once");
        }
        let opened = timeout(CALL_TIMEOUT, async {
            let stream = coordinator.client().connect(ReceiverStream::new(outgoing)).await?;
            let mut stream = stream.into_inner();
            let first = stream.message().await?;
            Ok::<_, Status>((stream, first))
        });
        let (stream, welcome) = match opened.await {
            Ok(Ok((
                stream,
                Some(pb::ConnectResponse { message: Some(down::Message::Welcome(welcome)) }),
            ))) => (stream, welcome),
            Ok(Ok(_)) => return before("the coordinator did not begin with a welcome"),
            Ok(Err(status)) => return before(&words(&status)),
            Err(_) => return before("the coordinator did not welcome us in time"),
        };
        let (coordinator_version, trust) = (welcome.coordinator_version, welcome.trust_version);
        tracing::info!(address = self.address, coordinator_version, trust, "linked to the coordinator");
        self.wires.connected.send_replace(self.address.to_owned());
        let beat = Duration::from_millis(u64::from(welcome.heartbeat_ms));
        let beat = if beat.is_zero() { HEARTBEAT } else { beat.clamp(BEATS.0, BEATS.1) };
        // A coordinator of a version before acknowledges nothing: there an open stream is all there is to go by.
        let terms = Terms { beat, acked: welcome.acks_heartbeats, takes_stats: welcome.takes_stats };
        let offers = watch::Sender::new(Offers { trust, ..Offers::default() });
        tokio::select! {
            ended = self.pump(wires, stream, out, &offers, terms) => ended,
            () = intake::run(self.keeper, &coordinator, self.tls, &offers) => after("the intake ended"),
        }
    }

    fn hello(&self, facts: Bytes) -> pb::ConnectRequest {
        let plan = self.keeper.plan();
        message(up::Message::Hello(pb::Hello {
            facts,
            trust_version: self.keeper.trust().version(),
            seq: plan.as_ref().map_or(0, |plan| plan.seq),
            plan: plan.map(|plan| Bytes::from(plan.envelope)).unwrap_or_default(),
            revocations: self.keeper.revocations_version(),
            run: self.run,
            sends_logs: true,
            routes: positions(self.keeper),
            knows_routes: true,
        }))
    }

    /// Every branch only waits; what it found is worked on after the select.
    async fn pump(
        &self,
        mut wires: Wires,
        mut stream: Streaming<pb::ConnectResponse>,
        out: mpsc::Sender<pb::ConnectRequest>,
        offers: &watch::Sender<Offers>,
        terms: Terms,
    ) -> Ended {
        let way = Way { address: self.address.to_owned(), tls: self.tls.clone(), out: out.clone() };
        let (mut outbox, mut logs) = (Outbox::default(), Logs::new(self.runtime.clone(), way));
        outbox.observed(wires.report.borrow_and_update().revision);
        if wires.receipt.borrow_and_update().is_some() {
            outbox.receipt();
        }
        let mut beats = Beats::default();
        let mut tick = interval(terms.beat);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let handover_at = handover_at(&wires);
        let mut reported = Arc::default();
        wires.ingresses.mark_changed();
        loop {
            let free = out.capacity() == CAPACITY;
            let next = outbox.next(Instant::now(), free);
            tokio::select! {
                biased;
                received = stream.message() => match received {
                    Ok(Some(received)) => {
                        if !terms.acked {
                            heard(&wires);
                        }
                        if let Some(down::Message::HeartbeatAck(ack)) = &received.message {
                            Self::renew(ack, &mut beats, &wires);
                        }
                        self.receive(received, &mut outbox, offers, &mut logs);
                    }
                    Ok(None) => return after("the coordinator closed the stream"),
                    Err(status) => return after(&words(&status)),
                },
                permit = out.reserve(), if next.is_some() => match (permit, next) {
                    (Ok(permit), Some(item)) => {
                        if let Some(message) = self.say(item, &wires, &mut beats, terms) {
                            if let Some(up::Message::Stats(report)) = &message.message {
                                outbox.spend(report.stats.len(), Instant::now());
                            }
                            permit.send(message);
                        }
                        outbox.said(item, Instant::now());
                    }
                    _ => return after("the stream was closed"),
                },
                changed = wires.report.changed() => {
                    if changed.is_err() { return after("the reporter has gone"); }
                    outbox.observed(wires.report.borrow_and_update().revision);
                }
                Ok(()) = wires.ingresses.changed() => {
                    let newest = wires.ingresses.borrow_and_update().clone();
                    outbox.ingresses(newer(&newest, &reported));
                    reported = newest;
                }
                // A report waits until the channel is empty, which only time tells.
                () = tokio::time::sleep(LOOK), if outbox.waits_for_room() => {}
                Ok(()) = wires.stats.changed(), if terms.takes_stats => outbox.stats(),
                Ok(()) = wires.receipt.changed() => outbox.receipt(),
                Ok(()) = wires.facts.changed() => outbox.facts(),
                () = logs.reap(), if !logs.is_empty() => {}
                () = tokio::time::sleep_until(handover_at) => return Ended::Handover,
                _ = tick.tick() => {
                    if !terms.acked {
                        // Keepalives end a dead connection within 15 s, so an open stream is a sign of life.
                        heard(&wires);
                    }
                    outbox.heartbeat();
                }
            }
        }
    }

    /// A heartbeat was acknowledged: the coordinator heard of us not before that was sent.
    fn renew(ack: &pb::HeartbeatAck, beats: &mut Beats, wires: &Wires) {
        let Some(at) = beats.acknowledged(ack.number) else { return };
        wires.contact.send_replace(Some(Contact { at, seq: Some(ack.seq) }));
    }

    fn receive(
        &self,
        received: pb::ConnectResponse,
        outbox: &mut Outbox,
        offers: &watch::Sender<Offers>,
        logs: &mut Logs<R>,
    ) {
        match received.message {
            Some(down::Message::Plan(plan)) => offers.send_modify(|offers| {
                let number = offers.plan.as_ref().map_or(0, |(number, _)| *number) + 1;
                offers.plan = Some((number, plan.envelope));
            }),
            Some(down::Message::Ack(ack)) => outbox.acknowledge(ack.revision),
            Some(down::Message::Trust(notice)) => offers.send_modify(|offers| offers.trust = notice.version),
            Some(down::Message::Checkpoint(notice)) => {
                offers.send_modify(|offers| offers.checkpoint = Some(notice.envelope));
            }
            Some(down::Message::Revocations(notice)) => {
                offers.send_modify(|offers| offers.revocations = Some(notice.envelope));
            }
            Some(down::Message::Routes(offer)) => {
                offers.send_modify(|offers| offers.routes.push(offer.envelope));
            }
            Some(down::Message::KeptRequest(_)) => outbox.kept(),
            Some(down::Message::ReleaseRequest(request)) => {
                // A digest that cannot be parsed is none of a kept release.
                if let Ok(digest) = request.digest.parse() {
                    outbox.release(digest);
                }
            }
            Some(down::Message::LogRequest(request)) => {
                logs.open(&request, self.wires.report.clone());
            }
            Some(down::Message::LogCancel(cancel)) => logs.cancel(cancel.request),
            Some(down::Message::Welcome(_) | down::Message::HeartbeatAck(_)) | None => {} // of a newer version, or said twice
        }
    }

    fn say(&self, item: Item, wires: &Wires, beats: &mut Beats, terms: Terms) -> Option<pb::ConnectRequest> {
        Some(message(match item {
            Item::Observation => {
                let observation = json::encode(&**wires.report.borrow());
                up::Message::Observation(pb::ObservationReport { observation })
            }
            Item::Receipt => {
                let envelope = wires.receipt.borrow().clone()?;
                let checkpoint = self.keeper.checkpoint_envelope().unwrap_or_default().into();
                up::Message::Receipt(pb::ReceiptReport {
                    envelope: Bytes::from(envelope.to_vec()),
                    checkpoint,
                })
            }
            Item::Facts => {
                up::Message::Facts(pb::FactsReport { facts: json::encode(&**wires.facts.borrow()) })
            }
            Item::Kept => {
                let digests = self.keeper.kept_releases().iter().map(ToString::to_string).collect();
                up::Message::Kept(pb::KeptReport { digests })
            }
            Item::Release(digest) => {
                let envelope = self.keeper.kept_release(&digest).unwrap_or_default().into();
                up::Message::Release(pb::ReleaseReport { digest: digest.to_string(), envelope })
            }
            Item::Ingress(process) => {
                let report = wires.ingresses.borrow().get(&process).cloned()?;
                up::Message::Ingress(pb::IngressReport { report })
            }
            Item::Stats => {
                let stats = telemetry::report(&wires.stats)?;
                up::Message::Stats(pb::StatsReport { stats })
            }
            Item::Heartbeat => {
                let beside = !terms.takes_stats;
                let stats = if beside { telemetry::in_heartbeat(&wires.stats) } else { Bytes::new() };
                up::Message::Heartbeat(pb::Heartbeat { stats, number: beats.next(lease::uptime()) })
            }
        }))
    }
}

/// When to come back with the newer certificate: shortly before the one that this connection showed expires, since
/// the coordinator cuts it then. For ever if it is valid for longer than anyone waits.
fn handover_at(wires: &Wires) -> Instant {
    let left = wires.identity.borrow().peer().not_after.since(clock::now());
    let margin = (left / 10).min(Duration::from_secs(60));
    let wait = left.saturating_sub(margin).max(Duration::from_secs(1));
    Instant::now() + wait.min(Duration::from_secs(30 * 24 * 3600))
}

/// A sign of life that renews no lease.
fn heard(wires: &Wires) {
    if let Some(at) = lease::uptime() {
        wires.contact.send_replace(Some(Contact { at, seq: None }));
    }
}

const fn message(message: up::Message) -> pb::ConnectRequest {
    pb::ConnectRequest { message: Some(message) }
}
