//! Plans: verified, with the releases that they name, then journaled, then shown to the reconciler.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use windlass_certs::trust::TrustDocument;
use windlass_core::Digest;
use windlass_core::host::HostFacts;
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_core::plan::HostPlan;
use windlass_core::reconcile::VerifiedRelease;
use windlass_core::verify::PlanOrder;

use super::DocumentStore;
use crate::data::{aside, on_disk};
use crate::state::{JournalError, PlanMark, ReleaseStoreError, State};
use crate::verify::{self, Context, Me};

/// Releases kept beyond those that the plan names: what went before, for rollbacks without a coordinator.
pub(super) const HISTORY: usize = 64;

type Found = BTreeMap<Digest, Result<Arc<VerifiedRelease>, Refusal>>;

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
    pub(super) async fn gather(
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

    pub(super) fn context<'a>(
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
    pub(super) fn publish(&self, plan: Arc<HostPlan>, trust: &TrustDocument, found: &Found) {
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
