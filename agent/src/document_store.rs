//! Keeps what this host believes: the trust document, the newest plan, the releases it names. The only place that
//! accepts documents; it verifies, then journals, then publishes, in this order.
//!
//! ```text
//! link ── offer(plan) ──▶ steps 1–9 ──▶ fetch releases ──▶ steps 10–11 ──▶ journal ──▶ watch<Arc<Desired>>
//! link ── trust versions ──▶ chain ──▶ file, journal ──▶ steps 10–11 again ──▶ watch<Arc<Desired>>
//! link ── traffic tables ──▶ steps 1–9 ──▶ file ──▶ watch<Arc<Tables>>, for the ingress
//! ```
//!
//! A crash between two arrows loses nothing: the coordinator offers again, and what was journaled is read at the
//! next start. With a journal that cannot be read the keeper *adopts*: it publishes no plan, so that nothing starts
//! or stops, and refuses every offer until somebody has looked.

mod kept;
mod offer;
mod open;
mod revoke;
mod routes;
mod take;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use windlass_certs::revocation::Revocations;
use windlass_certs::trust::TrustStore;
use windlass_core::host::HostFacts;
use windlass_core::observation::RefusalCode;
use windlass_core::reconcile::{Desired, LocalHost};
use windlass_core::verify::trusted_now;
use windlass_core::{Digest, Timestamp};

use crate::clock;
use crate::counters::Counters;
use crate::data::DataDir;
use crate::member::Member;
use crate::policy::Mounts;
use crate::state::{Journal, PlanMark, ReleaseStore, State};

pub use offer::{OfferError, Source};
pub use open::{OpenError, Opened};
pub use routes::Taken;
pub use take::TakeError;

/// The documents that this host accepts. Shared by the link and the facts task.
#[derive(Debug)]
pub struct DocumentStore {
    member: Member,
    local: Arc<LocalHost>,
    mounts: Mounts,
    data: DataDir,
    /// An error while adopting: why.
    journal: Result<Journal, String>,
    /// The same for observations.
    lost: watch::Sender<Option<String>>,
    releases: ReleaseStore,
    trust: Mutex<Arc<TrustStore>>,
    facts: watch::Receiver<Arc<HostFacts>>,
    desired: watch::Sender<Arc<Desired>>,
    trust_version: watch::Sender<u64>,
    counters: Counters,
    revocations: Revocations,
    /// Version of the revocation list in force.
    revoked: Mutex<u64>,
    routes: kept::Kept,
    /// One document at a time.
    accepting: tokio::sync::Mutex<()>,
}

impl DocumentStore {
    /// The newest time that counts.
    fn now(&self, state: &State) -> Timestamp {
        trusted_now(clock::now(), state.trusted_time)
    }

    fn state(&self) -> Arc<State> {
        self.journal.as_ref().map(Journal::state).unwrap_or_default()
    }

    /// The trust document in force.
    pub fn trust(&self) -> Arc<TrustStore> {
        self.trust_lock().clone()
    }

    fn trust_lock(&self) -> MutexGuard<'_, Arc<TrustStore>> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fleet and the host that this agent is a member of.
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// Which paths of this host may be bound.
    pub const fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    /// Refusals, counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The state that the reconciler works towards; the newest one wins.
    pub fn desired(&self) -> watch::Receiver<Arc<Desired>> {
        self.desired.subscribe()
    }

    /// Version of the trust document in force.
    pub fn trust_version(&self) -> watch::Receiver<u64> {
        self.trust_version.subscribe()
    }

    /// The plan in force: its number and envelope.
    pub fn plan(&self) -> Option<PlanMark> {
        self.state().plan.clone()
    }

    /// Every release that was verified here and is kept.
    pub fn kept_releases(&self) -> BTreeSet<Digest> {
        self.releases.list().unwrap_or_else(|error| {
            tracing::warn!(error = %windlass_process::report::chain(&error), "the kept releases cannot be listed");
            BTreeSet::new()
        })
    }

    /// The envelope of one of them.
    pub fn kept_release(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.releases.get(digest).unwrap_or_else(|error| {
            tracing::warn!(error = %windlass_process::report::chain(&error), "a kept release cannot be read");
            None
        })
    }

    /// The journal; `None` while adopting.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref().ok()
    }

    /// The reason for which nothing can be written down, if there is one.
    pub fn unwritable(&self) -> watch::Receiver<Option<String>> {
        self.journal.as_ref().map_or_else(|_| self.lost.subscribe(), Journal::trouble)
    }

    /// Whether the newest offer was refused for a reason that passes by itself: the clock here, or the signer's, is wrong.
    pub fn is_refused_for_now(&self) -> bool {
        let desired = self.desired.borrow();
        let code = desired.plan_refusal.as_ref().map(|refusal| refusal.code);
        matches!(code, Some(RefusalCode::NotYetValid | RefusalCode::Expired))
    }
}

#[cfg(test)]
mod tests;
