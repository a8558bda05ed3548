//! Blue/green: a second set beside the first one at full strength, and the traffic in steps from one to the other.
//!
//! ```text
//!  start all, without traffic ──▶ approval ──▶ weights of step 1 ──▶ every ingress has taken them ──▶ watch ──▶ … ──▶ soak
//! ```
//!
//! The old set runs until the rollout is over, and as long after it as `keep_old` says. A rollback asks nobody and watches
//! nothing: it takes the last step at once.

use crate::fleet::Member;
use crate::host::Liveness;
use crate::id::HostId;
use crate::slot::{Limits, Waiting};
use crate::time::Timestamp;
use crate::traffic::{Split, Taken, Weight};
use crate::units::Span;

use super::super::draft::Draft;
use super::super::ending;
use super::super::model::{Kind, Promotion, Reason, Shift, State};
use super::standing::{Old, Standing};

/// The part of the manifest that decides how the traffic moves.
pub(super) struct Params<'a> {
    /// Shares of the traffic, one step after the other.
    pub(super) steps: &'a [Weight],
    /// How long the new set is watched after each step.
    pub(super) watch: Span,
    /// Whether a person lets the first step begin.
    pub(super) approve: bool,
}

pub(super) fn step(draft: &mut Draft<'_>, params: &Params<'_>) {
    let Some(mut standing) = Standing::look(draft, Old::RunsOn) else { return };
    standing.begin(draft, Limits::NONE);
    if !standing.is_complete() {
        return standing.look_at_deadline(draft);
    }
    let Some(split) = draft.service.split.clone().filter(|split| split.new == standing.to.digest) else {
        // No other release serves beside it.
        return draft.go(State::Soaking);
    };
    draft.is_steady(standing.spec.progress_deadline);
    if is_in_force(draft, &split, standing.spec.progress_deadline) && !is_held(draft, params, &split) {
        take_step(draft, params, split);
    }
}

/// Whether every ingress that counts divides the requests by the weights of the last step. Past the deadline, one on a host
/// that is gone leaves the count, and one that could take them fails the rollout.
fn is_in_force(draft: &mut Draft<'_>, split: &Split, deadline: Span) -> bool {
    let now = draft.now();
    let new = Shift { taken: 0, at: now, watched_since: None, promoted: None };
    let shift = *draft.rollout().shift.get_or_insert(new);
    let watched = draft.snapshot.fleet.since()..=now;
    if shift.taken == 0 || shift.watched_since.is_some_and(|since| watched.contains(&since)) {
        return true;
    }
    let taken = draft.snapshot.fleet.traffic().map_or(Taken::ByAll, |of| of.taken(&draft.service.id, split));
    if taken != Taken::ByAll
        && !is_given_up(draft, split, taken, draft.counted_from(shift.at) + deadline.duration())
    {
        return false;
    }
    if shift.watched_since.is_none() {
        draft.tell_switched(split.weight, now.since(shift.at));
    }
    draft.rollout().shift = Some(Shift { watched_since: Some(now), ..shift });
    true
}

/// Waits for the weights until `until`. Answers whether those that have not taken them by then are not waited for any more.
fn is_given_up(draft: &mut Draft<'_>, split: &Split, taken: Taken, until: Timestamp) -> bool {
    let (is_said, missing) = match taken {
        Taken::ByAll => return true,
        Taken::NotSaid => (false, Vec::new()),
        Taken::Missing(hosts) => (true, hosts),
    };
    draft.wait(Waiting::Switch { weight: split.weight, missing: missing.clone() });
    if draft.now() < until {
        draft.wake(until);
        draft.wake_soon();
        return false;
    }
    let is_there = |host: &&HostId| {
        let member = draft.snapshot.fleet.member(host);
        member.is_some_and(|member: &Member| member.liveness == Liveness::Connected)
    };
    let refusing: Vec<&str> = missing.iter().filter(is_there).map(|host| host.as_str()).collect();
    let reason = match (is_said, refusing.is_empty()) {
        (true, true) => return true,
        (true, false) => Reason::NotSwitched(Some(refusing.join(", "))),
        (false, _) => Reason::NotSwitched(None),
    };
    let Some((_, release)) = draft.target() else { return false };
    ending::on_failure(draft, &release.spec, reason);
    false
}

/// Whether the traffic stays as it is for now: a person has to let it move, or the watch over the last step goes on.
fn is_held(draft: &mut Draft<'_>, params: &Params<'_>, split: &Split) -> bool {
    let Some(shift) = draft.rollout().shift else { return true };
    if shift.promoted.is_some() || draft.rollout().kind != Kind::Deploy {
        return false;
    }
    if shift.taken == 0 {
        if params.approve {
            draft.wait(Waiting::Approval);
        }
        return params.approve;
    }
    // The watch over the last step is the soak.
    if shift.taken as usize >= params.steps.len() {
        return false;
    }
    let until = shift.watched_since.unwrap_or(draft.now()) + params.watch.duration();
    if draft.now() >= until {
        return false;
    }
    draft.wait(Waiting::Watch { weight: split.weight, until });
    draft.wake(until);
    true
}

/// Gives the new release its next share, or comes to the soak after the last one.
fn take_step(draft: &mut Draft<'_>, params: &Params<'_>, mut split: Split) {
    let to = draft.rollout().to;
    let Some(shift) = draft.rollout().shift else { return };
    let full = shift.promoted == Some(Promotion::Full) || draft.rollout().kind != Kind::Deploy;
    let last = u32::try_from(params.steps.len()).unwrap_or(u32::MAX);
    if shift.taken >= last {
        return draft.go(State::Soaking);
    }
    let next = if full { last } else { shift.taken + 1 };
    let Some(weight) = params.steps.get(next as usize - 1).copied() else { return };
    split.weight = weight;
    draft.service.split = Some(split);
    let now = draft.now();
    let rollout = draft.rollout();
    let promoted = shift.promoted.filter(|promoted| *promoted == Promotion::Full);
    rollout.shift = Some(Shift { taken: next, at: now, watched_since: None, promoted });
    rollout.progress_at = now;
    rollout.changed = true;
    draft.tell_weighed(to.counter, weight, Some(next), last);
    draft.wake_soon();
}
