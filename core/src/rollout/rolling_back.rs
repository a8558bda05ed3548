//! Rolling back: puts every slot back to the last good release, all at once where both instances fit.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::plan::{Order, Phase};
use crate::release::{Scale, Strategy};
use crate::service::ReleaseRef;

use super::down::Down;
use super::draft::Draft;
use super::ending;
use super::seen::Seen;
use super::waiting::Waiting;
use super::{GoingBack, Progress, Reason, State, placing, recreating, turning};

mod nothing;

/// Slots that may be down at once on the way back, through stops of ours.
const MOST_DOWN: usize = 1;

pub(super) fn step(draft: &mut Draft<'_>) {
    if draft.rollout().is_restart() {
        // There is nothing to go back to: what was begun is of the same release, and goes on.
        return ending::end(draft, State::Aborted, None);
    }
    let how = draft.rollout().going_back.unwrap_or(GoingBack::RolledBack);
    ending::note_late(draft);
    let from = draft.rollout().from;
    match from {
        Some(from) if draft.release(&from.digest).is_some() => back_to(draft, from, how),
        _ => nothing::back_to_nothing(draft, how),
    }
}

/// What becomes of a slot of the release that is left.
enum Fate {
    /// It goes back.
    Back,
    /// It stays: only what failed goes back.
    Stays,
    /// Whether it failed is not known yet.
    Open(Waiting),
}

fn fate(draft: &mut Draft<'_>, slot: &SlotId, how: GoingBack, late: bool) -> Fate {
    let want = &draft.slots[slot].want;
    if how != GoingBack::OnlyFailed || want.phase != Phase::Running {
        return Fate::Back;
    }
    let (release, host) = (want.release, draft.slots[slot].host.clone());
    match draft.seen(slot, &release) {
        Seen::Available => Fate::Stays,
        Seen::Failed(_) | Seen::Refused(_) => Fate::Back,
        Seen::Nothing(_) if draft.is_lost(slot) => Fate::Stays,
        Seen::Nothing(_) | Seen::Converging(_) if late => Fate::Back,
        Seen::Nothing(waiting) => Fate::Open(waiting),
        Seen::Converging(_) => Fate::Open(Waiting::Healthy { host, slot: slot.clone() }),
    }
}

/// The old instance of a slot that stays has done its work, as in any rollout.
fn keep(draft: &mut Draft<'_>, slot: &SlotId) {
    if draft.is_lost(slot) {
        return;
    }
    draft.edit(slot, |assignment| {
        if let Some(previous) = &mut assignment.want.previous {
            previous.phase = Phase::Standby;
        }
    });
}

fn past_deadline(draft: &mut Draft<'_>) -> bool {
    match draft.target() {
        Some((_, release)) => draft.deadline_passed(&release.spec),
        None => true,
    }
}

/// How the slots stand on their way back.
struct Standing {
    /// Not where they are to be.
    missing: u32,
    /// Slots in which something was stopped and nothing serves. Until it does, nothing else that serves is stopped.
    down: Down,
    /// Of those, the hosts where nothing can be done now.
    out_of_reach: Vec<HostId>,
    turned: u32,
    available: u32,
    todo: Vec<SlotId>,
    /// Nothing to go back to: they were made for the release that is left.
    new: Vec<SlotId>,
}

impl Standing {
    const fn new() -> Self {
        Self {
            missing: 0,
            down: Down::none(MOST_DOWN),
            out_of_reach: Vec::new(),
            turned: 0,
            available: 0,
            todo: Vec::new(),
            new: Vec::new(),
        }
    }
}

fn back_to(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack) {
    let late = past_deadline(draft);
    let recreates = draft.is_exclusive()
        || draft
            .target()
            .is_some_and(|(_, release)| matches!(release.spec.strategy, Strategy::Recreate { .. }));
    let to = draft.rollout().to.digest;
    // A rollback to the last good release that turns back has nothing to stop: what it left is what it goes to.
    let stops_nothing = !recreates || how == GoingBack::OnlyFailed || to == from.digest;
    let may_start = stops_nothing || has_stopped(draft, &to, late);
    let mut standing = look(draft, &from, how, late, may_start);
    if how != GoingBack::OnlyFailed {
        take_in(draft, &from, &mut standing);
    }
    // What serves nothing yet because its old instance stopped for the new one is turned first, and counts: only then is
    // it known whether one that serves may stop as well.
    let mut todo = std::mem::take(&mut standing.todo);
    todo.sort_by_cached_key(|slot| (draft.may_serve(slot), slot.index));
    for slot in todo {
        if turning::turn(draft, &slot, &from, &mut standing.down, may_start) {
            standing.turned += 1;
        }
        standing.missing += u32::from(!draft.is_lost(&slot));
    }
    draft.tell_arrived(from, standing.available, standing.turned);
    draft.tell_turned(from);
    let (begun, available) = (standing.turned, standing.available);
    draft.progress(Progress { begun, available, ..Progress::default() });
    let untouched = !draft.rollout().changed && may_start;
    if draft.is_full() {
        return;
    }
    if standing.missing > 0 && !untouched {
        if !past_deadline(draft) {
            return;
        }
        // A host without its engine is brought back later, like one that was lost; it makes no rollback fail.
        if standing.out_of_reach.len() < standing.missing as usize {
            return give_up(draft, from, how);
        }
        draft.rollout().stragglers.extend(std::mem::take(&mut standing.out_of_reach));
    }
    finish(draft, from, how, &standing.new);
}

/// Has everything of the release that is left stopped, which the good one must not run beside? At the deadline, what is out
/// of reach is not waited for any more.
fn has_stopped(draft: &mut Draft<'_>, to: &Digest, late: bool) -> bool {
    let waits_for = match recreating::stop_new(draft, to) {
        recreating::Stopping::Done => return true,
        recreating::Stopping::On { only_lost } => only_lost,
    };
    if waits_for.is_empty() || !late {
        return false;
    }
    let hosts: Vec<HostId> = waits_for.iter().map(|slot| draft.slots[slot].host.clone()).collect();
    draft.leave_behind(hosts);
    let now = draft.now();
    draft.rollout().progress_at = now;
    true
}

fn look(draft: &mut Draft<'_>, from: &ReleaseRef, how: GoingBack, late: bool, may_start: bool) -> Standing {
    let mut standing = Standing::new();
    for slot in draft.slots.keys().cloned().collect::<Vec<_>>() {
        if draft.is_leaving(&slot) {
            continue;
        }
        if draft.is_lost(&slot) {
            let host = draft.slots[&slot].host.clone();
            draft.leave_behind([host]);
        }
        if is_down(draft, &slot) && is_restorable(draft, &slot, &from.digest) {
            standing.down.enter(&slot);
        }
        // One that a rollback to the last good release has not begun is no further than any other: what serves there stops.
        let want = &draft.slots[&slot].want;
        if want.release == from.digest && want.phase != Phase::Pulled {
            look_at_turned(draft, &slot, &from.digest, may_start, &mut standing);
            continue;
        }
        match fate(draft, &slot, how, late) {
            Fate::Stays => keep(draft, &slot),
            Fate::Open(waiting) => {
                draft.wait(waiting);
                standing.missing += 1;
            }
            Fate::Back if is_restorable(draft, &slot, &from.digest) => standing.todo.push(slot),
            Fate::Back => standing.new.push(slot),
        }
    }
    standing
}

/// What was made in the place of slots that went with their hosts stands in for them: it goes back as well, as far as the
/// count from before wants it. Otherwise it would stop, and others would be made, all at once.
fn take_in(draft: &mut Draft<'_>, from: &ReleaseRef, standing: &mut Standing) {
    let Some(release) = draft.release(&from.digest) else { return };
    let new: BTreeSet<SlotId> = standing.new.iter().cloned().collect();
    let back = draft.slots.iter().filter(|(slot, _)| !new.contains(*slot) && !draft.is_leaving(slot));
    let mut hosts: BTreeSet<HostId> = back.map(|(_, assignment)| assignment.host.clone()).collect();
    let have = draft.slots.keys().filter(|slot| !new.contains(*slot) && !draft.is_leaving(slot)).count();
    let mut missing = match release.spec.scale {
        Scale::Replicas { min, max } => {
            (draft.rollout().replicas_before.clamp(min, max) as usize).saturating_sub(have)
        }
        Scale::PerHost => usize::MAX,
    };
    let (todo, per_host) = (&mut standing.todo, release.spec.scale == Scale::PerHost);
    standing.new.retain(|slot| {
        let assignment = &draft.slots[slot];
        let fits = assignment.want.phase == Phase::Running && placing::stays(draft, slot, release);
        if missing == 0 || !fits || (per_host && !hosts.insert(assignment.host.clone())) {
            return true;
        }
        missing -= 1;
        todo.push(slot.clone());
        false
    });
}

/// Did something stop there for the release that is left, or for this one, so that nothing goes on serving now?
fn is_down(draft: &Draft<'_>, slot: &SlotId) -> bool {
    let stopped = draft.slots[slot].want.order == Order::StopFirst;
    stopped && !draft.is_lost(slot) && !draft.goes_on_serving(slot)
}

fn is_restorable(draft: &mut Draft<'_>, slot: &SlotId, from: &Digest) -> bool {
    let want = &draft.slots[slot].want;
    let known = &want.release == from
        || want.fallback == Some(*from)
        || want.previous.as_ref().is_some_and(|previous| &previous.release == from);
    known || slot.index < draft.rollout().first_new
}

/// Looks after a slot that was turned back, or was never turned away.
fn look_at_turned(
    draft: &mut Draft<'_>,
    slot: &SlotId,
    from: &Digest,
    may_start: bool,
    standing: &mut Standing,
) {
    standing.turned += 1;
    if draft.slots[slot].want.phase != Phase::Running && may_start && draft.may_start(Some(slot)) {
        draft.edit(slot, |assignment| assignment.want.phase = Phase::Running);
    }
    let host = draft.slots[slot].host.clone();
    let waiting = match draft.seen(slot, from) {
        _ if draft.is_lost(slot) => return,
        Seen::Available => {
            standing.available += 1;
            draft.arrived(slot);
            return draft.edit(slot, |assignment| assignment.want.previous = None);
        }
        Seen::Nothing(waiting) => waiting,
        Seen::Converging(_) | Seen::Failed(_) | Seen::Refused(_) => {
            Waiting::Healthy { host, slot: slot.clone() }
        }
    };
    if draft.is_out_of_reach(slot) {
        standing.out_of_reach.push(draft.slots[slot].host.clone());
    }
    draft.wait(waiting);
    standing.missing += 1;
}

/// The old release did not come back everywhere in time. A person looks; from here on it is what the
/// service is at, so that hosts that come or go are cared for.
fn give_up(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack) {
    let before = draft.rollout().reason.as_ref().map(ToString::to_string).unwrap_or_default();
    let text = format!("{before}; then {} did not become available everywhere", from.counter);
    settle(draft, from, how);
    ending::end(draft, State::Failed, Some(Reason::RollbackFailed(text)));
}

fn settle(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack) {
    if how != GoingBack::OnlyFailed {
        draft.service.replicas = draft.rollout().replicas_before;
        draft.service.current = Some(from);
    }
}

/// Everything that is to serve, serves: new slots go, and the rollout ends.
fn finish(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack, new: &[SlotId]) {
    for slot in new {
        draft.drop_slot(slot);
    }
    if draft.is_full() {
        return;
    }
    let state = match how {
        GoingBack::RolledBack => State::RolledBack,
        GoingBack::Aborted => State::Aborted,
        GoingBack::Untouched | GoingBack::OnlyFailed => State::Failed,
    };
    settle(draft, from, how);
    ending::end(draft, state, None);
}
