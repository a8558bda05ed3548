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

mod open;
mod revoke;
mod routes;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use windlass_certs::revocation::Revocations;
use windlass_certs::trust::{TrustDocument, TrustStore};
use windlass_core::host::HostFacts;
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_core::plan::HostPlan;
use windlass_core::reconcile::{Desired, LocalHost, VerifiedRelease};
use windlass_core::verify::{PlanOrder, trusted_now};
use windlass_core::{Digest, Timestamp};

use crate::clock;
use crate::counters::Counters;
use crate::data::{DataDir, aside, on_disk};
use crate::member::Member;
use crate::policy::Mounts;
use crate::state::{Journal, JournalError, PlanMark, ReleaseStore, ReleaseStoreError, State};
use crate::verify::{self, Context, Me};

pub use open::{OpenError, Opened};
pub use routes::Taken;
pub use take::TakeError;

/// Releases kept beyond those that the plan names: what went before, for rollbacks without a coordinator.
const HISTORY: usize = 64;

type Found = BTreeMap<Digest, Result<Arc<VerifiedRelease>, Refusal>>;

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
    routes: routes::Kept,
    /// One document at a time.
    accepting: tokio::sync::Mutex<()>,
}

/// A source of releases that are not here.
pub trait Source {
    /// The envelope of the release with this digest; `None` if the other side does not have it. An error means that it
    /// could not be asked.
    fn fetch(&self, digest: &Digest) -> impl Future<Output = anyhow::Result<Option<Vec<u8>>>> + Send;
}

/// The reason for which an offer was neither taken nor refused.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The releases it names could not be fetched; it is offered again.
    #[error("failed to fetch the release {digest}")]
    Fetch {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It could not be journaled, so it is not in force.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A release could not be kept.
    #[error(transparent)]
    Releases(#[from] ReleaseStoreError),
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

    /// Takes a plan, or refuses it, which is reported and changes nothing. An error means: offer it again.
    pub async fn offer(&self, envelope: &[u8], source: &impl Source) -> Result<(), OfferError> {
        let _one_at_a_time = self.accepting.lock().await;
        match self.accept(envelope, source).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => {
                self.counters.refused("plan", self.member.host.as_str(), &refusal);
                // All else stays as it was; the coordinator is told why.
                self.desired.send_if_modified(|desired| {
                    let is_new = desired.plan_refusal.as_ref() != Some(&refusal);
                    if is_new {
                        Arc::make_mut(desired).plan_refusal = Some(refusal);
                    }
                    is_new
                });
                Ok(())
            }
            Err(error) => {
                if let (Ok(journal), OfferError::Releases(ReleaseStoreError::Write(error))) =
                    (&self.journal, &error)
                {
                    journal.troubled(error);
                }
                Err(error)
            }
        }
    }

    async fn accept(&self, envelope: &[u8], source: &impl Source) -> Result<Result<(), Refusal>, OfferError> {
        let journal = match &self.journal {
            Ok(journal) => journal,
            Err(why) => {
                let detail = format!("{why}; this host adopts what runs and takes no plan");
                return Ok(Err(Refusal { code: RefusalCode::Stale, detail }));
            }
        };
        let state = journal.state();
        let trust = self.trust();
        let document = trust.document();
        let (offered, checked, now) = (envelope.to_vec(), trust.clone(), self.now(&state));
        let (last, member) = (state.committed(document.epoch), self.member.clone());
        let verified = aside(move || {
            let me = Me { fleet: &member.fleet, host: &member.host };
            verify::plan(&offered, checked.document(), me, last, now)
        });
        let verified = match verified.await {
            Ok(verified) => verified,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let found = self.gather(&verified.plan, document, &state, source).await?;
        if verified.order == PlanOrder::Newer {
            let mark = PlanMark {
                epoch: verified.plan.epoch,
                seq: verified.plan.seq,
                digest: verified.digest,
                envelope: String::from_utf8_lossy(envelope).into_owned(),
            };
            let raised = verify::raised_floors(&verified.plan, &found);
            // Never ahead of our own clock: else plans that are each a little early would push the time until every
            // honest one is late.
            let signed_at = verified.plan.issued_at.min(self.now(&state));
            journal
                .update(|state| {
                    state.plan = Some(mark);
                    state.witness(signed_at);
                    for (service, floor) in raised {
                        let known = state.floors.entry(service).or_insert(floor);
                        *known = floor.max(*known);
                    }
                })
                .await?;
            tracing::info!(seq = verified.plan.seq, digest = ?verified.digest, slots = verified.plan.slots.len(), "plan accepted");
        }
        self.publish(Arc::new(verified.plan), document, &found);
        self.collect().await;
        Ok(Ok(()))
    }

    /// Steps 1 to 8 for every release that a plan names: those kept here, and those that `source` has.
    async fn gather(
        &self,
        plan: &HostPlan,
        trust: &TrustDocument,
        state: &State,
        source: &impl Source,
    ) -> Result<Found, OfferError> {
        let mut found = Found::new();
        for digest in verify::named(plan) {
            // Asked anew for each, as facts may change while a fetch waits.
            let facts = self.facts.borrow().clone();
            let kept = self.releases.clone();
            let judged = match on_disk(move || kept.get(&digest)).await? {
                Some(kept) => self.context(trust, &facts, state).verify_kept(&digest, &kept),
                None => match self.fetch(&digest, source).await? {
                    Some(new) => {
                        let judged = self.context(trust, &facts, state).verify_new(&digest, &new);
                        if judged.is_ok() {
                            let releases = self.releases.clone();
                            on_disk(move || releases.put(&digest, &new)).await?;
                        }
                        judged
                    }
                    None => Err(missing(&digest)),
                },
            };
            if let Err(refusal) = &judged {
                self.counters.refused("release", &digest.to_string(), refusal);
            }
            found.insert(digest, judged.map(Arc::new));
        }
        Ok(found)
    }

    async fn fetch(&self, digest: &Digest, source: &impl Source) -> Result<Option<Vec<u8>>, OfferError> {
        source
            .fetch(digest)
            .await
            .map_err(|error| OfferError::Fetch { digest: *digest, source: error.into_boxed_dyn_error() })
    }

    fn context<'a>(
        &'a self,
        trust: &'a TrustDocument,
        facts: &'a HostFacts,
        state: &'a State,
    ) -> Context<'a> {
        Context {
            local: &self.local,
            facts,
            mounts: &self.mounts,
            trust,
            floors: &state.floors,
            made: &state.memory.slots,
            now: self.now(state),
        }
    }

    /// Steps 10 and 11, and the watch.
    fn publish(&self, plan: Arc<HostPlan>, trust: &TrustDocument, found: &Found) {
        let (state, facts) = (self.state(), self.facts.borrow().clone());
        let desired = verify::desired(&self.context(trust, &facts, &state), plan, found);
        let before = self.desired.borrow().refusals.clone();
        for (slot, refusal) in &desired.refusals {
            if before.get(slot) != Some(refusal) {
                self.counters.refused("slot", &slot.to_string(), refusal);
            }
        }
        self.desired.send_replace(Arc::new(desired));
    }

    /// Forgets releases that nothing names any more.
    async fn collect(&self) {
        let needed: BTreeSet<Digest> =
            self.desired.borrow().plan.as_ref().map(|plan| verify::named(plan)).unwrap_or_default();
        let releases = self.releases.clone();
        match on_disk(move || releases.collect(&needed, HISTORY)).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "forgot old releases"),
            Err(error) => {
                tracing::warn!(error = %windlass_process::report::chain(&error), "kept old releases")
            }
        }
    }
}

fn missing(digest: &Digest) -> Refusal {
    let detail = format!("{digest}: it is not on this host, and whoever could be asked does not have it");
    Refusal { code: RefusalCode::UnsignedRelease, detail }
}

#[cfg(test)]
mod tests;
