//! Care of a service that no rollout moves: standbys end, drained and lost hosts are replaced, new
//! hosts get what runs on every host.

use crate::fleet::Scheduling;
use crate::host::Liveness;
use crate::id::SlotId;
use crate::placement;
use crate::plan::Phase;
use crate::release::{OnReturn, Release, Scale};
use crate::service::ReleaseRef;

use super::draft::Draft;
use super::seen::{Seen, Waiting};

pub(super) fn step(draft: &mut Draft<'_>) {
    end_standbys(draft);
    let gone: Vec<SlotId> = draft
        .slots
        .iter()
        .filter(|(_, a)| !draft.snapshot.fleet.members.contains_key(&a.host))
        .map(|(slot, _)| slot.clone())
        .collect();
    for slot in gone {
        draft.drop_slot(&slot);
    }
    let Some(good) = draft.service.last_good().filter(|good| draft.service.current == Some(*good)) else {
        return;
    };
    let Some(release) = draft.release(&good.digest) else { return };
    match release.spec.scale {
        Scale::PerHost => per_host(draft, good, release),
        Scale::Replicas { .. } => replicas(draft, good, release),
    }
}

fn end_standbys(draft: &mut Draft<'_>) {
    let now = draft.now();
    let standbys: Vec<_> =
        draft.slots.iter().filter_map(|(slot, a)| Some((slot.clone(), a.standby_until?))).collect();
    for (slot, until) in standbys {
        if until <= now {
            draft.edit(&slot, |assignment| {
                assignment.want.previous = None;
                assignment.standby_until = None;
            });
        } else {
            draft.wake(until);
        }
    }
}

fn per_host(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release) {
    let own = draft.own();
    let taken = draft.taken();
    for (host, member) in &draft.snapshot.fleet.members {
        let slot = draft.slots.iter().find(|(_, a)| &a.host == host).map(|(slot, _)| slot.clone());
        match slot {
            Some(slot) if member.scheduling == Scheduling::Draining => draft.drop_slot(&slot),
            Some(_) => {}
            None if own.contains_key(host) => {}
            None => {
                if let Ok(gpus) = placement::accepts(host, member, release, &taken[host]) {
                    draft.add_slot(host.clone(), good.digest, Phase::Running, true, gpus, None);
                }
            }
        }
    }
}

fn replicas(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release) {
    let moving: Vec<SlotId> =
        draft.slots.keys().filter(|slot| leaves(draft, slot, release)).cloned().collect();
    for slot in &moving {
        if replacement(draft, slot).is_none() {
            add_one(draft, good, release, Some(slot.clone()));
        }
    }
    settle_pairs(draft, good, release, &moving);
    let pairs = draft.slots.values().filter(|a| a.replaces.is_some()).count();
    let count = draft.slots.len() - pairs;
    let wanted = draft.service.replicas as usize;
    for _ in count..wanted {
        add_one(draft, good, release, None);
    }
    let mut surplus: Vec<SlotId> = draft
        .slots
        .iter()
        .filter(|(slot, a)| a.replaces.is_none() && replacement(draft, slot).is_none())
        .map(|(slot, _)| slot.clone())
        .collect();
    surplus.sort_by_key(|slot| std::cmp::Reverse(slot.index));
    for slot in surplus.into_iter().take(count.saturating_sub(wanted)) {
        draft.drop_slot(&slot);
    }
}

/// Must the slot leave its host? Wakes when it will have to.
fn leaves(draft: &Draft<'_>, slot: &SlotId, release: &Release) -> bool {
    let host = &draft.slots[slot].host;
    let Some(member) = draft.snapshot.fleet.members.get(host) else { return false };
    if member.scheduling == Scheduling::Draining {
        return true;
    }
    let Some(after) = release.spec.on_lost.replace_after else { return false };
    let silent_since = member.last_seen.unwrap_or(crate::time::Timestamp::ZERO);
    member.liveness == Liveness::Lost && draft.now() >= silent_since + after.duration()
}

fn replacement(draft: &Draft<'_>, slot: &SlotId) -> Option<SlotId> {
    draft.slots.iter().find(|(_, a)| a.replaces.as_ref() == Some(slot)).map(|(new, _)| new.clone())
}

fn add_one(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release, replaces: Option<SlotId>) {
    let mut own = draft.own();
    let old_host = replaces.as_ref().map(|slot| draft.slots[slot].host.clone());
    if let Some(count) = old_host.as_ref().and_then(|host| own.get_mut(host)) {
        *count = u32::MAX;
    }
    match placement::choose(draft.snapshot.fleet, release, &draft.taken(), &own) {
        Ok((host, gpus)) => {
            draft.add_slot(host, good.digest, Phase::Running, true, gpus, replaces);
        }
        Err(_) => {
            if let Some(host) = old_host {
                draft.wait(Waiting::Room(host));
            }
        }
    }
}

/// A slot and its replacement: one of them goes when the other serves.
fn settle_pairs(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release, moving: &[SlotId]) {
    let pairs: Vec<(SlotId, SlotId)> =
        draft.slots.iter().filter_map(|(new, a)| Some((a.replaces.clone()?, new.clone()))).collect();
    for (old, new) in pairs {
        let available =
            |draft: &Draft<'_>, slot: &SlotId| matches!(draft.seen(slot, &good.digest), Seen::Available);
        if !draft.slots.contains_key(&old) {
            draft.edit(&new, |assignment| assignment.replaces = None);
            continue;
        }
        if moving.contains(&old) {
            let draining = !draft.is_lost(&old);
            if draining && available(draft, &new) {
                draft.drop_slot(&old);
                draft.edit(&new, |assignment| assignment.replaces = None);
            }
            continue;
        }
        // The host is back.
        if draft.is_lost(&old) {
            continue;
        }
        match release.spec.on_lost.on_return {
            OnReturn::KeepNew if available(draft, &new) => {
                draft.drop_slot(&old);
                draft.edit(&new, |assignment| assignment.replaces = None);
            }
            OnReturn::KeepOld if available(draft, &old) => draft.drop_slot(&new),
            OnReturn::KeepNew | OnReturn::KeepOld => {}
        }
    }
}
