//! Pending: gives every slot its part in the rollout. Nothing is started yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::fleet::{Member, Scheduling};
use crate::host::Liveness;
use crate::id::{HostId, SlotId};
use crate::placement::{self, Candidates, Unfit};
use crate::plan::{Order, Phase, Previous};
use crate::release::{Release, Scale};
use crate::service::ReleaseRef;

use super::draft::Draft;
use super::ending;
use super::seen::Seen;
use super::waiting::Waiting;
use super::{Chosen, GoingBack, Reason, State};

/// Pending: gives every slot its part in the rollout. Nothing is started yet.
pub(super) fn place(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else {
        return ending::go_back(draft, GoingBack::Untouched, Reason::NoPlace("its release is gone".into()));
    };
    if draft.rollout().is_restart() && !draft.slots.is_empty() && all_run(draft, &to.digest) {
        // Every slot stays where it is.
        return draft.go(State::Preparing);
    }
    let hosts = match release.spec.scale {
        Scale::PerHost => place_per_host(draft, to, release),
        Scale::Replicas { min, max } => place_replicas(draft, to, release, min, max),
    };
    match hosts {
        _ if draft.is_full() => {}
        Err(Nowhere::Yet) => draft.wake_soon(),
        Err(Nowhere::At(why)) => ending::go_back(draft, GoingBack::Untouched, Reason::NoPlace(why)),
        Ok(()) => draft.go(State::Preparing),
    }
}

fn all_run(draft: &Draft<'_>, release: &Digest) -> bool {
    draft.slots.values().all(|a| &a.want.release == release && a.want.phase == Phase::Running)
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
        draft.slots.keys().filter(|slot| stays(draft, slot, release)).cloned().collect();
    // Those that were placed by an earlier step come first, then those that serve, then the oldest. What is
    // lost comes last: it may have a replacement.
    keep.sort_by_cached_key(|slot| {
        let placed = draft.slots[slot].want.release == to.digest;
        (!placed, draft.is_lost(slot), !draft.serves(slot), slot.index)
    });
    keep.truncate(count as usize);
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
        let (host, gpus) = (place.host, place.gpus);
        let good = draft.rollout().is_to_good();
        if let Some(slot) = draft.add_slot(host.clone(), to.digest, Phase::Pulled, good, gpus, None) {
            draft.placed(&slot, &host, because);
        }
    }
    Ok(())
}

fn place_per_host(draft: &mut Draft<'_>, to: ReleaseRef, release: &Release) -> Result<(), Nowhere> {
    let mut existing: Vec<SlotId> =
        draft.slots.keys().filter(|slot| stays(draft, slot, release)).cloned().collect();
    existing.sort_by_cached_key(|slot| {
        let placed = draft.slots[slot].want.release == to.digest;
        (!placed, !draft.serves(slot), slot.index)
    });
    let mut has: BTreeSet<HostId> = BTreeSet::new();
    for slot in &existing {
        if draft.is_full() {
            return Ok(());
        }
        // A service that had several on a host keeps one there.
        if has.insert(draft.slots[slot].host.clone()) {
            prepare(draft, slot, to, release);
        }
    }
    // Of most hosts that get one, this service has taken nothing yet.
    let elsewhere = draft.slots.values().any(|assignment| !has.contains(&assignment.host));
    let taken = if elsewhere { draft.taken() } else { BTreeMap::new() };
    let mut refused = BTreeMap::new();
    for (host, member) in draft.snapshot.fleet.all().iter().filter(|(host, _)| !has.contains(*host)) {
        if draft.is_full() && !draft.wants_refusals() {
            return Ok(());
        }
        match placement::accepts(host, member, release, taken.get(host).unwrap_or(&member.taken)) {
            Ok(gpus) => {
                let good = draft.rollout().is_to_good();
                if let Some(slot) = draft.add_slot(host.clone(), to.digest, Phase::Pulled, good, gpus, None) {
                    draft.placed(&slot, host, Chosen::PerHost);
                }
            }
            Err(unfit) => {
                refused.insert(host.clone(), unfit);
            }
        }
    }
    draft.refusals(refused.iter());
    if draft.slots.values().any(|a| a.want.release == to.digest) {
        return Ok(());
    }
    let candidates = Candidates::of(draft.snapshot.fleet, release);
    Err(Nowhere::because(draft, &candidates, &refused))
}

/// Does the slot stay on its host for `release`?
pub(super) fn stays(draft: &Draft<'_>, slot: &SlotId, release: &Release) -> bool {
    if draft.is_leaving(slot) {
        return false;
    }
    let host = &draft.slots[slot].host;
    let Some(member) = draft.snapshot.fleet.member(host) else { return false };
    let fits = match placement::eligible(host, member, release) {
        Ok(()) => true,
        // Facts of a host that is away are old; it keeps its slot until it returns.
        Err(Unfit::Policy(_) | Unfit::Platform(..) | Unfit::TooOld) => member.liveness != Liveness::Connected,
        Err(
            Unfit::NotConnected(_)
            | Unfit::NotScheduling(_)
            | Unfit::Recovering
            | Unfit::Labels
            | Unfit::NoRoom(_),
        ) => false,
    };
    fits && (member.scheduling != Scheduling::Draining || release.spec.pins_slots())
}

/// Writes the slot's part: the image of the new release, and beside it whatever serves now.
fn prepare(draft: &mut Draft<'_>, slot: &SlotId, to: ReleaseRef, release: &Release) {
    if draft.slots[slot].want.release == to.digest && draft.slots[slot].want.phase == Phase::Pulled {
        return;
    }
    let serving = serving(draft, slot);
    let from = draft.rollout().from.map(|from| from.digest);
    let good = draft.rollout().is_to_good();
    let retry = draft.rollout().retry_quarantined;
    let gpus = gpus_for(draft, slot, release);
    let stays_running = serving == Some(to.digest);
    // What was stopped for another release before is remembered as long as nothing serves there.
    let was_stopped = draft.slots[slot].want.order == Order::StopFirst && !draft.goes_on_serving(slot);
    draft.edit(slot, |assignment| {
        let want = &mut assignment.want;
        if want.release != to.digest {
            want.generation = 0;
        }
        want.release = to.digest;
        want.good = good;
        want.phase = if stays_running { Phase::Running } else { Phase::Pulled };
        want.fallback = from.filter(|_| !good);
        want.order = if was_stopped { Order::StopFirst } else { Order::StartFirst };
        want.previous =
            serving.filter(|_| !stays_running).map(|release| Previous { release, phase: Phase::Running });
        want.retry_quarantined = retry;
        want.gpus = gpus;
        assignment.standby_until = None;
    });
    if draft.is_dirty(slot) {
        let host = draft.slots[slot].host.clone();
        draft.placed(slot, &host, Chosen::Kept);
    }
}

/// The release whose instance serves in the slot now, as far as plan and observation say.
fn serving(draft: &Draft<'_>, slot: &SlotId) -> Option<Digest> {
    let want = &draft.slots[slot].want;
    let previous = want.previous.as_ref().map(|previous| previous.release);
    match want.phase {
        Phase::Pulled => previous,
        Phase::Running | Phase::Draining => {
            let previous_runs = want.previous.as_ref().is_some_and(|p| p.phase == Phase::Running);
            match draft.seen(slot, &want.release) {
                Seen::Failed(_) => want.fallback.or(previous),
                Seen::Nothing(_) if draft.had_failed(slot) => want.fallback.or(previous),
                // Nothing was started; what ran, runs.
                Seen::Refused(_) if !draft.is_seen_running(slot, &want.release) && !want.good => {
                    previous.or(want.fallback)
                }
                Seen::Converging(_) | Seen::Nothing(_) if previous_runs => previous,
                // It was to stop first, and has not, and the new one serves nothing yet. What was said about an
                // older plan does not tell: the new one may serve by now, and would be stopped.
                Seen::Converging(_)
                    if want.order == Order::StopFirst
                        && previous.is_some_and(|previous| draft.is_seen_running(slot, &previous))
                        && !draft.is_seen_healthy(slot, &want.release) =>
                {
                    previous
                }
                Seen::Converging(_) | Seen::Nothing(_) | Seen::Available | Seen::Refused(_) => {
                    Some(want.release)
                }
            }
        }
        Phase::Standby | Phase::Absent => None,
    }
}

/// The slot's GPUs for `release`: those it has, and others only if it needs more.
fn gpus_for(draft: &mut Draft<'_>, slot: &SlotId, release: &Release) -> Vec<String> {
    let assignment = draft.slots[slot].clone();
    let wanted = release.spec.resources.gpus.map_or(0, |gpus| gpus.count as usize);
    if assignment.want.gpus.len() == wanted {
        return assignment.want.gpus;
    }
    let taken = draft.taken_by_others(slot, &assignment.host);
    let member = draft.snapshot.fleet.member(&assignment.host);
    let fitting = |member: &Member| taken.fit_gpus(&member.facts, &release.spec, &assignment.want.gpus).ok();
    // What does not fit is left empty: the host refuses it and says so.
    member.and_then(fitting).unwrap_or_default()
}

/// Says why no host takes a slot, host by host, at most five.
pub(super) fn why_nowhere(refused: &BTreeMap<HostId, Unfit>) -> String {
    if refused.is_empty() {
        return "the fleet has no hosts".to_owned();
    }
    let mut texts: Vec<String> = refused.iter().take(5).map(|(host, why)| format!("{host}: {why}")).collect();
    if refused.len() > 5 {
        texts.push(format!("and {} more", refused.len() - 5));
    }
    texts.join("; ")
}
