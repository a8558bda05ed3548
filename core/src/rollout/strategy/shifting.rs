//! The traffic of a service on its way from one release to another: the step that was taken last, and whether every ingress
//! divides the requests by it.

use crate::fleet::Member;
use crate::host::Liveness;
use crate::id::HostId;
use crate::slot::Waiting;
use crate::time::Timestamp;
use crate::traffic::{Split, Taken};
use crate::units::Span;

use super::super::ending;
use super::super::model::Reason;
use super::super::planner::Planner;
use super::super::shift::{Promotion, Shift};

/// The progress of the traffic; nothing is taken at first.
pub(super) fn shift(planner: &mut Planner<'_>) -> Shift {
    let at = planner.now();
    planner.rollout().shift.get_or_insert_with(|| Shift::new(at)).clone()
}

/// Whether every ingress that counts divides the requests by the weights of the last step. Past the deadline, one on a host
/// that is gone leaves the count, and one that could take them fails the rollout.
pub(super) fn is_in_force(planner: &mut Planner<'_>, split: &Split, deadline: Span) -> bool {
    let now = planner.now();
    let shift = shift(planner);
    let watched = planner.snapshot.fleet.since()..=now;
    if shift.taken == 0 || shift.watched_since.is_some_and(|since| watched.contains(&since)) {
        return true;
    }
    // After a pause, ingresses get the whole time once more.
    let begun = shift.at.max(planner.rollout().state_since);
    let traffic = planner.snapshot.fleet.traffic();
    let taken = traffic.map_or(Taken::ByAll, |of| of.taken(&planner.service.id, split, now));
    if taken != Taken::ByAll
        && !is_given_up(planner, split, taken, planner.counted_from(begun) + deadline.duration())
    {
        return false;
    }
    let alone = planner.snapshot.fleet.traffic().and_then(|of| of.alone(&planner.service.id, split));
    if shift.watched_since.is_none() && alone.is_none() {
        planner.note_switched(split.weight, now.since(begun));
    }
    planner.rollout().shift = Some(Shift { watched_since: Some(now), ..shift });
    true
}

/// Waits for the weights until `until`. Answers whether those that have not taken them by then are not waited for any more.
fn is_given_up(planner: &mut Planner<'_>, split: &Split, taken: Taken, until: Timestamp) -> bool {
    let (is_said, missing) = match taken {
        Taken::ByAll => return true,
        Taken::NotSaid => (false, Vec::new()),
        Taken::Missing(hosts) => (true, hosts),
    };
    planner.wait(Waiting::Switch { weight: split.weight, missing: missing.clone() });
    if planner.now() < until {
        planner.wake(until);
        planner.wake_soon();
        return false;
    }
    let is_there = |host: &&HostId| {
        let member = planner.snapshot.fleet.member(host);
        member.is_some_and(|member: &Member| member.liveness == Liveness::Connected)
    };
    let refusing: Vec<&str> = missing.iter().filter(is_there).map(|host| host.as_str()).collect();
    let reason = match (is_said, refusing.is_empty()) {
        (true, true) => return true,
        (true, false) => Reason::NotSwitched(Some(refusing.join(", "))),
        (false, _) => Reason::NotSwitched(None),
    };
    let Some((_, release)) = planner.target() else { return false };
    ending::on_failure(planner, &release.spec, reason);
    false
}

/// Whether a person has not approved the step yet, or so long ago that it does not count any more.
pub(super) fn waits_for_approval(planner: &mut Planner<'_>) -> bool {
    let (now, shift) = (planner.now(), shift(planner));
    if shift.approval(now).is_some() {
        return false;
    }
    planner.wait(shift.approved.map_or(Waiting::Approval, |expired| Waiting::ApprovalExpired {
        expired: expired.expires_at(),
        by: expired.by,
    }));
    true
}

/// Notes that step `next` of `last` is taken, with the weights that the service has now.
pub(super) fn take(planner: &mut Planner<'_>, next: u32, last: u32, promoted: Option<Promotion>) {
    let now = planner.now();
    let weight = planner.service.split.as_ref().map(|split| split.weight);
    let rollout = planner.rollout();
    let to = rollout.to;
    rollout.shift = Some(Shift { taken: next, promoted, ..Shift::new(now) });
    rollout.progress_at = now;
    rollout.changed = true;
    if let Some(weight) = weight {
        planner.note_weighed(to.counter, weight, Some(next), last);
    }
    planner.wake_soon();
}
