//! Care of a service that no rollout moves: stragglers catch up, standbys end, drained and lost hosts are
//! replaced, new hosts get what runs on every host.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::fleet::Scheduling;
use crate::host::Liveness;
use crate::id::SlotId;
use crate::placement::{self, Candidates};
use crate::plan::{Order, Phase};
use crate::release::{OnReturn, Release, Scale, Strategy};
use crate::service::{Mode, ReleaseRef};

use super::down::Down;
use super::draft::Draft;
use super::placing::why_nowhere;
use super::seen::Seen;
use super::waiting::Waiting;
use super::{KEEP_OLD, Kind, moving, removing, stopping, turning};

pub(super) fn step(draft: &mut Draft<'_>) {
    match draft.service.mode {
        Mode::Running => {}
        Mode::Stopped => return stopping::step(draft),
        Mode::Removed => return removing::step(draft),
    }
    end_standbys(draft);
    let Some(good) = draft.service.last_good().filter(|good| draft.service.current == Some(*good)) else {
        return;
    };
    let Some(release) = draft.release(&good.digest) else { return };
    catch_up(draft, good, release);
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

/// Brings slots to the good release that are not there: their hosts were lost when its rollout ended, or a rollback had
/// failed before it came to them.
fn catch_up(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release) {
    let mut behind: Vec<SlotId> = draft
        .slots
        .iter()
        .filter(|(slot, a)| a.standby_until.is_none() && stays(draft, slot, release))
        .filter(|(_, a)| {
            let want = &a.want;
            want.release != good.digest || want.previous.is_some() || want.phase != Phase::Running
        })
        .map(|(slot, _)| slot.clone())
        .collect();
    if behind.is_empty() {
        return;
    }
    let total = u32::try_from(draft.slots.len()).unwrap_or(u32::MAX);
    let limits = super::limits::Limits::of(&release.spec.strategy, Kind::Rollback, total, 0);
    let mut down = Down::of(draft, limits.unavailable);
    // What serves nothing is begun first, since it takes nothing away.
    behind.sort_by_cached_key(|slot| (draft.may_serve(slot), slot.index));
    for slot in behind {
        let want = &draft.slots[&slot].want;
        if want.release != good.digest {
            turning::turn(draft, &slot, &good, &mut down, true);
        } else if want.phase == Phase::Running {
            rest_previous(draft, &slot, &good.digest);
        } else if draft.observation(&slot).is_ok() {
            begin(draft, &slot, release, &mut down);
        }
    }
}

/// The old instance rests as soon as the right one serves.
fn rest_previous(draft: &mut Draft<'_>, slot: &SlotId, good: &Digest) {
    if !matches!(draft.seen(slot, good), Seen::Available) {
        return;
    }
    let until = draft.now() + KEEP_OLD;
    draft.edit(slot, |assignment| {
        if let Some(previous) = &mut assignment.want.previous {
            previous.phase = Phase::Standby;
            assignment.standby_until = Some(until);
        }
    });
}

/// Neither on its way out, nor stopped so that it can go, or start elsewhere?
fn stays(draft: &Draft<'_>, slot: &SlotId, release: &Release) -> bool {
    let per_host = release.spec.scale == Scale::PerHost;
    let moves = per_host || (moves_by_stopping(draft, release) && !release.spec.pins_slots());
    let goes = draft.is_leaving(slot) || (moves && is_draining(draft, slot));
    !goes
}

/// Does a slot that leaves its host stop there before it starts elsewhere? What may never run twice does, and what may
/// have no instance too many.
fn moves_by_stopping(draft: &Draft<'_>, release: &Release) -> bool {
    let no_surge =
        matches!(release.spec.strategy, Strategy::Rolling { max_surge, .. } if max_surge.of_up(100) == 0);
    no_surge || draft.is_exclusive()
}

pub(super) fn is_draining(draft: &Draft<'_>, slot: &SlotId) -> bool {
    let member = draft.snapshot.fleet.member(&draft.slots[slot].host);
    member.is_some_and(|member| member.scheduling == Scheduling::Draining)
}

fn begin(draft: &mut Draft<'_>, slot: &SlotId, release: &Release, down: &mut Down) {
    if !draft.may_start(Some(slot)) {
        return;
    }
    let beside = draft.slots[slot].want.previous.as_ref().map(|previous| previous.release);
    let order = beside.map_or(Order::StartFirst, |beside| draft.order(slot, &release.spec, beside));
    if order == Order::StopFirst {
        if !down.has_room_for(draft, slot) {
            return;
        }
        down.enter(slot);
    }
    draft.edit(slot, |assignment| {
        let want = &mut assignment.want;
        want.phase = Phase::Running;
        want.order = order;
        if let Some(previous) = want.previous.as_mut().filter(|_| order == Order::StopFirst) {
            previous.phase = Phase::Standby;
        }
    });
}

fn per_host(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release) {
    moving::off(draft, release);
    let own = draft.own();
    for (host, member) in draft.snapshot.fleet.all() {
        if draft.is_full() {
            return;
        }
        if own.contains_key(host) {
            continue;
        }
        if let Ok(gpus) = placement::accepts(host, member, release, &member.taken) {
            draft.add_slot(host.clone(), good.digest, Phase::Running, true, gpus, None);
        }
    }
}

fn replicas(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release) {
    if moves_by_stopping(draft, release) {
        moving::by_stopping(draft, release);
    }
    moving::say_what_stays(draft, release);
    let keys: Vec<SlotId> = draft.slots.keys().filter(|slot| !draft.is_leaving(slot)).cloned().collect();
    let moving: BTreeSet<SlotId> = keys.into_iter().filter(|slot| leaves(draft, slot, release)).collect();
    let by_stopping = moves_by_stopping(draft, release);
    let moving: BTreeSet<SlotId> = moving
        .into_iter()
        .filter(|slot| !by_stopping || (!draft.is_exclusive() && draft.is_lost(slot)))
        .collect();
    let alone: Vec<SlotId> = moving.difference(&replaced(draft)).cloned().collect();
    let alone = moving::in_turn(draft, release, alone);
    add(draft, good, release, alone.into_iter().map(Some).collect());
    settle_pairs(draft, good, release, &moving);
    let pairs = draft.slots.values().filter(|a| a.replaces.is_some()).count();
    let leaving = draft.slots.keys().filter(|slot| draft.is_leaving(slot)).count();
    let count = draft.slots.len() - pairs - leaving;
    // The count may be from before a rollout that went back, and is no reason to leave what was signed.
    let wanted = draft.service.replicas_for(release).unwrap_or_default() as usize;
    // What went with an evicted host is not made again without its volume: a person says so.
    let missing = wanted.saturating_sub(count);
    let given_up = if release.spec.pins_slots() { missing.min(draft.service.given_up as usize) } else { 0 };
    draft.service.given_up = u32::try_from(given_up).unwrap_or(u32::MAX);
    add(draft, good, release, vec![None; missing - given_up]);
    if count > wanted {
        drop_surplus(draft, &good.digest, count - wanted);
    }
}

/// What is too many goes: first what does not serve, then what is not at the good release, then the newest.
pub(super) fn drop_surplus(draft: &mut Draft<'_>, good: &Digest, surplus: usize) {
    let replaced = replaced(draft);
    let single = draft.slots.iter().filter(|(slot, a)| a.replaces.is_none() && !replaced.contains(*slot));
    let single = single.filter(|(_, a)| a.want.phase != Phase::Absent);
    let mut single: Vec<_> = single
        .map(|(slot, a)| (draft.serves(slot), &a.want.release == good, std::cmp::Reverse(slot.clone())))
        .collect();
    single.sort();
    for (_, _, slot) in single.into_iter().take(surplus) {
        draft.drop_slot(&slot.0);
    }
}

/// Must the slot leave its host? Wakes when it will have to.
pub(super) fn leaves(draft: &mut Draft<'_>, slot: &SlotId, release: &Release) -> bool {
    if release.spec.pins_slots() {
        return false; // elsewhere it would begin with an empty volume
    }
    let host = &draft.slots[slot].host;
    let Some(member) = draft.snapshot.fleet.member(host) else { return false };
    if member.scheduling == Scheduling::Draining {
        return true;
    }
    let Some(after) = release.spec.on_lost.replace_after else { return false };
    if member.liveness != Liveness::Lost {
        return false;
    }
    // What was before this coordinator is not known.
    let due = member.last_seen.unwrap_or(draft.snapshot.fleet.since()) + after.duration();
    if draft.now() < due {
        draft.wake(due);
    }
    draft.now() >= due
}

/// The slots that have a replacement.
pub(super) fn replaced(draft: &Draft<'_>) -> BTreeSet<SlotId> {
    draft.slots.values().filter_map(|a| a.replaces.clone()).collect()
}

/// Adds slots, each in the place of another one or of none.
fn add(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release, slots: Vec<Option<SlotId>>) {
    if slots.is_empty() || !draft.may_start(None) {
        return;
    }
    let candidates = Candidates::of(draft.snapshot.fleet, release);
    let mut filling = candidates.fill(&draft.taken(), &draft.own());
    for replaces in slots {
        let place = match filling.next_place() {
            Ok(place) => place,
            Err(refused) => {
                draft.wait(Waiting::Place(why_nowhere(&refused)));
                return draft.wake_soon();
            }
        };
        draft.add_slot(place.host, good.digest, Phase::Running, true, place.gpus, replaces);
    }
}

/// A slot and its replacement: one of them goes when the other serves.
fn settle_pairs(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release, moving: &BTreeSet<SlotId>) {
    let pairs: BTreeMap<SlotId, SlotId> =
        draft.slots.iter().filter_map(|(new, a)| Some((a.replaces.clone()?, new.clone()))).collect();
    for (old, new) in pairs {
        let available =
            |draft: &Draft<'_>, slot: &SlotId| matches!(draft.seen(slot, &good.digest), Seen::Available);
        if !draft.slots.contains_key(&old) {
            draft.edit(&new, |assignment| assignment.replaces = None);
            continue;
        }
        // A lost one stays until its host is back, and says what runs there.
        if draft.is_lost(&old) {
            continue;
        }
        let has_failed = matches!(draft.seen(&old, &good.digest), Seen::Failed(_));
        let keeps_new =
            moving.contains(&old) || has_failed || release.spec.on_lost.on_return == OnReturn::KeepNew;
        if keeps_new && available(draft, &new) {
            draft.drop_slot(&old);
            draft.edit(&new, |assignment| assignment.replaces = None);
        } else if !keeps_new && available(draft, &old) {
            draft.drop_slot(&new);
        }
    }
}
