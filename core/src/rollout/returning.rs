//! One of two releases that run side by side gets all of the traffic: on the way back of a rollout, at a rollback to a release
//! that is still warm, and before another rollout begins.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::{Order, Phase};
use crate::slot::{Certainty, Intent, Seen, Transition};
use crate::time::Timestamp;
use crate::traffic::{Split, Weight};
use crate::units::Span;

use super::ending;
use super::guard;
use super::model::{Kind, Reason, State};
use super::planner::Planner;
use super::revert::retarget;

mod strength;

pub(crate) use strength::lacking;
use strength::{Strength, strength};

/// Half of the requests, in thousandths.
const HALF: u16 = 500;

/// Whether a release has the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Led {
    /// It has every request.
    Done,
    /// Not yet.
    Later,
    /// Not yet: it lacks instances, and no host has room for them.
    Short,
}

/// Gives `keep` every request, and makes it the target of each slot that runs it; what runs beside it goes on, without
/// traffic. That waits until `keep` is at strength, unless it has most of the requests already, or it is too `late` for that:
/// then it only has to serve. Never gives them to a release that does not serve while the other one does.
pub(crate) fn lead_back(planner: &mut Planner<'_>, keep: &Digest, late: bool) -> Led {
    let Some(split) = planner.service.split.clone().filter(|split| split.names(keep)) else {
        return Led::Done;
    };
    let strength = strength(planner, keep);
    let share = split.share(keep);
    let serves = guard::serves(planner, keep) == Certainty::Yes;
    let leads = share == Weight::ALL || share.permille() > HALF && serves;
    if planner.is_full() {
        return Led::Later;
    }
    if guard::holds_from(planner, keep) || !(strength == Strength::Strong || late || leads) {
        return if strength == Strength::Short { Led::Short } else { Led::Later };
    }
    give_all(planner, split, keep);
    for slot in planner.staying() {
        let at = &planner.slots[&slot];
        if at.release() != *keep && at.other().is_some_and(|other| &other.release == keep && other.run.runs())
        {
            retarget(planner, &slot, keep);
        }
    }
    if planner.is_full() { Led::Later } else { Led::Done }
}

fn give_all(planner: &mut Planner<'_>, before: Split, release: &Digest) {
    let mut split = before.clone();
    split.give_all(release);
    if split != before {
        note_weight(planner, &split);
        planner.service.split = Some(split);
        planner.touches_containers();
    }
}

fn note_weight(planner: &mut Planner<'_>, split: &Split) {
    let Some(release) = planner.release(&split.new) else { return };
    let counter = release.counter;
    if planner.rollout.is_some() {
        planner.note_weighed(counter, split.weight, None, 0);
    }
}

/// The release that serves alone before a rollout places anything: the one it goes to if that still runs, else the last good one.
fn to_keep(planner: &Planner<'_>, split: &Split, late: bool) -> Option<Digest> {
    let rollout = planner.rollout.as_ref()?;
    let to = Some(rollout.to.digest).filter(|to| rollout.kind != Kind::Deploy && split.names(to));
    let keep = to.or(planner.service.last_good().map(|good| good.digest));
    let keep = keep.filter(|keep| split.names(keep) && planner.release(keep).is_some())?;
    // A fix gets in also where nothing is left of the good release: what serves, serves until then.
    let other = split.beside(&keep).filter(|other| planner.release(other).is_some());
    let other = other.filter(|_| late && rollout.kind == Kind::Deploy);
    Some(other.filter(|other| guard::holds(planner, &keep, other)).unwrap_or(keep))
}

/// The release of a divided service that a rollout begins beside.
pub(super) fn keeps(planner: &Planner<'_>) -> Option<Digest> {
    to_keep(planner, planner.service.split.as_ref()?, false)
}

/// When the release that is to serve alone must do so.
fn due(planner: &mut Planner<'_>) -> Option<Timestamp> {
    let deadline = planner.target()?.1.spec.progress_deadline.duration();
    let state_since = planner.rollout().state_since;
    Some(planner.counted_from(state_since) + deadline)
}

/// Before a rollout places anything, one release serves alone. Answers whether that is so.
pub(crate) fn gather(planner: &mut Planner<'_>) -> bool {
    let Some(split) = planner.service.split.clone() else { return true };
    let Some(due) = due(planner) else { return false };
    let is_late = planner.now() >= due;
    let Some(keep) = to_keep(planner, &split, is_late) else {
        planner.service.split = None;
        return true;
    };
    let kind = planner.rollout().kind;
    // A person, or a trigger, wants that release: in the end one instance of it that serves is enough.
    let is_enough = is_late && kind != Kind::Deploy;
    match lead_back(planner, &keep, is_enough) {
        Led::Done => {}
        // It is placed like any other release, in batches where nothing has room for both.
        Led::Short if kind == Kind::Rollback => return leave_lost(planner, &keep),
        Led::Short if is_late && !guard::holds_from(planner, &keep) => {
            give_all(planner, split, &keep);
            planner.wake_now();
            return false;
        }
        Led::Later | Led::Short => return wait(planner, &keep, due),
    }
    // The other release has no requests any more. Its instances go once they are no help where one of `keep` is ill.
    if strength(planner, &keep) == Strength::Growing {
        let holds = guard::holds_from(planner, &keep);
        let other = split.beside(&keep).filter(|_| holds && kind == Kind::Rollback);
        if let Some(other) = other.filter(|_| guard::serves(planner, &keep) == Certainty::No) {
            let split = planner.service.split.clone().unwrap_or(split);
            give_all(planner, split, &other);
        }
        if !is_late || holds {
            // A host that has not answered to its newest plan says nothing of its instance.
            if is_ill(planner, &keep) {
                help(planner, &keep);
            }
            return wait(planner, &keep, due);
        }
    }
    if !drop_others(planner, &keep) {
        return false;
    }
    if !planner.rollout().is_restart() || planner.slots.values().all(|slot| !slot.is_kept()) {
        planner.service.split = None;
    }
    true
}

/// Removes every instance of the other release. A restart leaves alone what is warm on other hosts. Answers whether all have gone.
fn drop_others(planner: &mut Planner<'_>, keep: &Digest) -> bool {
    let restarts = planner.rollout().is_restart();
    for slot in planner.staying() {
        let at = &planner.slots[&slot];
        if restarts && at.is_kept() {
            continue;
        }
        if at.release() != *keep {
            // It was made for the release that is left.
            if at.run().runs() {
                planner.touches_containers();
            }
            planner.drop_slot(&slot);
        } else if at.other().is_some_and(|other| other.run.runs()) {
            planner.touches_containers();
            planner.apply(&slot, &Transition::Forget);
        }
    }
    if planner.is_full() || planner.drains() {
        return false;
    }
    // Only now, so that a rollout that turns back before finds them as they were.
    for slot in planner.staying() {
        if planner.slots[&slot].is_kept() && !restarts {
            rejoin(planner, &slot);
        }
    }
    !planner.is_full()
}

/// One that is kept is a member again, unless its host is lost.
fn rejoin(planner: &mut Planner<'_>, slot: &SlotId) {
    if planner.facts(slot).is_lost() {
        planner.drop_slot(slot);
    } else {
        planner.apply(slot, &Transition::Unpair);
    }
}

/// Removes warm instances on lost hosts, which are of no help. Answers whether all of them have gone.
fn leave_lost(planner: &mut Planner<'_>, keep: &Digest) -> bool {
    for slot in planner.staying() {
        let at = &planner.slots[&slot];
        if at.is_kept() && at.release() == *keep && planner.facts(&slot).is_lost() {
            planner.drop_slot(&slot);
        }
    }
    !planner.is_full()
}

/// Whether an instance of `keep` is known not to serve, on a host where something can be done.
fn is_ill(planner: &Planner<'_>, keep: &Digest) -> bool {
    let runs = planner.slots.values().filter(|slot| !slot.is_leaving() && Intent::from(*slot).has_run(keep));
    let facts = runs.map(|slot| planner.facts(slot.id())).filter(|facts| !facts.is_out_of_reach());
    facts
        .map(|facts| facts.of(keep))
        .any(|seen| matches!(seen, Seen::Converging(_) | Seen::Failed(_) | Seen::Refused(_)))
}

/// Instances of the other release that drain run on.
fn help(planner: &mut Planner<'_>, keep: &Digest) {
    for slot in planner.staying() {
        let at = &planner.slots[&slot];
        if at.release() != *keep && at.run() == Phase::Draining {
            planner.apply(&slot, &Transition::Resume);
        } else if let Some(other) = at.other().filter(|other| other.run == Phase::Draining) {
            let beside = Some(other.release).filter(|_| at.release() == *keep);
            let revert = Transition::Revert { to: *keep, beside, order: Order::StartFirst, starts: true };
            if beside.is_some() {
                planner.apply(&slot, &revert);
            }
        }
    }
}

/// Waits until `due`; then the rollout ends, and the service stays at the release that it was at. Answers that nothing is placed.
fn wait(planner: &mut Planner<'_>, keep: &Digest, due: Timestamp) -> bool {
    if planner.is_full() {
        return false;
    }
    if planner.now() < due {
        planner.wake(due);
        return false;
    }
    let reason = not_led(planner, keep);
    planner.service.current = planner.service.last_good().or(planner.service.current);
    ending::end(planner, State::Failed, Some(reason));
    false
}

fn not_led(planner: &mut Planner<'_>, keep: &Digest) -> Reason {
    let within = planner.target().map_or(Span::ZERO, |(_, release)| release.spec.progress_deadline);
    let other = planner.service.split.as_ref().and_then(|split| split.beside(keep));
    let counter = |release: &Digest| planner.release(release).map(|release| release.counter);
    let serves = other.filter(|other| guard::serves(planner, other) == Certainty::Yes);
    match counter(keep) {
        Some(wanted) => Reason::NotLed { wanted, serves: serves.as_ref().and_then(counter), within },
        None => Reason::NotGathered(within),
    }
}
