//! Steps 10 and 11: which of the releases that a plan names may start here. A refusal concerns one slot; the rest
//! of the plan applies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_certs::trust::{Acceptance, TrustDocument};
use windlass_core::host::HostFacts;
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_core::plan::{HostPlan, Phase, PlanSlot};
use windlass_core::policy;
use windlass_core::reconcile::{Desired, LocalHost, SlotMemory, VerifiedRelease};
use windlass_core::verify::{self as rules, ReleaseValidity};
use windlass_core::{Counter, Digest, ServiceId, SlotId, Timestamp};

use crate::policy::{Mounts, resolve};

/// Everything that decides whether a release may start on this host.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// This host.
    pub local: &'a Arc<LocalHost>,
    /// Facts about the host.
    pub facts: &'a HostFacts,
    /// Which paths may be bound.
    pub mounts: &'a Mounts,
    /// The trust document in force.
    pub trust: &'a TrustDocument,
    /// Floors that good releases raised here.
    pub floors: &'a BTreeMap<ServiceId, Counter>,
    /// The containers made here, by slot.
    pub made: &'a BTreeMap<SlotId, SlotMemory>,
    /// The time that counts.
    pub now: Timestamp,
}

/// When the folders that a release binds are looked at; their paths are compared in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folders {
    /// Now.
    Now,
    /// Only before it starts.
    Later,
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

/// Floors of the releases that the plan says are good: accepting it raises the host's to them.
pub fn raised_floors(
    plan: &HostPlan,
    found: &BTreeMap<Digest, Result<Arc<VerifiedRelease>, Refusal>>,
) -> BTreeMap<ServiceId, Counter> {
    let mut floors = BTreeMap::new();
    for slot in plan.slots.iter().filter(|slot| slot.good) {
        let Some(Ok(release)) = found.get(&slot.release) else { continue };
        let Some(floor) = release.release.spec.floor else { continue };
        let service = release.release.service_id();
        if service != slot.slot.service {
            continue;
        }
        let raised = floors.entry(service).or_insert(floor);
        *raised = floor.max(*raised);
    }
    floors
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

    /// Whether the folders of a release are looked at now: unless an instance of it was made in the slot before.
    fn folders(&self, slot: &SlotId, release: &VerifiedRelease) -> Folders {
        let counter = release.release.counter.to_string();
        let made = self.made.get(slot).is_some_and(|known| {
            // `production.web.0.r7.3`
            known.instances.keys().any(|name| name.rsplit('.').nth(1) == Some(counter.as_str()))
        });
        if made { Folders::Later } else { Folders::Now }
    }

    /// Steps 10 and 11 for one release in one slot. The folders of the host are looked at so that a release is refused
    /// before anything is touched. Once an instance of it was made here, that is left to its starts, see [`crate::guard`]:
    /// a folder that is put right then counts at once.
    fn may_start(&self, slot: &SlotId, release: &VerifiedRelease) -> Result<(), Refusal> {
        let service = release.release.service_id();
        let learned = self.floors.get(&service).copied().unwrap_or(Counter(0));
        let standing = ReleaseValidity {
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
            let judged = match self.folders(slot, release) {
                Folders::Now => resolve(self.mounts, path).map(drop),
                Folders::Later => policy::check_mount(&self.mounts.allowed, path, &self.mounts.own),
            };
            judged.map_err(|why| Refusal {
                code: RefusalCode::Policy,
                detail: format!("mounts: volume `{name}`: {why}"),
            })?;
        }
        Ok(())
    }
}

/// The goal of the reconciler: the plan, the releases of it that may start, and a refusal for each slot whose own release may not.
/// `found` has an answer of steps 1 to 8 for every release that the plan names.
pub fn desired(
    context: &Context<'_>,
    plan: Arc<HostPlan>,
    found: &BTreeMap<Digest, Result<Arc<VerifiedRelease>, Refusal>>,
) -> Desired {
    let mut releases = BTreeMap::new();
    let mut refusals = BTreeMap::new();
    let mut plan = Arc::unwrap_or_clone(plan);
    let verified = |digest: &Digest| Some(&found.get(digest)?.as_ref().ok()?.release);
    let made = |slot: &SlotId| context.made.get(slot).is_some_and(|known| !known.instances.is_empty());
    refusals.extend(rules::beyond_delegation(&plan.slots, verified, made));
    let mut devices = BTreeSet::new();
    for slot in &mut plan.slots {
        if let Some(refusal) = narrow(slot, (context.local.policy.gpus, &mut devices), found)
            && slot.phase != Phase::Absent
        {
            refusals.insert(slot.slot.clone(), refusal);
        }
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
    let plan = Some(Arc::new(plan));
    Desired { local: context.local.clone(), plan, releases, plan_refusal: None, refusals }
}

/// Takes out of a slot what no honest coordinator writes, and says why the slot is refused.
///
/// Releases are found by their digest, whichever slot named them. So a release that may start in its own slot could
/// come into another service's as its fallback or previous one, and have that service's volumes and ports there. The
/// policy's number of GPUs is one for all slots together: `devices` are those of the slots before.
fn narrow(
    slot: &mut PlanSlot,
    (most_gpus, devices): (Option<u32>, &mut BTreeSet<String>),
    found: &BTreeMap<Digest, Result<Arc<VerifiedRelease>, Refusal>>,
) -> Option<Refusal> {
    let mut refused = None;
    let service = slot.slot.service.clone();
    let foreign = |digest: &Digest| {
        let release = found.get(digest)?.as_ref().ok()?.release.service_id();
        (release != service).then_some(release)
    };
    let fallback = slot.fallback.as_ref().and_then(&foreign);
    let previous = slot.previous.as_ref().and_then(|previous| foreign(&previous.release));
    if fallback.is_some() {
        slot.fallback = None;
    }
    if previous.is_some() {
        slot.previous = None;
    }
    if let Some(other) = fallback.or(previous) {
        let detail = format!("slot `{}` names a release of `{other}` beside its own", slot.slot);
        refused = Some(Refusal { code: RefusalCode::UnsignedRelease, detail });
    }
    let most = most_gpus.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let asked = slot.gpus.len();
    slot.gpus.retain(|uuid| {
        let is_given = devices.contains(uuid) || devices.len() < most;
        if is_given {
            devices.insert(uuid.clone());
        }
        is_given
    });
    if slot.gpus.len() < asked {
        let detail =
            format!("gpus: the plan gives more GPUs than the {most} that releases may have here together");
        refused = Some(Refusal { code: RefusalCode::Policy, detail });
    }
    refused
}

/// Step 10 says that steps 1 to 8 hold; which of them does not stands in the detail.
fn unsigned(refusal: &Refusal) -> Refusal {
    match refusal.code {
        RefusalCode::UnsignedRelease => refusal.clone(),
        _ => Refusal { code: RefusalCode::UnsignedRelease, detail: refusal.to_string() },
    }
}
