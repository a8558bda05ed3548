//! Steps 10 and 11: which of the releases that a plan names may start here. A refusal concerns one slot; the rest
//! of the plan applies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_certs::trust::{Acceptance, TrustDocument};
use windlass_core::host::HostFacts;
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_core::plan::{HostPlan, Phase};
use windlass_core::policy;
use windlass_core::reconcile::{Desired, LocalHost, VerifiedRelease};
use windlass_core::verify::{self as rules, Standing};
use windlass_core::{Counter, Digest, ServiceId, SlotId, Timestamp};

use crate::policy::{Mounts, resolve};

/// Everything that decides whether a release may start on this host.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Who this host is.
    pub local: &'a Arc<LocalHost>,
    /// What it is.
    pub facts: &'a HostFacts,
    /// Which paths may be bound.
    pub mounts: &'a Mounts,
    /// The trust document in force.
    pub trust: &'a TrustDocument,
    /// Floors that good releases raised here.
    pub floors: &'a BTreeMap<ServiceId, Counter>,
    /// The time that counts.
    pub now: Timestamp,
}

/// Every release that a plan names, each once: targets, previous ones and fallbacks.
pub fn named(plan: &HostPlan) -> BTreeSet<Digest> {
    let mut digests = BTreeSet::new();
    for slot in &plan.slots {
        digests.insert(slot.release);
        digests.extend(slot.fallback);
        digests.extend(slot.previous.as_ref().map(|previous| previous.release));
    }
    digests
}

impl Context<'_> {
    /// Steps 1 to 8 again for a release that was accepted before (the trust document may have changed since).
    pub fn verify_kept(&self, digest: &Digest, envelope: &[u8]) -> Result<VerifiedRelease, Refusal> {
        let fleet = &self.local.fleet;
        super::release(envelope, digest, self.trust, fleet, Acceptance::Accepted, self.now)
    }

    /// Steps 1 to 8 for a release that this host has not seen before.
    pub fn verify_new(&self, digest: &Digest, envelope: &[u8]) -> Result<VerifiedRelease, Refusal> {
        super::release(envelope, digest, self.trust, &self.local.fleet, Acceptance::New, self.now)
    }

    /// Steps 10 and 11 for one release in one slot.
    fn may_start(&self, slot: &SlotId, release: &VerifiedRelease) -> Result<(), Refusal> {
        let service = release.release.service_id();
        let learned = self.floors.get(&service).copied().unwrap_or(Counter(0));
        let standing = Standing {
            floor: learned.max(self.trust.floor(&service)),
            revoked: self.trust.is_release_revoked(&release.digest),
        };
        rules::release_in_slot(slot, &release.release, standing, &self.local.host, self.facts)?;
        let violations = policy::check(&self.local.policy, self.facts, &release.release);
        if let Some(first) = violations.first() {
            return Err(Refusal { code: RefusalCode::Policy, detail: first.to_string() });
        }
        for (name, volume) in &release.release.spec.volumes {
            let Some(path) = &volume.host_path else { continue };
            resolve(self.mounts, path).map_err(|why| Refusal {
                code: RefusalCode::Policy,
                detail: format!("mounts: volume `{name}`: {why}"),
            })?;
        }
        Ok(())
    }
}

/// What the reconciler is to work towards: the plan, the releases of it that may start, and a refusal for each slot
/// whose own release may not. `found` has an answer of steps 1 to 8 for every release that the plan names.
pub fn desired(
    context: &Context<'_>,
    plan: Arc<HostPlan>,
    found: &BTreeMap<Digest, Result<Arc<VerifiedRelease>, Refusal>>,
) -> Desired {
    let mut releases = BTreeMap::new();
    let mut refusals = BTreeMap::new();
    for slot in &plan.slots {
        let previous = slot.previous.as_ref().map(|previous| previous.release);
        for digest in [Some(slot.release), slot.fallback, previous].into_iter().flatten() {
            let judged = match found.get(&digest) {
                Some(Ok(release)) => context.may_start(&slot.slot, release).map(|()| release.clone()),
                Some(Err(refusal)) => Err(unsigned(refusal)),
                None => Err(Refusal {
                    code: RefusalCode::UnsignedRelease,
                    detail: format!("the release {digest} is not here"),
                }),
            };
            match judged {
                Ok(release) => {
                    releases.insert(digest, release);
                }
                Err(refusal) if digest == slot.release && slot.phase != Phase::Absent => {
                    refusals.insert(slot.slot.clone(), refusal);
                }
                // A fallback that may not run is none; what runs already is never stopped for it.
                Err(_) => {}
            }
        }
    }
    Desired { local: context.local.clone(), plan: Some(plan), releases, plan_refusal: None, refusals }
}

/// Step 10 says that steps 1 to 8 hold; which of them does not stands in the detail.
fn unsigned(refusal: &Refusal) -> Refusal {
    match refusal.code {
        RefusalCode::UnsignedRelease => refusal.clone(),
        _ => Refusal { code: RefusalCode::UnsignedRelease, detail: refusal.to_string() },
    }
}
