//! Pending: gives every slot its part in the rollout. Nothing is started yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::fleet::Member;
use crate::id::{HostId, SlotId};
use crate::placement::{self, Candidates, Unfit};
use crate::plan::{Order, Phase};
use crate::release::{Release, Scale};
use crate::service::ReleaseRef;
use crate::slot::{Certainty, Transition, Waiting};
use crate::traffic::{Split, Weight};

use super::decision::Chosen;
use super::draft::{Draft, NewSlot};
use super::ending;
use super::model::{GoingBack, Kind, Reason, State};
use super::places::why_nowhere;
use super::returning;

/// Pending: gives every slot its part in the rollout. Nothing is started yet.
pub(crate) fn place(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else {
        return ending::go_back(draft, GoingBack::Untouched, Reason::NoPlace("its release is gone".into()));
    };
    if !returning::gather(draft) {
        return;
    }
    if draft.rollout().is_restart() && !draft.slots.is_empty() && all_run(draft, &to.digest) {
        // Every slot stays where it is.
        return draft.go(State::Preparing);
    }
    let hosts = match release.spec.scale {
        Scale::PerHost => place_per_host(draft, to, release),
        Scale::Replicas { min, max } => place_replicas(draft, to, release, min, max),
    };
    match hosts {
        _ if draft.is_full() || draft.drains() => {}
        Err(Nowhere::Yet) => draft.wake_soon(),
        Err(Nowhere::At(why)) => ending::go_back(draft, GoingBack::Untouched, Reason::NoPlace(why)),
        Ok(()) => {
            draft.service.split = split(draft, to, release);
            draft.go(State::Preparing);
        }
    }
}

/// The shares at the beginning of a rollout whose release stands beside the old one: that one has every request.
fn split(draft: &mut Draft<'_>, to: ReleaseRef, release: &Release) -> Option<Split> {
    let from = draft.rollout().from.filter(|from| from.digest != to.digest)?;
    let salt = draft.rollout().id.to_string();
    let serves = draft.slots.values().any(|slot| slot.names(&from.digest));
    (release.spec.runs_beside() && serves).then_some(Split {
        new: to.digest,
        weight: Weight::NONE,
        old: from.digest,
        salt,
        matches: Vec::new(),
    })
}

/// Whether both instances fit in each of `slots`, where the strategy never stops the old one first.
fn fit_beside(draft: &Draft<'_>, slots: &[SlotId], release: &Release, to: &Digest) -> Result<(), Nowhere> {
    // A rollback is never refused for want of room.
    let is_deploy = draft.rollout.as_ref().is_some_and(|rollout| rollout.kind == Kind::Deploy);
    if !is_deploy
        || !release.spec.runs_beside()
        || slots.iter().any(|slot| &draft.slots[slot].release() == to)
    {
        return Ok(());
    }
    let mut all = draft.taken();
    let mut refused = Vec::new();
    for slot in slots {
        let at = &draft.slots[slot];
        let member = draft.member_of(slot);
        let Some(taken) = all.get_mut(at.host()).filter(|_| at.run().runs()) else { continue };
        let held = at.target().gpus.as_slice();
        let devices =
            |member: &Member| placement::devices(&release.spec, &member.facts, (taken, taken), held).ok();
        let gpus = member.and_then(devices).unwrap_or_else(|| held.to_vec());
        match placement::start_first(&release.spec, member, taken, &gpus) {
            Ok(()) => taken.add_instance(&release.spec, &gpus),
            Err(why) => refused.push(format!("{} cannot hold both releases of {slot}: {why}", at.host())),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Nowhere::At(refused.join("; "))) }
}

fn all_run(draft: &Draft<'_>, release: &Digest) -> bool {
    draft.slots.values().all(|slot| &slot.release() == release && slot.run() == Phase::Running)
}

/// There is no place for a slot.
enum Nowhere {
    /// Some hosts have not been heard of yet, or not for a moment.
    Yet,
    /// Every host says no; why.
    At(String),
}

impl Nowhere {
    fn because(
        draft: &mut Draft<'_>,
        candidates: &Candidates<'_>,
        refused: &BTreeMap<HostId, Unfit>,
    ) -> Self {
        if !candidates.are_undecided() {
            return Self::At(why_nowhere(refused));
        }
        for (host, why) in refused {
            if let Unfit::NotConnected(liveness) = why {
                draft.wait(Waiting::Host { host: host.clone(), liveness: *liveness });
            }
        }
        Self::Yet
    }
}

fn place_replicas(
    draft: &mut Draft<'_>,
    to: ReleaseRef,
    release: &Release,
    min: u32,
    max: u32,
) -> Result<(), Nowhere> {
    let count = draft.service.replicas.clamp(min, max);
    draft.service.replicas = count;
    let mut keep: Vec<SlotId> =
        draft.slots.keys().filter(|slot| draft.fits(slot, release)).cloned().collect();
    // Those that were placed by an earlier step come first, then those that serve, then the oldest. What is
    // lost comes last: it may have a replacement.
    keep.sort_by_cached_key(|slot| {
        let placed = draft.slots[slot].release() == to.digest;
        let facts = draft.facts(slot);
        (!placed, facts.is_lost(), !facts.serves_now(), slot.index)
    });
    keep.truncate(count as usize);
    fit_beside(draft, &keep, release, &to.digest)?;
    for slot in &keep {
        if draft.is_full() {
            return Ok(());
        }
        prepare(draft, slot, to, release);
    }
    let missing = (count as usize).saturating_sub(keep.len());
    if missing == 0 || draft.is_full() {
        return Ok(());
    }
    let candidates = Candidates::of(draft.snapshot.fleet, release);
    let taken = draft.taken();
    draft.refusals(candidates.refusals(&taken));
    let mut filling = candidates.fill(&taken, &draft.own());
    for _ in 0..missing {
        if draft.is_full() {
            return Ok(());
        }
        let place = filling.next_place().map_err(|refused| Nowhere::because(draft, &candidates, &refused))?;
        let because = Chosen::Best { own: place.own, memory_reserved: place.memory_reserved };
        let good = draft.rollout().is_to_good();
        draft.add_slot(pulled(place.host, to, good, place.gpus), Some(because));
    }
    Ok(())
}

fn place_per_host(draft: &mut Draft<'_>, to: ReleaseRef, release: &Release) -> Result<(), Nowhere> {
    let mut existing: Vec<SlotId> =
        draft.slots.keys().filter(|slot| draft.fits(slot, release)).cloned().collect();
    existing.sort_by_cached_key(|slot| {
        let placed = draft.slots[slot].release() == to.digest;
        (!placed, !draft.facts(slot).serves_now(), slot.index)
    });
    fit_beside(draft, &existing, release, &to.digest)?;
    let mut has: BTreeSet<HostId> = BTreeSet::new();
    for slot in &existing {
        if draft.is_full() {
            return Ok(());
        }
        // A service that had several on a host keeps one there.
        if has.insert(draft.host(slot)) {
            prepare(draft, slot, to, release);
        }
    }
    // Of most hosts that get one, this service has taken nothing yet.
    let elsewhere = draft.slots.values().any(|slot| !has.contains(slot.host()));
    let taken = if elsewhere { draft.taken() } else { BTreeMap::new() };
    let mut refused = BTreeMap::new();
    for (host, member) in draft.snapshot.fleet.all().iter().filter(|(host, _)| !has.contains(*host)) {
        if draft.is_full() && !draft.wants_refusals() {
            return Ok(());
        }
        match placement::accepts(host, member, release, taken.get(host).unwrap_or(&member.taken)) {
            Ok(gpus) => {
                let good = draft.rollout().is_to_good();
                draft.add_slot(pulled(host.clone(), to, good, gpus), Some(Chosen::PerHost));
            }
            Err(unfit) => {
                refused.insert(host.clone(), unfit);
            }
        }
    }
    draft.refusals(refused.iter());
    if draft.slots.values().any(|slot| slot.release() == to.digest) {
        return Ok(());
    }
    let candidates = Candidates::of(draft.snapshot.fleet, release);
    Err(Nowhere::because(draft, &candidates, &refused))
}

/// A slot of the new release whose image is pulled.
const fn pulled(host: HostId, to: ReleaseRef, good: bool, gpus: Vec<String>) -> NewSlot {
    NewSlot { host, release: to.digest, runs: false, good, gpus, stands_in_for: None }
}

/// Writes the slot's part: the image of the new release, and beside it whatever serves now.
fn prepare(draft: &mut Draft<'_>, slot: &SlotId, to: ReleaseRef, release: &Release) {
    if draft.slots[slot].release() == to.digest && draft.slots[slot].run() == Phase::Pulled {
        return;
    }
    let facts = draft.facts(slot);
    let gpus = draft.devices_for(slot, &release.spec);
    let rollout = draft.rollout();
    let good = rollout.is_to_good();
    let prepare = Transition::Prepare {
        release: to.digest,
        incumbent: facts.incumbent(),
        good,
        fallback: rollout.from.map(|from| from.digest).filter(|_| !good),
        retry: rollout.retry_quarantined,
        gpus,
        // What was stopped for another release before is remembered as long as nothing serves there.
        stopped: facts.intent.order == Order::StopFirst && facts.serving() != Certainty::Yes,
    };
    draft.apply(slot, &prepare);
}
