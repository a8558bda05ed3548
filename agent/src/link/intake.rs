//! Offers of a coordinator, worked off beside the pump: a slow fetch must not hold up a heartbeat.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Status};
use windlass_certs::tls::ClientTls;
use windlass_core::Digest;
use windlass_core::observation::RefusalCode;
use windlass_process::{Backoff, backoff, report};
use windlass_proto::limits::{CALL_TIMEOUT, MAX_MESSAGE, MAX_ROUTES_POSITIONS};
use windlass_proto::pb;
use windlass_proto::pb::agent_link_client::AgentLinkClient;

use crate::document_store::{DocumentStore, OfferError, Source, Taken};

/// A plan that was refused because of the time is looked at again after so long.
const FOR_NOW: Duration = Duration::from_secs(15);

/// Most bytes of traffic tables that wait.
const MOST_WAITING: usize = 32 << 20;

/// The newest of what was offered on a stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers {
    /// A plan, and how many were offered before it: the same one offered again is looked at again.
    pub(super) plan: Option<(u64, Bytes)>,
    /// The newest trust version that the coordinator has.
    pub(super) trust: u64,
    /// A checkpoint of the audit log.
    pub(super) checkpoint: Option<Bytes>,
    /// A revocation list.
    pub(super) revocations: Option<Bytes>,
    /// Traffic tables.
    pub(super) routes: RoutesOffered,
}

/// Traffic tables that wait to be taken. Which environment one is of is only known when it is read.
#[derive(Debug, Clone, Default)]
pub(super) struct RoutesOffered {
    waiting: Vec<Bytes>,
    overrun: bool,
}

impl RoutesOffered {
    /// One more. More than anybody honest offers before one is taken end the stream: then all are offered anew.
    pub(super) fn push(&mut self, envelope: Bytes) {
        let bytes: usize = self.waiting.iter().map(Bytes::len).sum();
        if self.waiting.len() >= MAX_ROUTES_POSITIONS || bytes + envelope.len() > MOST_WAITING {
            self.overrun = true;
        } else {
            self.waiting.push(envelope);
        }
    }

    /// Whether more were offered than may wait.
    pub(super) const fn overrun(&self) -> bool {
        self.overrun
    }
}

/// A coordinator, for fetching what a plan names.
#[derive(Debug, Clone)]
pub(super) struct Coordinator(AgentLinkClient<Channel>);

impl Coordinator {
    /// Over this channel.
    pub(super) fn new(channel: Channel) -> Self {
        Self(AgentLinkClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }

    /// The client itself, for the stream.
    pub(super) fn client(&self) -> AgentLinkClient<Channel> {
        self.0.clone()
    }

    async fn trust_after(&self, after: u64) -> Result<Vec<Vec<u8>>, Status> {
        let mut request = tonic::Request::new(pb::FetchTrustRequest { after });
        request.set_timeout(CALL_TIMEOUT);
        let answer = self.client().fetch_trust(request).await?.into_inner();
        Ok(answer.envelopes.into_iter().map(|envelope| envelope.to_vec()).collect())
    }
}

impl Source for Coordinator {
    async fn fetch(&self, digest: &Digest) -> anyhow::Result<Option<Vec<u8>>> {
        let mut request = tonic::Request::new(pb::FetchReleaseRequest { digest: digest.to_string() });
        request.set_timeout(CALL_TIMEOUT);
        match self.client().fetch_release(request).await {
            Ok(answer) => Ok(Some(answer.into_inner().envelope.to_vec())),
            Err(status) => match status.code() {
                // An answer: asking again would bring the same, and the slot alone has to bear it.
                Code::NotFound
                | Code::InvalidArgument
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::ResourceExhausted
                | Code::Unimplemented
                | Code::DataLoss => Ok(None),
                _ => Err(status.into()),
            },
        }
    }
}

/// Works off what is offered until the stream ends (then it is dropped; whatever was journaled stays), or until a
/// revocation list says that whoever is at the other end counts no more.
pub(super) async fn run(
    keeper: &DocumentStore,
    coordinator: &Coordinator,
    tls: &ClientTls,
    offers: &watch::Sender<Offers>,
) {
    let mut changed = offers.subscribe();
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut tables: Vec<Bytes> = Vec::new();
    let (mut plan_done, mut checkpoint_done, mut revocations_done) = (0, None, None);
    loop {
        changed.mark_unchanged();
        let mut offered = offers.borrow().clone();
        offers.send_if_modified(|offers| {
            tables.append(&mut offers.routes.waiting);
            false
        });
        offered.routes.waiting.clear();
        if offered.routes.overrun() {
            tracing::warn!("more traffic tables were offered than may wait: leaving the coordinator");
            return;
        }
        let trust = catch_up(keeper, coordinator, offered.trust).await;
        let (mut again, mut refused_for_now) = (trust.is_err(), false);
        if let Some(envelope) = &offered.revocations
            && revocations_done.as_ref() != Some(envelope)
        {
            match keeper.revoke(envelope).await {
                Ok(()) => revocations_done = Some(envelope.clone()),
                Err(error) => {
                    tracing::warn!(error = %report::chain(&error), "a revocation list could not be kept");
                    again = true;
                }
            }
            if tls.must_part() {
                tracing::warn!("the coordinator's certificate was revoked: leaving it");
                return;
            }
        }
        // A plan of a newer epoch needs the trust document first; without it, it is refused and offered again.
        if let Some((number, envelope)) = &offered.plan
            && *number != plan_done
        {
            match keeper.offer(envelope, coordinator).await {
                // A clock that is put right is no news from the coordinator: the plan is looked at again.
                Ok(()) if keeper.is_refused_for_now() => refused_for_now = true,
                Ok(()) => plan_done = *number,
                Err(error) => {
                    say("a plan could not be taken, trying again", &error);
                    again = true;
                }
            }
        }
        refused_for_now |= take_tables(keeper, &mut tables, &mut again).await;
        if let Some(envelope) = &offered.checkpoint
            && checkpoint_done.as_ref() != Some(envelope)
        {
            match keeper.witness(envelope).await {
                Ok(()) => checkpoint_done = Some(envelope.clone()),
                Err(error) => {
                    tracing::warn!(error = %report::chain(&error), "a checkpoint could not be kept")
                }
            }
        }
        let wait = match (again, refused_for_now) {
            (true, _) => backoff.next(backoff::random()),
            (false, true) => FOR_NOW,
            (false, false) => Duration::from_secs(3600),
        };
        if !again {
            backoff.reset();
        }
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Takes the tables that wait, and leaves those that may be taken later. Answers whether the time is what one waits for.
async fn take_tables(keeper: &DocumentStore, tables: &mut Vec<Bytes>, again: &mut bool) -> bool {
    let (mut left, mut for_now) = (Vec::new(), false);
    for envelope in tables.drain(..) {
        match keeper.take_routes(&envelope).await {
            Ok(Taken::Newest) => {}
            // The next trust document, or a clock that is put right, may make it a good one.
            Ok(Taken::Refused(refusal)) if refusal.code == RefusalCode::NotYetValid => {
                for_now = true;
                left.push(envelope);
            }
            Ok(Taken::Refused(refusal)) if *again && refusal.code == RefusalCode::WrongEpoch => {
                left.push(envelope)
            }
            Ok(Taken::Refused(_)) => {}
            Err(error) => {
                tracing::warn!(error = %report::chain(&error), "a traffic table could not be kept, trying again");
                *again = true;
                left.push(envelope);
            }
        }
    }
    // The last offers are the newest.
    left.drain(..left.len().saturating_sub(MAX_ROUTES_POSITIONS));
    *tables = left;
    for_now
}

fn say(what: &str, error: &OfferError) {
    tracing::warn!(error = %report::chain(error), "{what}");
}

/// Fetches and takes trust versions until there is none after ours.
async fn catch_up(keeper: &DocumentStore, coordinator: &Coordinator, newest: u64) -> Result<(), ()> {
    loop {
        let have = keeper.trust().version();
        if newest <= have {
            return Ok(());
        }
        let envelopes = coordinator.trust_after(have).await.map_err(|status| {
            tracing::warn!(error = %status.message(), "failed to fetch trust documents");
        })?;
        if envelopes.is_empty() {
            return Ok(());
        }
        match keeper.take_trust(&envelopes).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = %report::chain(&error), "a trust document was not taken");
                return Ok(()); // asking again would bring the same; a new notice asks anew
            }
        }
    }
}
