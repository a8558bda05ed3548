//! Care of a service that no rollout moves: stragglers catch up, standbys end, drained and lost hosts are
//! replaced, new hosts get what runs on every host.

mod catch_up;
mod drain;
mod evicted;
mod kept;
mod leaving;
mod pairs;
mod removed;
mod stopped;
mod surplus;

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::placement::{self, Candidates};
use crate::plan::Phase;
use crate::release::{Release, Scale};
use crate::rollout::draft::{Draft, NewSlot};
use crate::rollout::places::why_nowhere;
use crate::rollout::trial;
use crate::service::{Mode, ReleaseRef};
use crate::slot::{Transition, Waiting};

pub(crate) use evicted::{evicted, missing};

/// One step of the care.
pub(crate) fn step(draft: &mut Draft<'_>) {
    end_split(draft);
    match draft.service.mode {
        Mode::Running => {}
        Mode::Stopped => return stopped::step(draft),
        Mode::Removed => return removed::step(draft),
    }
    if trial::watch(draft) {
        return;
    }
    end_standbys(draft);
    kept::end(draft);
    let Some(good) = draft.service.last_good().filter(|good| draft.service.current == Some(*good)) else {
        return;
    };
    let Some(release) = draft.release(&good.digest) else { return };
    catch_up::step(draft, good, release);
    match release.spec.scale {
        Scale::PerHost => per_host(draft, good, release),
        Scale::Replicas { .. } => replicas(draft, good, release),
    }
    go_on(draft);
}

/// An instance that drained for something that is not to happen any more runs on.
fn go_on(draft: &mut Draft<'_>) {
    let draining = draft.slots.values().filter(|slot| slot.run() == Phase::Draining);
    for slot in draining.map(|slot| slot.id().clone()).collect::<Vec<_>>() {
        if !draft.waits_for_drain(&slot) {
            draft.apply(&slot, &Transition::Resume);
        }
    }
}

/// One release is left of two that shared the traffic: what serves is one pool again.
fn end_split(draft: &mut Draft<'_>) {
    let Some(split) = &draft.service.split else { return };
    let runs = |release: &Digest| {
        draft.slots.values().any(|slot| {
            let other = slot.other().is_some_and(|other| &other.release == release && other.run.runs());
            other || (&slot.release() == release && slot.run().runs())
        })
    };
    if !runs(&split.new) || !runs(&split.old) {
        draft.service.split = None;
    }
}

/// Removes the instances that have stood by, or were kept warm, for long enough.
fn end_standbys(draft: &mut Draft<'_>) {
    let now = draft.now();
    let standbys = draft.slots.values().filter_map(|slot| Some((slot.id().clone(), slot.standby_until()?)));
    for (slot, until) in standbys.collect::<Vec<_>>() {
        if until <= now {
            let runs = draft.slots[&slot].other().is_some_and(|other| other.run.runs());
            // The warm instance is all that is left, where the release that replaced it does not serve.
            if runs && !draft.facts(&slot).is_available() {
                draft.wait(Waiting::Healthy { host: draft.host(&slot), slot: slot.clone() });
                draft.wake_soon();
                continue;
            }
            draft.apply(&slot, &Transition::Forget);
        } else {
            draft.wake(until);
        }
    }
}

fn per_host(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release) {
    drain::off(draft, release);
    let own = draft.own();
    for (host, member) in draft.snapshot.fleet.all() {
        if draft.is_full() {
            return;
        }
        if own.contains_key(host) {
            continue;
        }
        if let Ok(gpus) = placement::accepts(host, member, release, &member.taken) {
            draft.add_slot(running(host.clone(), good.digest, gpus, None), None);
        }
    }
}

fn replicas(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release) {
    let by_stopping = leaving::by_stopping(draft, release);
    if by_stopping {
        drain::by_stopping(draft, release);
    }
    drain::say_what_stays(draft, release);
    let moving = draft.staying().into_iter().filter(|slot| leaving::leaves(draft, slot, release));
    let moving: BTreeSet<SlotId> = moving.collect();
    let moving: BTreeSet<SlotId> = moving
        .into_iter()
        .filter(|slot| !by_stopping || (!draft.is_exclusive() && draft.facts(slot).is_lost()))
        .collect();
    let alone: Vec<SlotId> = moving.difference(&leaving::replaced(draft)).cloned().collect();
    let alone = drain::in_turn(draft, release, alone);
    add(draft, good.digest, release, alone.into_iter().map(Some).collect());
    pairs::settle(draft, good, release, &moving);
    let pairs = draft.slots.values().filter(|slot| slot.stands_in_for().is_some()).count();
    let others = draft.slots.values().filter(|slot| slot.is_leaving() || slot.is_kept()).count();
    let count = draft.slots.len() - pairs - others;
    // The count may be from before a rollout that went back, and is no reason to leave what was signed.
    let wanted = draft.service.replicas_for(release).unwrap_or_default() as usize;
    // What went with an evicted host is not made again without its volume: a person says so.
    let missing = wanted.saturating_sub(count);
    let given_up = if release.spec.pins_slots() { missing.min(draft.service.given_up as usize) } else { 0 };
    draft.service.given_up = u32::try_from(given_up).unwrap_or(u32::MAX);
    add(draft, good.digest, release, vec![None; missing - given_up]);
    if count > wanted {
        surplus::drop_surplus(draft, &good.digest, count - wanted);
    }
}

/// Adds slots, each in the place of another one or of none.
pub(crate) fn add(draft: &mut Draft<'_>, good: Digest, release: &Release, slots: Vec<Option<SlotId>>) {
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
        draft.add_slot(running(place.host, good, place.gpus, replaces), None);
    }
}

/// A slot of the good release that runs at once.
const fn running(host: HostId, good: Digest, gpus: Vec<String>, replaces: Option<SlotId>) -> NewSlot {
    NewSlot { host, release: good, runs: true, good: true, gpus, stands_in_for: replaces }
}
