//! Advancing: replaces slots, within batch, surge and unavailability.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::{Order, Phase};
use crate::release::{Spec, Strategy};
use crate::units::Amount;

use super::draft::Draft;
use super::ending::{self, Faults};
use super::seen::{Seen, Waiting};
use super::{Kind, Progress, Reason, State};

/// How the slots of the new release stand.
#[derive(Default)]
struct Standing {
    total: u32,
    /// Their image is there and nothing is started.
    todo: Vec<SlotId>,
    /// Started and not available yet.
    in_flight: u32,
    available: u32,
    /// Two instances of them run, or may.
    surging: u32,
    /// None of their instances serves, or may not.
    unavailable: u32,
    /// The old instance is still there.
    unfinished: u32,
    lost: Vec<SlotId>,
    faults: Faults,
}

pub(super) fn step(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else { return };
    let spec = &release.spec;
    if matches!(spec.strategy, Strategy::Recreate { .. }) && !stop_all(draft, &to.digest) {
        return deadline(draft, spec, &[]);
    }
    let mut standing = look(draft, &to.digest);
    draft.progress(Progress {
        bytes: 0,
        pulled: 0,
        begun: standing.in_flight + standing.available,
        available: standing.available,
    });
    if let Some(reason) = std::mem::take(&mut standing.faults).record(draft) {
        return ending::on_failure(draft, spec, reason);
    }
    begin(draft, &to.digest, spec, &mut standing);
    let done = standing.todo.is_empty() && standing.in_flight == 0 && standing.unfinished == 0;
    if done && standing.lost.is_empty() {
        draft.go(State::Soaking);
    } else if !draft.is_full() {
        let only_lost = if done { standing.lost.as_slice() } else { &[] };
        deadline(draft, spec, only_lost);
    }
}

/// Past the deadline, slots on lost hosts leave the count if all others are done; else it failed.
fn deadline(draft: &mut Draft<'_>, spec: &Spec, only_lost: &[SlotId]) {
    if !draft.deadline_passed(spec) {
        return;
    }
    if only_lost.is_empty() {
        ending::on_failure(draft, spec, Reason::NoProgress(spec.progress_deadline));
        return;
    }
    let hosts: Vec<_> = only_lost.iter().map(|slot| draft.slots[slot].host.clone()).collect();
    draft.rollout().stragglers.extend(hosts);
}

/// Recreate: stops every old instance before any new one starts. Answers whether all are stopped.
fn stop_all(draft: &mut Draft<'_>, to: &Digest) -> bool {
    let mut stopped = true;
    for slot in ending::counted(draft, to) {
        let Some(previous) = draft.slots[&slot].want.previous.clone() else { continue };
        if draft.slots[&slot].want.phase != Phase::Pulled {
            continue;
        }
        draft.rollout().changed = true;
        draft.edit(&slot, |assignment| {
            assignment.want.order = Order::StopFirst;
            if let Some(previous) = &mut assignment.want.previous {
                previous.phase = Phase::Standby;
            }
        });
        if !old_is_stopped(draft, &slot, &previous.release) {
            stopped = draft.is_lost(&slot) && stopped;
        }
    }
    stopped && !draft.is_full()
}

fn look(draft: &mut Draft<'_>, to: &Digest) -> Standing {
    let mut standing = Standing::default();
    for slot in ending::counted(draft, to) {
        standing.total += 1;
        if draft.slots[&slot].want.phase != Phase::Running {
            if draft.is_lost(&slot) {
                standing.lost.push(slot);
            } else {
                if !draft.serves(&slot) {
                    standing.unavailable += 1;
                }
                standing.todo.push(slot);
            }
            continue;
        }
        look_at_begun(draft, to, slot, &mut standing);
    }
    standing
}

fn look_at_begun(draft: &mut Draft<'_>, to: &Digest, slot: SlotId, standing: &mut Standing) {
    let assignment = &draft.slots[&slot];
    let host = assignment.host.clone();
    let start_first = assignment.want.order == Order::StartFirst;
    let previous = assignment.want.previous.clone();
    let old_runs = previous.as_ref().is_some_and(|p| p.phase == Phase::Running);
    match draft.seen(&slot, to) {
        Seen::Failed(_) if try_again(draft, &slot) => standing.in_flight += 1,
        Seen::Failed(evidence) => standing.faults.failed(&host, &slot, evidence),
        Seen::Refused(refusal) => standing.faults.refused(&host, &slot, refusal),
        Seen::Available => {
            standing.available += 1;
            let Some(previous) = previous else { return };
            // Healthy, and no route names it: the old one may stop.
            draft.edit(&slot, |a| {
                if let Some(previous) = &mut a.want.previous {
                    previous.phase = Phase::Standby;
                }
            });
            if !old_is_stopped(draft, &slot, &previous.release) {
                standing.unfinished += 1;
                standing.surging += u32::from(start_first);
            }
        }
        Seen::Converging(_) => {
            standing.in_flight += 1;
            standing.surging += u32::from(start_first && old_runs);
            standing.unavailable += u32::from(!start_first);
            draft.wait(Waiting::Healthy { host, slot });
        }
        Seen::Nothing(waiting) => {
            draft.wait(waiting);
            if draft.is_lost(&slot) {
                standing.lost.push(slot);
                return;
            }
            standing.in_flight += 1;
            standing.surging += u32::from(start_first && old_runs);
            standing.unavailable += u32::from(!start_first);
        }
    }
}

/// After a resume, a slot that failed gets one more try.
fn try_again(draft: &mut Draft<'_>, slot: &SlotId) -> bool {
    if !draft.rollout().retry_quarantined || draft.slots[slot].want.retry_quarantined {
        return false;
    }
    draft.edit(slot, |assignment| assignment.want.retry_quarantined = true);
    true
}

fn old_is_stopped(draft: &mut Draft<'_>, slot: &SlotId, release: &Digest) -> bool {
    match draft.is_stopped(slot, release) {
        Ok(true) => true,
        Ok(false) => {
            let host = draft.slots[slot].host.clone();
            draft.wait(Waiting::Stop { host, slot: slot.clone() });
            false
        }
        Err(waiting) => {
            draft.wait(waiting);
            false
        }
    }
}

/// Begins as many slots as batch, surge and unavailability allow.
fn begin(draft: &mut Draft<'_>, to: &Digest, spec: &Spec, standing: &mut Standing) {
    let limits = Limits::of(draft, spec, standing);
    let mut todo = std::mem::take(&mut standing.todo);
    todo.sort_by_key(|slot| (draft.serves(slot), slot.index));
    for slot in todo {
        let free = standing.in_flight < limits.batch && !draft.is_full();
        if !free || !begin_one(draft, to, spec, standing, &limits, &slot) {
            standing.todo.push(slot);
        }
    }
}

struct Limits {
    batch: u32,
    surge: u32,
    unavailable: u32,
}

impl Limits {
    fn of(draft: &mut Draft<'_>, spec: &Spec, standing: &Standing) -> Self {
        let total = standing.total;
        let all = Self { batch: u32::MAX, surge: u32::MAX, unavailable: total };
        let (batch, max_surge, max_unavailable) = match spec.strategy {
            Strategy::Recreate { .. } => return all,
            Strategy::Rolling { batch, max_surge, max_unavailable, .. } => {
                (batch, max_surge, max_unavailable)
            }
        };
        // Stop-first where nothing else fits counts as allowed: at least one at a time.
        let unavailable = max_unavailable.of_down(total).max(1);
        if draft.rollout().kind == Kind::Rollback {
            return Self { unavailable: unavailable.max(batch.of_up(total)), ..all };
        }
        // The first batch is one instance, unless a person counted the batch out.
        let first = matches!(batch, Amount::Percent(_)) && standing.available == 0;
        Self {
            batch: if first { 1 } else { batch.of_up(total).max(1) },
            surge: max_surge.of_up(total),
            unavailable,
        }
    }
}

/// Begins one slot if it may be begun now.
fn begin_one(
    draft: &mut Draft<'_>,
    to: &Digest,
    spec: &Spec,
    standing: &mut Standing,
    limits: &Limits,
    slot: &SlotId,
) -> bool {
    let replaces = draft.slots[slot].want.previous.is_some();
    // While a host has not taken its newest plan, what it holds is not known.
    if let Err(waiting) = draft.observation(slot) {
        draft.wait(waiting);
        return false;
    }
    let serves = draft.serves(slot);
    let order = if replaces { draft.order(slot, spec) } else { Order::StartFirst };
    if replaces {
        let allowed = match order {
            Order::StartFirst => standing.surging < limits.surge,
            Order::StopFirst => !serves || standing.unavailable < limits.unavailable,
        };
        if !allowed {
            return false;
        }
    }
    draft.rollout().changed = true;
    draft.edit(slot, |assignment| {
        let want = &mut assignment.want;
        debug_assert_eq!(&want.release, to, "only slots of the new release are begun");
        want.phase = Phase::Running;
        want.order = order;
        if order == Order::StopFirst
            && let Some(previous) = &mut want.previous
        {
            previous.phase = Phase::Standby;
        }
    });
    standing.in_flight += 1;
    standing.surging += u32::from(replaces && order == Order::StartFirst);
    standing.unavailable += u32::from(serves && order == Order::StopFirst);
    true
}
