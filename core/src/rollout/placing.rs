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
use super::elsewhere::{self, Full, Sides, stands_beside};
use super::ending;
use super::model::{Kind, Reason, RollbackMode, State};
use super::older;
use super::planner::{NewSlot, Planner};
use super::returning;
use super::revert;

mod find;

use find::{New, Nowhere, find};

/// Pending: gives every slot its part in the rollout. Nothing is started yet.
pub(crate) fn place(planner: &mut Planner<'_>) {
    let Some((to, release)) = planner.target() else {
        return ending::go_back(
            planner,
            RollbackMode::Untouched,
            Reason::NoPlace("its release is gone".into()),
        );
    };
    if let Some(why) = refusal(planner, to, release) {
        return ending::go_back(planner, RollbackMode::Untouched, Reason::NoPlace(why));
    }
    if !returning::gather(planner) {
        return;
    }
    if planner.rollout().is_restart() && !planner.slots.is_empty() && all_run(planner, &to.digest) {
        // Every slot stays where it is.
        return planner.go(State::Preparing);
    }
    if planner.rollout().kind == Kind::Deploy && older::are_on_their_way(planner, release) {
        return;
    }
    match find_all(planner, to, release) {
        _ if planner.is_full() || planner.drains() => {}
        Err(Nowhere::Yet) => planner.wake_soon(),
        Err(Nowhere::At(why)) => ending::go_back(planner, RollbackMode::Untouched, Reason::NoPlace(why)),
        Ok(()) => {
            if !planner.rollout().is_restart() {
                planner.service.split = split(planner, to, release);
            }
            planner.go(State::Preparing);
        }
    }
}

fn find_all(planner: &mut Planner<'_>, to: ReleaseRef, release: &Release) -> Result<(), Nowhere> {
    match release.spec.scale {
        Scale::PerHost => place_per_host(planner, to, release),
        Scale::Replicas { min, max } => place_replicas(planner, to, release, min, max),
    }
}

/// The reason for which a deploy finds no place even without the instances that end before it begins. It is refused before any of
/// them has ended.
fn refusal(planner: &mut Planner<'_>, to: ReleaseRef, release: &Release) -> Option<String> {
    let is_deploy = planner.rollout().kind == Kind::Deploy && !planner.rollout().changed;
    let keep = returning::keeps(planner).filter(|_| is_deploy)?;
    let mut alone = Planner::new(&planner.snapshot);
    alone.service = planner.service.clone();
    alone.service.split = None;
    alone.rollout = planner.rollout.clone();
    alone.slots = planner.slots.clone();
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
fn split(planner: &mut Planner<'_>, to: ReleaseRef, release: &Release) -> Option<Split> {
    let from = planner.rollout().from.filter(|from| from.digest != to.digest)?;
    let salt = planner.rollout().id.to_string();
    let serves = planner.slots.values().any(|slot| slot.names(&from.digest));
    (release.spec.runs_beside() && serves).then_some(Split {
        new: to.digest,
        weight: Weight::NONE,
        old: from.digest,
        salt,
        matches: Vec::new(),
    })
}

fn all_run(planner: &Planner<'_>, release: &Digest) -> bool {
    let mut members = planner.slots.values().filter(|slot| !slot.is_kept());
    members.all(|slot| &slot.release() == release && slot.run() == Phase::Running)
}

fn place_replicas(
    planner: &mut Planner<'_>,
    to: ReleaseRef,
    release: &Release,
    min: u32,
    max: u32,
) -> Result<(), Nowhere> {
    let count = planner.service.replicas.clamp(min, max);
    planner.service.replicas = count;
    let count = count as usize;
    let candidates = slots_to_keep(planner, to, release);
    let stays = planner.stays(&candidates, release, count);
    if stays.keep.len() < count
        && let Some(why) = planner.refusal_to_stay(&stays)
    {
        return Err(Nowhere::At(why));
    }
    if !stands_beside(planner, release) {
        let missing = count - stays.keep.len();
        // Before any slot gets its part, so that a refusal touches nothing.
        let taken = if missing > 0 { planner.taken_before(Some(&stays)) } else { BTreeMap::new() };
        let New { places, .. } = find(planner, release, &taken, missing, Vec::new())?;
        prepare_all(planner, &stays.keep, to, release);
        add_all(planner, to, places);
        return Ok(());
    }
    let keep = stays.keep;
    drop_unused(planner, &keep, to);
    let Sides { mut beside, full, taken } = elsewhere::sides(planner, keep, to, release);
    let (elsewhere, stuck): (Vec<Full>, Vec<Full>) =
        full.into_iter().partition(|full| full.may_stand_elsewhere);
    beside.extend(in_batches(planner, stuck)?);
    // Before any slot gets its part, so that a refusal touches nothing.
    let new = find(planner, release, &taken, count - beside.len(), elsewhere)?;
    beside.extend(new.without_place);
    prepare_all(planner, &beside, to, release);
    add_all(planner, to, new.places);
    Ok(())
}

/// The slots that may stay on their hosts for the release. Those that were placed by an earlier step come first, then those that
/// serve, then the oldest. What is lost comes last: it may have a replacement.
fn slots_to_keep(planner: &Planner<'_>, to: ReleaseRef, release: &Release) -> Vec<SlotId> {
    let is_placed = |slot: &SlotId| planner.slots[slot].release() == to.digest;
    let rolls_back = planner.rollout.as_ref().is_some_and(|rollout| rollout.kind == Kind::Rollback);
    // A warm one on a lost host is none.
    let is_gone = |slot: &&SlotId| {
        rolls_back && stands_beside(planner, release) && is_placed(slot) && planner.facts(slot).is_lost()
    };
    let fitting = planner.slots.keys().filter(|slot| planner.fits(slot, release) && !is_gone(slot));
    let mut keep: Vec<SlotId> = fitting.cloned().collect();
    keep.sort_by_cached_key(|slot| {
        let (facts, kept) = (planner.facts(slot), planner.slots[slot].is_kept());
        let is_warm = facts.intent.has_run(&to.digest);
        (!is_placed(slot), facts.is_lost(), !is_warm, kept, !facts.serves_now(), slot.index)
    });
    if let Some(rollout) = planner.rollout.as_ref().filter(|_| stands_beside(planner, release)) {
        // The first of the others have theirs on other hosts already.
        let placed = keep.iter().filter(|slot| is_placed(slot)).count();
        let made = keep[..placed].iter().filter(|slot| slot.index >= rollout.first_new).count();
        keep.drain(placed..(placed + made).min(keep.len()));
    }
    keep
}

/// Slots that a rollout before this one had placed, and in which nothing was started, are in nobody's way.
fn drop_unused(planner: &mut Planner<'_>, keep: &[SlotId], to: ReleaseRef) {
    let unused = planner.slots_that(|slot| {
        slot.release() != to.digest && slot.run() == Phase::Pulled && slot.other().is_none()
    });
    unused.iter().filter(|slot| !keep.contains(slot)).for_each(|slot| planner.drop_slot(slot));
}

/// Slots that cannot have both instances, and whose new one cannot stand elsewhere: a rollback replaces them in batches, as it
/// is never refused for want of room.
fn in_batches(planner: &mut Planner<'_>, stuck: Vec<Full>) -> Result<Vec<SlotId>, Nowhere> {
    if stuck.is_empty() || planner.rollout().kind != Kind::Deploy {
        return Ok(stuck.into_iter().map(|full| full.slot).collect());
    }
    Err(Nowhere::At(elsewhere::words(&stuck)))
}

/// Makes slots on these hosts.
fn add_all(planner: &mut Planner<'_>, to: ReleaseRef, places: Vec<(Place, Option<Instead>)>) {
    for (place, instead) in places {
        if planner.is_full() {
            return;
        }
        let Place { host, gpus, own, memory_reserved } = place;
        let good = planner.rollout().is_to_good();
        planner.add_slot(pulled(host, to, good, gpus), Some(Chosen::Best { own, memory_reserved, instead }));
    }
}

fn prepare_all(planner: &mut Planner<'_>, slots: &[SlotId], to: ReleaseRef, release: &Release) {
    for slot in slots {
        if planner.is_full() {
            return;
        }
        prepare(planner, slot, to, release);
    }
}

fn place_per_host(planner: &mut Planner<'_>, to: ReleaseRef, release: &Release) -> Result<(), Nowhere> {
    let fitting = planner.slots.keys().filter(|slot| planner.fits(slot, release));
    let mut candidates: Vec<SlotId> = fitting.cloned().collect();
    candidates.sort_by_cached_key(|slot| {
        let placed = planner.slots[slot].release() == to.digest;
        (!placed, !planner.facts(slot).serves_now(), slot.index)
    });
    let stays = planner.stays(&candidates, release, usize::MAX);
    if let Some(why) = planner.refusal_to_stay(&stays) {
        return Err(Nowhere::At(why));
    }
    let mut existing = stays.keep;
    if stands_beside(planner, release) {
        let Sides { beside, full, .. } = elsewhere::sides(planner, existing, to, release);
        // There is one on each host, so that no other host can take a second one.
        existing = beside;
        existing.extend(in_batches(planner, full)?);
    }
    let mut has: BTreeSet<HostId> = BTreeSet::new();
    for slot in &existing {
        if planner.is_full() {
            return Ok(());
        }
        // A service that had several on a host keeps one there.
        if has.insert(planner.host(slot)) {
            prepare(planner, slot, to, release);
        }
    }
    // Of most hosts that get one, this service has taken nothing yet.
    let elsewhere = planner.slots.values().any(|slot| !has.contains(slot.host()));
    let taken = if elsewhere { planner.taken() } else { BTreeMap::new() };
    let mut refused = BTreeMap::new();
    for (host, member) in planner.snapshot.fleet.all().iter().filter(|(host, _)| !has.contains(*host)) {
        if planner.is_full() && !planner.wants_refusals() {
            return Ok(());
        }
        match placement::accepts(host, member, release, taken.get(host).unwrap_or(&member.taken)) {
            Ok(gpus) => {
                let good = planner.rollout().is_to_good();
                planner.add_slot(pulled(host.clone(), to, good, gpus), Some(Chosen::PerHost));
            }
            Err(unfit) => {
                refused.insert(host.clone(), unfit);
            }
        }
    }
    planner.refusals(refused.iter());
    if planner.slots.values().any(|slot| slot.release() == to.digest) {
        return Ok(());
    }
    let candidates = Candidates::of(planner.snapshot.fleet, release);
    Err(Nowhere::because(planner, &candidates, &refused))
}

/// A slot of the new release whose image is pulled.
const fn pulled(host: HostId, to: ReleaseRef, good: bool, gpus: Vec<String>) -> NewSlot {
    NewSlot { host, release: to.digest, runs: false, good, gpus, stands_in_for: None }
}

/// Writes the slot's part: the image of the new release, and beside it whatever serves now.
fn prepare(planner: &mut Planner<'_>, slot: &SlotId, to: ReleaseRef, release: &Release) {
    if planner.slots[slot].release() == to.digest && planner.slots[slot].run() == Phase::Pulled {
        return;
    }
    if planner.slots[slot].other().is_some_and(|other| other.release == to.digest && other.run.runs())
        && planner.has_split()
    {
        // It is warm.
        revert::retarget(planner, slot, &to.digest);
        return;
    }
    let facts = planner.facts(slot);
    let gpus = planner.devices_for(slot, &release.spec);
    let rollout = planner.rollout();
    let good = rollout.is_to_good();
    let prepare = Transition::Prepare {
        release: to.digest,
        incumbent: facts.incumbent(),
        good,
        fallback: rollout.from.map(|from| from.digest).filter(|_| !good),
        retry: rollout.retry_quarantined,
        gpus,
        // An instance that was stopped for another release before is remembered as long as nothing serves there.
        stopped: facts.intent.order == Order::StopFirst && facts.serving() != Certainty::Yes,
    };
    planner.apply(slot, &prepare);
}
