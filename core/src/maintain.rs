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
use crate::rollout::planner::{NewSlot, Planner};
use crate::rollout::trial;
use crate::service::{Mode, ReleaseRef};
use crate::slot::{Transition, Waiting};

pub(crate) use evicted::{evicted, missing};

/// One step of the care.
pub(crate) fn step(planner: &mut Planner<'_>) {
    end_split(planner);
    match planner.service.mode {
        Mode::Running => {}
        Mode::Stopped => return stopped::step(planner),
        Mode::Removed => return removed::step(planner),
    }
    if trial::watch(planner) {
        return;
    }
    end_standbys(planner);
    kept::end(planner);
    let Some(good) = planner.service.last_good().filter(|good| planner.service.current == Some(*good)) else {
        return drain::say_what_is_unsettled(planner);
    };
    let Some(release) = planner.release(&good.digest) else { return };
    catch_up::step(planner, good, release);
    match release.spec.scale {
        Scale::PerHost => per_host(planner, good, release),
        Scale::Replicas { .. } => replicas(planner, good, release),
    }
    go_on(planner);
}

/// An instance that drained for something that is not to happen any more runs on.
fn go_on(planner: &mut Planner<'_>) {
    for slot in planner.slots_that(|slot| slot.run() == Phase::Draining) {
        if !planner.waits_for_drain(&slot) {
            planner.apply(&slot, &Transition::Resume);
        }
    }
}

/// One release is left of two that shared the traffic: what serves is one pool again.
fn end_split(planner: &mut Planner<'_>) {
    let Some(split) = &planner.service.split else { return };
    let runs = |release: &Digest| {
        planner.slots.values().any(|slot| {
            let other = slot.other().is_some_and(|other| &other.release == release && other.run.runs());
            other || (&slot.release() == release && slot.run().runs())
        })
    };
    if !runs(&split.new) || !runs(&split.old) {
        planner.service.split = None;
    }
}

/// Removes the instances that have stood by, or were kept warm, for long enough.
fn end_standbys(planner: &mut Planner<'_>) {
    let now = planner.now();
    let standbys = planner.slots.values().filter_map(|slot| Some((slot.id().clone(), slot.standby_until()?)));
    for (slot, until) in standbys.collect::<Vec<_>>() {
        if until <= now {
            let runs = planner.slots[&slot].other().is_some_and(|other| other.run.runs());
            // The warm instance is all that is left, where the release that replaced it does not serve.
            if runs && !planner.facts(&slot).is_available() {
                planner.wait(Waiting::Healthy { host: planner.host(&slot), slot: slot.clone() });
                planner.wake_soon();
                continue;
            }
            planner.apply(&slot, &Transition::Forget);
        } else {
            planner.wake(until);
        }
    }
}

fn per_host(planner: &mut Planner<'_>, good: ReleaseRef, release: &Release) {
    drain::off(planner, release);
    let own = planner.own();
    for (host, member) in planner.snapshot.fleet.all() {
        if planner.is_full() {
            return;
        }
        if own.contains_key(host) {
            continue;
        }
        if let Ok(gpus) = placement::accepts(host, member, release, &member.taken) {
            planner.add_slot(running(host.clone(), good.digest, gpus, None), None);
        }
    }
}

fn replicas(planner: &mut Planner<'_>, good: ReleaseRef, release: &Release) {
    let by_stopping = leaving::by_stopping(planner, release);
    if by_stopping {
        drain::by_stopping(planner, release);
    }
    drain::say_what_stays(planner, release);
    let moving = planner.staying().into_iter().filter(|slot| leaving::leaves(planner, slot, release));
    let moving: BTreeSet<SlotId> = moving.collect();
    let moving: BTreeSet<SlotId> = moving
        .into_iter()
        .filter(|slot| !by_stopping || (!planner.is_exclusive() && planner.facts(slot).is_lost()))
        .collect();
    let alone: Vec<SlotId> = moving.difference(&leaving::replaced(planner)).cloned().collect();
    let alone = drain::in_turn(planner, release, alone);
    add(planner, good.digest, release, alone.into_iter().map(Some).collect());
    pairs::resolve(planner, good, release, &moving);
    let pairs = planner.slots.values().filter(|slot| slot.stands_in_for().is_some()).count();
    let others = planner.slots.values().filter(|slot| slot.is_leaving() || slot.is_kept()).count();
    let count = planner.slots.len() - pairs - others;
    // The count may be from before a rollout that went back, and is no reason to leave what was signed.
    let wanted = planner.service.replicas_for(release).unwrap_or_default() as usize;
    // A slot that went with an evicted host is not made again without its volume: a person says so.
    let missing = wanted.saturating_sub(count);
    let given_up = if release.spec.pins_slots() { missing.min(planner.service.given_up as usize) } else { 0 };
    planner.service.given_up = u32::try_from(given_up).unwrap_or(u32::MAX);
    add(planner, good.digest, release, vec![None; missing - given_up]);
    if count > wanted {
        surplus::drop_surplus(planner, &good.digest, count - wanted);
    }
}

/// Adds slots, each in the place of another one or of none.
pub(crate) fn add(planner: &mut Planner<'_>, good: Digest, release: &Release, slots: Vec<Option<SlotId>>) {
    if slots.is_empty() || !planner.may_start(None) {
        return;
    }
    let candidates = Candidates::of(planner.snapshot.fleet, release);
    let mut filling = candidates.fill(&planner.taken(), &planner.own());
    for replaces in slots {
        let Some(place) = planner.next_place(&mut filling) else { return };
        planner.add_slot(running(place.host, good, place.gpus, replaces), None);
    }
}

/// A slot of the good release that runs at once.
const fn running(host: HostId, good: Digest, gpus: Vec<String>, replaces: Option<SlotId>) -> NewSlot {
    NewSlot { host, release: good, runs: true, good: true, gpus, stands_in_for: replaces }
}
