//! A coordinator without sockets: everything that decides, stores and signs, and none of the tasks that wait.
//!
//! ```text
//!   whoever drives it ── join, connect, observed, submit, steer … ──▶ the same functions that the handlers call
//!                     ── tick, turn ────────────────────────────────▶ the engine's own look at what is due
//!                     ◀─ say: the newest signed plan of a host ──────  plans
//! ```
//!
//! It lives in the time of the clock it is given, and does nothing unless it is asked to: whoever drives it decides
//! which message comes when, and which write its store does not survive. The simulation is made of it.

mod recovery;
mod session;
mod traffic;
mod view;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_certs::ca::CertificateAuthority;
use windlass_certs::csr::Csr;
use windlass_certs::dsse::Envelope;
use windlass_certs::keys::{PublicKey, SigningKey};
use windlass_certs::revocation::Revocations;
use windlass_certs::trust::TrustStore;
use windlass_core::rollout::{RolloutCommand, ServiceCommand};
use windlass_core::{Counter, HostId, RolloutId, ServiceId, Timestamp};

use crate::audit;
use crate::authority::Authority;
use crate::clock::Clock;
use crate::config::{Lifetimes, LivenessRules};
use crate::coordinator::{Coordinator, Parts};
use crate::engine::Engine;
use crate::enrolment::{EnrolError, Join};
use crate::hosts;
use crate::ledger::{LoadError, WriteError};
use crate::recorder;
use crate::releases::{self, ReleaseError, Rollback, Submission};
use crate::rollouts;
use crate::services;
use crate::store::{Store, StoreError};
use crate::trust;

pub use crate::hosts::HostAction;
pub use session::{Hello, Said, Session};
pub use view::View;

/// The coordinator's own keys, in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct Keys(Authority);

impl Keys {
    /// From a CA, the key that signs plans and the key that signs the audit log.
    pub fn new(ca: CertificateAuthority, dispatch: SigningKey, audit: SigningKey) -> Self {
        Self(Authority::new(ca, dispatch, audit, Lifetimes::default()))
    }
}

/// A coordinator without sockets.
pub struct Embedded {
    coordinator: Arc<Coordinator>,
    engine: Engine,
    /// The writer. It ends when the store fails, and the coordinator with it.
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

/// The reason for which something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbeddedError {
    /// The store has failed. What is stored is there; this coordinator is not.
    #[error("the coordinator has stopped")]
    Stopped,
    /// It was refused, as the user would read it.
    #[error("{0}")]
    Refused(String),
}

impl From<WriteError> for EmbeddedError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopping => Self::Stopped,
            WriteError::TooLarge => Self::Refused(error.to_string()),
        }
    }
}

impl Embedded {
    /// Opens the store as a coordinator does that starts, and looks at every service when it is first asked.
    ///
    /// # Errors
    /// The content of the store cannot be used.
    pub async fn open(
        store: Arc<dyn Store>,
        trust: TrustStore,
        keys: &Keys,
        liveness: LivenessRules,
        clock: Clock,
    ) -> Result<Self, LoadError> {
        let stop = CancellationToken::new();
        let parts = Parts {
            trust,
            authority: keys.0.clone(),
            revocations: Revocations::new(),
            liveness,
            clock,
            gates: crate::gates::Networks::default(),
            stopping: stop.clone(),
        };
        let (coordinator, writer) = Coordinator::open(store, parts).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run(stop.clone()));
        let mut engine = Engine::new(coordinator.clone());
        engine.everything();
        Ok(Self { coordinator, engine, tasks, stop })
    }

    /// Stops the writer in order, so that the store can be opened again.
    pub async fn close(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Whether the coordinator's store has failed.
    pub fn is_dead(&self) -> bool {
        self.tasks.is_empty() || self.coordinator.ledger.is_closed()
    }

    /// Makes a token for `host` and trades it for membership, as `windlass host token` and `windlass-agent join` do.
    /// Answers with the certificate chain.
    ///
    /// # Errors
    /// The host may not join, or the store failed.
    pub async fn join(
        &self,
        host: &HostId,
        labels: BTreeMap<String, String>,
        csr: Csr,
        receipt_key: PublicKey,
        address: &str,
    ) -> Result<String, EmbeddedError> {
        let enrolment = &self.coordinator.enrolment;
        let actor = "operator/sim".to_owned();
        let (token, _) = enrolment.token(host.clone(), labels, actor).await.map_err(of_enrolment)?;
        let join = Join {
            host: host.clone(),
            secret: token.secret().clone(),
            csr: Arc::new(csr),
            address: address.to_owned(),
            receipt_key,
        };
        let joined = enrolment.join(join, IpAddr::V4(Ipv4Addr::LOCALHOST)).await.map_err(of_enrolment)?;
        Ok(joined.chain)
    }

    /// Takes a signed release and starts its rollout. `None`: there was nothing to do.
    ///
    /// # Errors
    /// It was refused, or the store failed.
    pub async fn submit(
        &self,
        envelope: Envelope,
        supersede: bool,
        retry_quarantined: bool,
    ) -> Result<Option<RolloutId>, EmbeddedError> {
        let actor = "operator/sim".to_owned();
        let submission = Submission { envelope, supersede, retry_quarantined, preview: None, actor };
        let started = releases::submit(&self.coordinator, submission).await;
        started.map(|started| started.rollout).map_err(of_release)
    }

    /// Starts a rollout to an older good release.
    ///
    /// # Errors
    /// It was refused, or the store failed.
    pub async fn rollback(
        &self,
        service: &ServiceId,
        to: Option<Counter>,
    ) -> Result<Option<RolloutId>, EmbeddedError> {
        let rollback =
            Rollback { service: service.clone(), to, ask: false, actor: "operator/sim".to_owned() };
        let started = releases::rollback(&self.coordinator, rollback).await;
        started.map(|started| started.rollout).map_err(of_release)
    }

    /// Pauses, resumes or aborts a rollout.
    ///
    /// # Errors
    /// Its state does not allow it, or the store failed.
    pub async fn steer(&self, rollout: &RolloutId, steering: RolloutCommand) -> Result<(), EmbeddedError> {
        let steered = rollouts::steer(
            &self.coordinator,
            rollout.clone(),
            steering,
            None,
            true,
            "operator/sim".to_owned(),
        );
        steered.await.map_err(|error| match error {
            rollouts::RolloutError::Write(error) => error.into(),
            error => refused(error),
        })
    }

    /// Scales, stops or removes a service.
    ///
    /// # Errors
    /// Its state does not allow it, or the store failed.
    pub async fn command(
        &self,
        service: &ServiceId,
        verb: ServiceCommand,
        supersede: bool,
    ) -> Result<(), EmbeddedError> {
        let actor = "operator/sim".to_owned();
        let how = services::How { supersede, force: true };
        let told = services::command(&self.coordinator, service.clone(), verb, how, actor).await;
        told.map(drop).map_err(of_service)
    }

    /// Starts a rollout to new instances of the release that a service is at.
    ///
    /// # Errors
    /// Its state does not allow it, or the store failed.
    pub async fn restart(&self, service: &ServiceId) -> Result<(), EmbeddedError> {
        let started = services::restart(&self.coordinator, service.clone(), "operator/sim".to_owned()).await;
        started.map(drop).map_err(of_service)
    }

    /// Does with a host what a person asks for.
    ///
    /// # Errors
    /// It was refused, or the store failed.
    pub async fn steer_host(&self, host: &HostId, action: HostAction) -> Result<(), EmbeddedError> {
        let steered = hosts::steer(&self.coordinator, host.clone(), action, "operator/sim".to_owned());
        steered.await.map_err(|error| match error {
            hosts::HostError::Write(error) => error.into(),
            error => refused(error),
        })
    }

    /// Publishes the next version of the trust document.
    ///
    /// # Errors
    /// It does not follow the one in force, or the store failed.
    pub async fn publish_trust(&self, envelope: Vec<u8>) -> Result<u64, EmbeddedError> {
        let published = trust::publish(&self.coordinator, envelope, "operator/sim".to_owned());
        published.await.map_err(|error| match error {
            trust::PublishError::Write(error) => error.into(),
            error @ trust::PublishError::Trust(_) => refused(error),
        })
    }

    /// The engine's work of every second: hosts that came or went, plans that are old.
    ///
    /// # Errors
    /// The store failed.
    pub async fn tick(&mut self) -> Result<(), EmbeddedError> {
        self.engine.tick().await.map_err(|_| EmbeddedError::Stopped)?;
        if self.is_dead() { Err(EmbeddedError::Stopped) } else { Ok(()) }
    }

    /// Looks at every service that is due, once each, and makes the traffic tables that are due. Answers whether it did anything that is looked at again.
    ///
    /// # Errors
    /// The store failed.
    pub async fn turn(&mut self) -> Result<bool, EmbeddedError> {
        self.engine.catch_up();
        self.engine.work(&self.stop).await?;
        self.engine.settle_tables().await?;
        self.engine.catch_up();
        Ok(!self.engine.is_idle())
    }

    /// When the engine has to look although nothing happens.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.engine.due_at()
    }

    /// Copies newest observations into the store, as the recorder does twice a second.
    ///
    /// # Errors
    /// The store failed.
    pub async fn record(&self) -> Result<(), EmbeddedError> {
        Ok(recorder::copy(&self.coordinator.ledger, &self.coordinator.registry).await?)
    }

    /// Signs a checkpoint of the audit log, as is done every minute.
    ///
    /// # Errors
    /// The store failed.
    pub async fn anchor(&self) -> Result<(), EmbeddedError> {
        Ok(audit::anchor(&self.coordinator.ledger, &self.coordinator.authority).await?)
    }

    /// Every entry of the audit log, and every checkpoint's envelope.
    ///
    /// # Errors
    /// The store failed.
    pub async fn audit_log(&self) -> Result<(Vec<Vec<u8>>, Vec<Vec<u8>>), StoreError> {
        let ledger = &self.coordinator.ledger;
        let size = ledger.read(|state| state.head.size);
        let mut entries = Vec::new();
        for page in 0..size.div_ceil(crate::ledger::AUDIT_PAGE) {
            entries.extend(ledger.audit_page(page).await?.into_iter().map(|(_, bytes)| bytes));
        }
        Ok((entries, ledger.checkpoints(size).await?))
    }

    /// Looks at what is stored and known.
    pub fn look<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        self.coordinator.ledger.read(|state| look(View::new(state, &self.coordinator.registry)))
    }
}

fn refused(error: impl std::error::Error) -> EmbeddedError {
    EmbeddedError::Refused(error.to_string())
}

fn of_service(error: services::ServiceError) -> EmbeddedError {
    match error {
        services::ServiceError::Write(error) => error.into(),
        error => refused(error),
    }
}

fn of_enrolment(error: EnrolError) -> EmbeddedError {
    match error {
        EnrolError::Write(error) => error.into(),
        error => refused(error),
    }
}

fn of_release(error: ReleaseError) -> EmbeddedError {
    match error {
        ReleaseError::Write(error) => error.into(),
        error => refused(error),
    }
}
