//! A host's stream, without the stream: what a session does with what an agent says.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc, watch};
use tonic::{Code, Status};
use windlass_certs::identity::PeerIdentity;
use windlass_core::host::HostFacts;
use windlass_core::{Digest, EnvironmentId, HostId};
use windlass_proto::pb::RoutesPosition;

use super::{Embedded, EmbeddedError};
use crate::plans;
use crate::recovery;
use crate::registry::Place;
use crate::routes;
use crate::session;

/// The first message of an agent.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Facts about the host.
    pub facts: HostFacts,
    /// The version of the trust document that it has.
    pub trust: u64,
    /// The number of the newest plan it took.
    pub seq: u64,
    /// The envelope of that plan.
    pub plan: Vec<u8>,
    /// The traffic tables that it has.
    pub routes: Vec<RoutesPosition>,
}

/// A host's place among the connected. Dropping it is the end of its stream.
#[derive(Debug)]
pub struct Session {
    pub(super) host: HostId,
    place: Place,
    /// Wakes when there is another plan, as that of a real session does.
    plan: Arc<Notify>,
    everyone: watch::Receiver<u64>,
    fresh: bool,
    /// Whether the host is to be asked which releases it keeps.
    asks: bool,
    sent: u64,
    sent_checkpoint: u64,
    sent_routes: BTreeMap<EnvironmentId, Digest>,
}

/// The messages of a session, beside acknowledgements.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The newest plan and its number.
    pub plan: Option<(u64, Bytes)>,
    /// The version of the trust document in force.
    pub trust: Option<u64>,
    /// The newest checkpoint of the audit log.
    pub checkpoint: Option<Vec<u8>>,
    /// It is asked which releases it keeps.
    pub kept: bool,
    /// Traffic tables that are newer than what was said, as they were signed.
    pub routes: Vec<Bytes>,
}

impl Session {
    /// Whether the host has connected again.
    pub fn is_replaced(&self) -> bool {
        self.place.replaced.is_cancelled()
    }
}

impl Embedded {
    /// A host connects: it is let in, and what it holds is compared with what is stored.
    ///
    /// # Errors
    /// It is no member, or the store failed.
    pub async fn connect(
        &self,
        host: &HostId,
        peer: &PeerIdentity,
        hello: Hello,
    ) -> Result<Session, EmbeddedError> {
        let coordinator = &self.coordinator;
        session::admit(coordinator, host, peer, hello.facts).await.map_err(of_status)?;
        // Nobody reads logs here.
        let (logs, _) = mpsc::channel(1);
        let place = coordinator.registry.connect(host, logs, coordinator.ledger.now());
        let signals = coordinator.ledger.signals();
        let (plan, everyone) = (signals.plan_of(host), signals.everyone());
        let mut session = Session {
            host: host.clone(),
            place,
            plan,
            everyone,
            fresh: true,
            asks: false,
            sent: 0,
            sent_checkpoint: 0,
            sent_routes: BTreeMap::new(),
        };
        session::await_decision(coordinator).await.map_err(|error| of_status(error.into()))?;
        let holds = recovery::Hello { seq: hello.seq, plan: &hello.plan, trust: hello.trust };
        session.asks =
            recovery::compare(coordinator, host, holds).await.map_err(|error| of_status(error.into()))?;
        routes::raise(coordinator, host, hello.routes).await.map_err(of_status)?;
        coordinator.host_changed(host);
        Ok(session)
    }

    /// A heartbeat. Answers with the number of the host's newest plan, to be said in its acknowledgement.
    ///
    /// # Errors
    /// The store failed.
    pub async fn heard(&self, session: &Session) -> Result<u64, EmbeddedError> {
        session::heard(&self.coordinator, &session.host, None).await.map_err(of_status)
    }

    /// Takes an observation of a host, as it travels. Answers with the revision to acknowledge.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn observed(&self, session: &Session, observation: &[u8]) -> Result<u64, EmbeddedError> {
        session::observed(&self.coordinator, &session.host, observation).map_err(of_status)
    }

    /// The messages of the session now: at its beginning, and whenever something woke it.
    pub fn say(&self, session: &mut Session) -> Said {
        let mut said = Said::default();
        let fresh = std::mem::take(&mut session.fresh);
        said.kept = std::mem::take(&mut session.asks);
        // Before a first offer, the fleet may go on now.
        let may_go_on = session.sent == 0 && session.everyone.has_changed().unwrap_or(false);
        if session.plan.notified().now_or_never().is_some() || fresh || may_go_on {
            said.plan = session::newest_plan(&self.coordinator, &session.host, session.sent);
            session.sent = said.plan.as_ref().map_or(session.sent, |(seq, _)| *seq);
        }
        if session.everyone.has_changed().unwrap_or(false) || fresh {
            session.everyone.mark_unchanged();
            let (version, checkpoint) =
                self.coordinator.ledger.read(|state| (state.trust.version(), state.checkpoint.clone()));
            said.trust = Some(version);
            said.routes = session::newer_routes(&self.coordinator, &session.host, &mut session.sent_routes);
            if let Some((size, envelope)) = checkpoint.filter(|(size, _)| *size > session.sent_checkpoint) {
                session.sent_checkpoint = size;
                said.checkpoint = Some(envelope);
            }
        }
        said
    }

    /// The envelope of a release that the host's plan names.
    pub fn release_for(&self, host: &HostId, digest: &Digest) -> Option<Vec<u8>> {
        self.coordinator.ledger.read(|state| plans::release_for(state, host, digest))
    }

    /// The version of the trust document in force, and every one after `version`.
    pub fn trust_after(&self, version: u64) -> (u64, Vec<Vec<u8>>) {
        let skip = usize::try_from(version).unwrap_or(usize::MAX);
        self.coordinator
            .ledger
            .read(|state| (state.trust.version(), state.trust_chain.iter().skip(skip).cloned().collect()))
    }
}

pub(super) fn of_status(status: Status) -> EmbeddedError {
    match status.code() {
        Code::Unavailable | Code::Internal => EmbeddedError::Stopped,
        _ => EmbeddedError::Refused(status.message().to_owned()),
    }
}
