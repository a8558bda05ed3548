//! The beginning of a rollout: may it begin, and which slots does it move?

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::fleet::{Member, Scheduling};
use crate::host::Liveness;
use crate::id::{HostId, RolloutId, SlotId};
use crate::placement::{self, Candidates, Unfit};
use crate::plan::{Order, Phase, Previous};
use crate::release::{Release, Scale};
use crate::service::{ReleaseRef, Service};
use crate::time::Timestamp;

use super::draft::Draft;
use super::seen::{Seen, Waiting};
use super::{GoingBack, Kind, Progress, Reason, Rollout, State, ending};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where to.
    pub release: ReleaseRef,
    /// Forward or back.
    pub kind: Kind,
    /// Who asks.
    pub actor: String,
    /// End an active rollout and keep its fallback.
    pub supersede: bool,
    /// Start it although its content failed before.
    pub retry_quarantined: bool,
}

/// Why a rollout may not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Another one moves the service.
    #[error("rollout {0} of this service is active")]
    Active(RolloutId),
}

/// Makes the rollout of `target`. Answers with the service and the rollout to store, and with the one
/// that it supersedes.
///
/// # Errors
/// Another rollout is active and was not to be superseded; a rollback always supersedes.
pub fn start(
    service: &Service,
    active: Option<&Rollout>,
    target: Target,
    id: RolloutId,
    now: Timestamp,
) -> Result<(Service, Rollout, Option<Rollout>), StartError> {
    let active = active.filter(|rollout| !rollout.state.is_final());
    if let Some(rollout) = active
        && target.kind == Kind::Deploy
        && !target.supersede
    {
        return Err(StartError::Active(rollout.id.clone()));
    }
    let mut service = service.clone();
    let superseded = active.map(|rollout| {
        let mut ended = rollout.clone();
        ended.state = State::Superseded;
        ended.state_since = now;
        ended.reason = Some(Reason::SupersededBy(id.clone()));
        ended
    });
    match target.kind {
        Kind::Deploy => service.last_counter = service.last_counter.max(target.release.counter.0),
        Kind::Rollback => hold(&mut service, target.release),
    }
    service.held.retain(|content| *content != target.release.content);
    service.rollout = Some(id.clone());
    let rollout = Rollout {
        id,
        service: service.id.clone(),
        kind: target.kind,
        actor: target.actor,
        from: service.last_good(),
        to: target.release,
        state: State::Pending,
        created_at: now,
        state_since: now,
        progress_at: now,
        progress: Progress::default(),
        soak_since: None,
        resume: None,
        going_back: None,
        changed: false,
        replicas_before: active.map_or(service.replicas, |rollout| rollout.replicas_before),
        first_new: active.map_or(service.next_index, |rollout| rollout.first_new),
        failures: Vec::new(),
        stragglers: active.map(|rollout| rollout.stragglers.clone()).unwrap_or_default(),
        retry_quarantined: target.retry_quarantined,
        reason: None,
    };
    service.current = Some(target.release);
    Ok((service, rollout, superseded))
}

/// A release that a person rolls back from is held, so that automation does not bring it back.
fn hold(service: &mut Service, to: ReleaseRef) {
    let left = service.current.filter(|current| current.content != to.content);
    if let Some(left) = left
        && !service.held.contains(&left.content)
    {
        service.held.push(left.content);
        let surplus = service.held.len().saturating_sub(crate::service::HISTORY);
        service.held.drain(..surplus);
    }
}

/// Pending: gives every slot its part in the rollout. Nothing is started yet.
pub(super) fn place(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else {
        return ending::go_back(draft, GoingBack::Untouched, Reason::NoPlace("its release is gone".into()));
    };
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

/// There is no place for a slot.
enum Nowhere {
    /// Some hosts have not been heard of yet, or not for a moment.
    Yet,
    /// Every host says no; why.
    At(String),
}

impl Nowhere {
    fn because(draft: &mut Draft<'_>, candidates: &Candidates<'_>, refused: &BTreeMap<HostId, Unfit>) -> Self {
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
        prepare(draft, slot, to, release);
    }
    let missing = (count as usize).saturating_sub(keep.len());
    if missing == 0 || draft.is_full() {
        return Ok(());
    }
    let candidates = Candidates::of(draft.snapshot.fleet, release);
    let mut taken = draft.taken();
    let mut own = draft.own();
    for _ in 0..missing {
        if draft.is_full() {
            return Ok(());
        }
        let (host, gpus) = candidates
            .choose(&taken, &own)
            .map_err(|refused| Nowhere::because(draft, &candidates, &refused))?;
        taken.entry(host.clone()).or_default().add_instance(&release.spec, &gpus);
        *own.entry(host.clone()).or_insert(0) += 1;
        let good = draft.rollout().is_to_good();
        draft.add_slot(host, to.digest, Phase::Pulled, good, gpus, None);
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
        // A service that had several on a host keeps one there.
        if has.insert(draft.slots[slot].host.clone()) {
            prepare(draft, slot, to, release);
        }
    }
    let taken = draft.taken();
    let mut refused = BTreeMap::new();
    for (host, member) in draft.snapshot.fleet.members.iter().filter(|(host, _)| !has.contains(*host)) {
        match placement::accepts(host, member, release, &taken[host]) {
            Ok(gpus) => {
                let good = draft.rollout().is_to_good();
                draft.add_slot(host.clone(), to.digest, Phase::Pulled, good, gpus, None);
            }
            Err(unfit) => {
                refused.insert(host.clone(), unfit);
            }
        }
    }
    if draft.slots.values().any(|a| a.want.release == to.digest) {
        return Ok(());
    }
    let candidates = Candidates::of(draft.snapshot.fleet, release);
    Err(Nowhere::because(draft, &candidates, &refused))
}

/// Does the slot stay on its host for `release`?
fn stays(draft: &Draft<'_>, slot: &SlotId, release: &Release) -> bool {
    let host = &draft.slots[slot].host;
    let Some(member) = draft.snapshot.fleet.members.get(host) else { return false };
    let fits = match placement::eligible(host, member, release) {
        Ok(()) => true,
        // Facts of a host that is away are old; it keeps its slot until it returns.
        Err(Unfit::Policy(_) | Unfit::Platform(..)) => member.liveness != Liveness::Connected,
        Err(Unfit::NotConnected(_) | Unfit::NotScheduling(_) | Unfit::Labels | Unfit::NoRoom(_)) => false,
    };
    fits && member.scheduling != Scheduling::Draining
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
    draft.edit(slot, |assignment| {
        let want = &mut assignment.want;
        want.release = to.digest;
        want.good = good;
        want.phase = if stays_running { Phase::Running } else { Phase::Pulled };
        want.fallback = from.filter(|_| !good);
        want.order = Order::StartFirst;
        want.previous =
            serving.filter(|_| !stays_running).map(|release| Previous { release, phase: Phase::Running });
        want.retry_quarantined = retry;
        want.gpus = gpus;
        assignment.standby_until = None;
    });
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
                Seen::Failed(_) | Seen::Refused(_) => want.fallback.or(previous),
                Seen::Converging(_) | Seen::Nothing(_) if previous_runs => previous,
                Seen::Converging(_) | Seen::Nothing(_) | Seen::Available => Some(want.release),
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
    let member = draft.snapshot.fleet.members.get(&assignment.host);
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
