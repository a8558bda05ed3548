//! The traffic of a service on its way from one release to another: the step that was taken last, and whether every ingress
//! divides the requests by it.

use crate::fleet::Member;
use crate::host::Liveness;
use crate::id::HostId;
use crate::slot::Waiting;
use crate::time::Timestamp;
use crate::traffic::{Split, Taken};
use crate::units::Span;

use super::super::draft::Draft;
use super::super::ending;
use super::super::model::Reason;
use super::super::shift::{Promotion, Shift};

/// How far the traffic has moved; nothing is taken at first.
pub(super) fn shift(draft: &mut Draft<'_>) -> Shift {
    let at = draft.now();
    draft.rollout().shift.get_or_insert_with(|| Shift::new(at)).clone()
}

/// Whether every ingress that counts divides the requests by the weights of the last step. Past the deadline, one on a host
/// that is gone leaves the count, and one that could take them fails the rollout.
pub(super) fn is_in_force(draft: &mut Draft<'_>, split: &Split, deadline: Span) -> bool {
    let now = draft.now();
    let shift = shift(draft);
    let watched = draft.snapshot.fleet.since()..=now;
    if shift.taken == 0 || shift.watched_since.is_some_and(|since| watched.contains(&since)) {
        return true;
    }
    // After a pause, ingresses get the whole time once more.
    let begun = shift.at.max(draft.rollout().state_since);
    let taken = draft.snapshot.fleet.traffic().map_or(Taken::ByAll, |of| of.taken(&draft.service.id, split));
    if taken != Taken::ByAll
        && !is_given_up(draft, split, taken, draft.counted_from(begun) + deadline.duration())
    {
        return false;
    }
    let alone = draft.snapshot.fleet.traffic().and_then(|of| of.alone(&draft.service.id, split));
    if shift.watched_since.is_none() && alone.is_none() {
        draft.tell_switched(split.weight, now.since(begun));
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

/// Whether a person has not approved the step yet, or so long ago that it does not count any more.
pub(super) fn waits_for_approval(draft: &mut Draft<'_>) -> bool {
    let (now, shift) = (draft.now(), shift(draft));
    if shift.approval(now).is_some() {
        return false;
    }
    draft.wait(shift.approved.map_or(Waiting::Approval, |expired| Waiting::ApprovalExpired {
        expired: expired.expires_at(),
        by: expired.by,
    }));
    true
}

/// Notes that step `next` of `last` is taken, with the weights that the service has now.
pub(super) fn take(draft: &mut Draft<'_>, next: u32, last: u32, promoted: Option<Promotion>) {
    let now = draft.now();
    let weight = draft.service.split.as_ref().map(|split| split.weight);
    let rollout = draft.rollout();
    let to = rollout.to;
    rollout.shift = Some(Shift { taken: next, promoted, ..Shift::new(now) });
    rollout.progress_at = now;
    rollout.changed = true;
    if let Some(weight) = weight {
        draft.tell_weighed(to.counter, weight, Some(next), last);
    }
    draft.wake_soon();
}
