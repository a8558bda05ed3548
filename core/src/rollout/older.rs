//! The instances that restarts replace: they run on beside the new one until no request goes there, and are let go.
//!
//! ```text
//! restart N ──▶ kept: both run ──▶ the new one is available ──▶ every ingress knows, no request under way ──▶ let go: stops
//! ```
//!
//! It is the same in every state of a rollout and after it, so that an abort or a deploy in between leaves nothing behind.

use crate::id::SlotId;
use crate::plan::{Order, PLAN_OF_KEPT};
use crate::release::{Release, Spec};
use crate::slot::{Older, Seen, Transition, Waiting};

use super::planner::Planner;

/// Whether an instance that is replaced in `order` by one of the same release is kept until it is let go: requests may go there, and the
/// agent reads plans that say so. Any other agent stops it by itself.
pub(super) fn is_kept(planner: &Planner<'_>, slot: &SlotId, spec: &Spec, order: Order) -> bool {
    let is_routed = spec.ports.values().any(|port| port.protocol.routed().is_some());
    let known = planner.member_of(slot).map(|member| &member.facts.plan_versions);
    order == Order::StartFirst && is_routed && known.is_some_and(|known| known.contains(&PLAN_OF_KEPT))
}

fn kept(planner: &Planner<'_>) -> Vec<SlotId> {
    planner.slots_that(|slot| slot.older() == Some(Older::Kept))
}

/// Lets those go whose replacement is available, and to which no request goes any more. Where the new instance has failed, the old one is
/// the only one.
pub(super) fn let_go(planner: &mut Planner<'_>) {
    for slot in kept(planner) {
        // An agent that was taken back to a version before is sent a plan that it reads.
        let known = planner.member_of(&slot).map(|member| &member.facts.plan_versions);
        let is_too_old = known.is_some_and(|known| !known.is_empty() && !known.contains(&PLAN_OF_KEPT));
        let is_target = planner.slots[&slot].run().runs();
        let facts = planner.facts(&slot);
        let by_host = is_too_old || (is_target && matches!(facts.target(), Seen::Failed(_)));
        if by_host || (is_target && facts.is_available()) {
            planner.apply(&slot, &Transition::LetGo { by_host });
        }
    }
}

/// Whether two instances of the release that a slot is at run there, of which only one may be known to serve: there is no room for a third.
fn has_two(planner: &Planner<'_>, slot: &SlotId) -> bool {
    let at = &planner.slots[slot];
    let restarted = at.restarted().filter(|_| at.older() == Some(Older::Kept));
    restarted.is_some_and(|of| {
        let (older, newer) = planner.facts(slot).last_ran_of(&of.release, of.generation);
        older > 0 && newer > 0
    })
}

/// The order in which another release replaces both of them.
pub(crate) fn order(planner: &Planner<'_>, slot: &SlotId) -> Option<(Order, Option<String>)> {
    has_two(planner, slot).then(stop_first)
}

/// Where two run already.
pub(super) fn stop_first() -> (Order, Option<String>) {
    (Order::StopFirst, Some("two instances run there already".to_owned()))
}

/// Whether a slot that is to restart once more is in the middle of a restart that ends by itself: its new instance is not proven yet, or the old one
/// drains. Where the new one does not serve any more, it is replaced.
pub(super) fn is_on_its_way(planner: &mut Planner<'_>, slot: &SlotId) -> bool {
    if planner.slots[slot].older() != Some(Older::Kept) {
        return false;
    }
    let facts = planner.facts(slot);
    let has_failed = matches!(facts.target(), Seen::Failed(_) | Seen::Refused(_));
    let waits = !has_failed && (facts.is_available() || facts.is_unproven());
    if waits && !planner.waits_for_drain(slot) {
        planner.wait(Waiting::Healthy { host: facts.host().clone(), slot: slot.clone() });
    }
    waits
}

/// Whether a deploy waits for slots in the middle of a restart, so that each of its slots has room for the new instance. Past its
/// deadline, and for hosts that are out of reach, it waits no longer: there both instances go first.
pub(super) fn are_on_their_way(planner: &mut Planner<'_>, release: &Release) -> bool {
    let mut waits = false;
    for slot in planner.slots_that(|slot| slot.older().is_some() && slot.run().runs()) {
        let facts = planner.facts(&slot);
        let target = planner.slots[&slot].target();
        let (older, _) = facts.last_ran_of(&target.release, target.generation);
        if older == 0
            || facts.is_out_of_reach()
            || matches!(facts.target(), Seen::Failed(_) | Seen::Refused(_))
        {
            continue;
        }
        waits = true;
        if !planner.waits_for_drain(&slot) {
            let host = facts.host().clone();
            let is_let_go = planner.slots[&slot].older() == Some(Older::LetGo);
            planner.wait(if is_let_go {
                Waiting::Stop { host, slot }
            } else {
                Waiting::Healthy { host, slot }
            });
        }
    }
    waits && !planner.deadline_passed(&release.spec)
}
