//! Pending: gives every slot its part in the rollout. Nothing is started yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::placement::{self, Candidates, Place};
use crate::plan::{Order, Phase};
use crate::release::{Release, Scale};
use crate::service::ReleaseRef;
use crate::slot::{self, Certainty, Transition};
use crate::traffic::{Split, Weight};

use super::decision::{Chosen, Instead};
use super::draft::{Draft, NewSlot};
use super::elsewhere::{self, Full, Sides, stands_beside};
use super::ending;
use super::model::{GoingBack, Kind, Reason, State};
use super::returning;
use super::revert;

mod find;

use find::{New, Nowhere, find};

/// Pending: gives every slot its part in the rollout. Nothing is started yet.
pub(crate) fn place(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else {
        return ending::go_back(draft, GoingBack::Untouched, Reason::NoPlace("its release is gone".into()));
    };
    if let Some(why) = refusal(draft, to, release) {
        return ending::go_back(draft, GoingBack::Untouched, Reason::NoPlace(why));
    }
    if !returning::gather(draft) {
        return;
    }
    if draft.rollout().is_restart() && !draft.slots.is_empty() && all_run(draft, &to.digest) {
        // Every slot stays where it is.
        return draft.go(State::Preparing);
    }
    match find_all(draft, to, release) {
        _ if draft.is_full() || draft.drains() => {}
        Err(Nowhere::Yet) => draft.wake_soon(),
        Err(Nowhere::At(why)) => ending::go_back(draft, GoingBack::Untouched, Reason::NoPlace(why)),
        Ok(()) => {
            if !draft.rollout().is_restart() {
                draft.service.split = split(draft, to, release);
            }
            draft.go(State::Preparing);
        }
    }
}

fn find_all(draft: &mut Draft<'_>, to: ReleaseRef, release: &Release) -> Result<(), Nowhere> {
    match release.spec.scale {
        Scale::PerHost => place_per_host(draft, to, release),
        Scale::Replicas { min, max } => place_replicas(draft, to, release, min, max),
    }
}

/// Why a deploy finds no place even without the instances that end before it begins. It is refused before any of them has ended.
fn refusal(draft: &mut Draft<'_>, to: ReleaseRef, release: &Release) -> Option<String> {
    let is_deploy = draft.rollout().kind == Kind::Deploy && !draft.rollout().changed;
    let keep = returning::keeps(draft).filter(|_| is_deploy)?;
    let mut alone = Draft::new(&draft.snapshot);
    alone.service = draft.service.clone();
    alone.service.split = None;
    alone.rollout = draft.rollout.clone();
    alone.slots = draft.slots.clone();
    alone.slots.retain(|_, slot| slot.release() == keep);
    for slot in alone.slots.values_mut() {
        *slot = slot::apply(Some(slot), &Transition::Forget).ok()?;
    }
    match find_all(&mut alone, to, release) {
        Err(Nowhere::At(why)) => Some(why),
        Ok(()) | Err(Nowhere::Yet) => None,
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

fn all_run(draft: &Draft<'_>, release: &Digest) -> bool {
    let mut members = draft.slots.values().filter(|slot| !slot.is_kept());
    members.all(|slot| &slot.release() == release && slot.run() == Phase::Running)
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
    let count = count as usize;
    let keep = slots_to_keep(draft, to, release, count);
    if !stands_beside(draft, release) {
        prepare_all(draft, &keep, to, release);
        if draft.is_full() || keep.len() >= count {
            return Ok(());
        }
        let taken = draft.taken();
        let New { places, .. } = find(draft, release, &taken, count - keep.len(), Vec::new())?;
        add_all(draft, to, places);
        return Ok(());
    }
    drop_unused(draft, &keep, to);
    let Sides { mut beside, full, taken } = elsewhere::sides(draft, keep, to, release);
    let (elsewhere, stuck): (Vec<Full>, Vec<Full>) =
        full.into_iter().partition(|full| full.may_stand_elsewhere);
    beside.extend(in_batches(draft, stuck)?);
    // Before any slot gets its part, so that a refusal touches nothing.
    let new = find(draft, release, &taken, count - beside.len(), elsewhere)?;
    beside.extend(new.without_place);
    prepare_all(draft, &beside, to, release);
    add_all(draft, to, new.places);
    Ok(())
}

/// At most `count` slots that may stay on their hosts for the release. Those that were placed by an earlier step come first,
/// then those that serve, then the oldest. What is lost comes last: it may have a replacement.
fn slots_to_keep(draft: &Draft<'_>, to: ReleaseRef, release: &Release, count: usize) -> Vec<SlotId> {
    let is_placed = |slot: &SlotId| draft.slots[slot].release() == to.digest;
    let rolls_back = draft.rollout.as_ref().is_some_and(|rollout| rollout.kind == Kind::Rollback);
    // A warm one on a lost host is none.
    let is_gone = |slot: &&SlotId| {
        rolls_back && stands_beside(draft, release) && is_placed(slot) && draft.facts(slot).is_lost()
    };
    let fitting =
        draft.slots.keys().filter(|slot| draft.fits(slot, release)).filter(|slot| !is_gone(slot)).cloned();
    let mut keep: Vec<SlotId> = fitting.collect();
    keep.sort_by_cached_key(|slot| {
        let (facts, kept) = (draft.facts(slot), draft.slots[slot].is_kept());
        let is_warm = facts.intent.has_run(&to.digest);
        (!is_placed(slot), facts.is_lost(), !is_warm, kept, !facts.serves_now(), slot.index)
    });
    if let Some(rollout) = draft.rollout.as_ref().filter(|_| stands_beside(draft, release)) {
        // The first of the others have theirs on other hosts already.
        let placed = keep.iter().filter(|slot| is_placed(slot)).count();
        let made = keep[..placed].iter().filter(|slot| slot.index >= rollout.first_new).count();
        keep.drain(placed..(placed + made).min(keep.len()));
    }
    keep.truncate(count);
    keep
}

/// Slots that a rollout before this one had placed, and in which nothing was started, are in nobody's way.
fn drop_unused(draft: &mut Draft<'_>, keep: &[SlotId], to: ReleaseRef) {
    let unused = draft
        .slots
        .values()
        .filter(|slot| slot.release() != to.digest && slot.run() == Phase::Pulled && slot.other().is_none());
    let unused: Vec<SlotId> = unused.map(|slot| slot.id().clone()).collect();
    unused.iter().filter(|slot| !keep.contains(slot)).for_each(|slot| draft.drop_slot(slot));
}

/// Slots that cannot have both instances, and whose new one cannot stand elsewhere: a rollback replaces them in batches, as it
/// is never refused for want of room.
fn in_batches(draft: &mut Draft<'_>, stuck: Vec<Full>) -> Result<Vec<SlotId>, Nowhere> {
    if stuck.is_empty() || draft.rollout().kind != Kind::Deploy {
        return Ok(stuck.into_iter().map(|full| full.slot).collect());
    }
    Err(Nowhere::At(elsewhere::words(&stuck)))
}

/// Makes slots on these hosts.
fn add_all(draft: &mut Draft<'_>, to: ReleaseRef, places: Vec<(Place, Option<Instead>)>) {
    for (place, instead) in places {
        if draft.is_full() {
            return;
        }
        let Place { host, gpus, own, memory_reserved } = place;
        let good = draft.rollout().is_to_good();
        draft.add_slot(pulled(host, to, good, gpus), Some(Chosen::Best { own, memory_reserved, instead }));
    }
}

fn prepare_all(draft: &mut Draft<'_>, slots: &[SlotId], to: ReleaseRef, release: &Release) {
    for slot in slots {
        if draft.is_full() {
            return;
        }
        prepare(draft, slot, to, release);
    }
}

fn place_per_host(draft: &mut Draft<'_>, to: ReleaseRef, release: &Release) -> Result<(), Nowhere> {
    let mut existing: Vec<SlotId> =
        draft.slots.keys().filter(|slot| draft.fits(slot, release)).cloned().collect();
    existing.sort_by_cached_key(|slot| {
        let placed = draft.slots[slot].release() == to.digest;
        (!placed, !draft.facts(slot).serves_now(), slot.index)
    });
    if stands_beside(draft, release) {
        let Sides { beside, full, .. } = elsewhere::sides(draft, existing, to, release);
        // There is one on each host, so that no other host can take a second one.
        existing = beside;
        existing.extend(in_batches(draft, full)?);
    }
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
    if draft.slots[slot].other().is_some_and(|other| other.release == to.digest && other.run.runs())
        && draft.has_split()
    {
        // It is warm.
        revert::retarget(draft, slot, &to.digest);
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
