//! The facts that a decision about a slot starts from.

use crate::digest::Digest;
use crate::plan::{Phase, PlanSlot};

use super::super::Turn;
use super::super::asks::standing;
use super::super::container::Container;
use super::super::disposition::{Mode, SlotContext};
use super::super::input::Lease;

impl<'a> SlotContext<'a> {
    pub(super) fn new<'t: 'a>(turn: &Turn<'t>, want: &'a PlanSlot, seen: &'a [&'a Container]) -> Self {
        let known = turn.memory.slots.get(&want.slot).cloned().unwrap_or_default();
        let release = turn.desired.releases.get(&want.release).map(AsRef::as_ref);
        let limit = release.and_then(|release| release.release.spec.on_lost.stop_isolated_after);
        let releases = &turn.desired.releases;
        let says = |digest: &Digest| releases.get(digest).is_some_and(|r| r.release.spec.exclusive);
        // Also of what is named and not here: it may be started.
        let previous = want.previous.as_ref().map(|previous| previous.release);
        let mut named = [Some(want.release), want.fallback, previous].into_iter().flatten();
        let exclusive = named.any(|release| says(&release)) || seen.iter().any(|seen| says(&seen.release));
        let lease = turn.observed.lease;
        let alone = if exclusive {
            let over = |lease: Lease| limit.is_some_and(|l| turn.now.since(lease.renewed_at) >= l.duration());
            lease.is_none_or(over)
        } else {
            turn.is_alone_for(limit)
        };
        let isolated = alone || (!exclusive && known.isolated_at.is_some());
        let unleased = exclusive && !lease.is_some_and(|lease| lease.current);
        let (blocked, available, predecessor_starts, barred, tight) = (false, false, false, false, false);
        let mut context = Self {
            want,
            seen,
            known,
            release,
            mode: Mode::Usual,
            blocked,
            available,
            predecessor_starts,
            exclusive,
            unleased,
            barred,
            tight,
        };
        // A slot that the plan has stand still has no instance to go back to either.
        let stands_still = matches!(want.phase, Phase::Standby | Phase::Absent);
        let restoring = context.known.failed.as_ref().filter(|_| !stands_still).is_some_and(|failed| {
            // A restart with nothing to go back to goes on trying.
            failed.restart.is_none() || context.outdated().is_some()
        });
        context.mode = match (alone, isolated, restoring) {
            (true, _, _) => Mode::Alone,
            (false, true, _) => Mode::Isolated,
            (false, false, true) => Mode::Restoring,
            (false, false, false) => Mode::Usual,
        };
        context.available = context.target().is_some_and(|seen| standing(turn, seen).available);
        context.barred = context.running_predecessor().is_some_and(|release| {
            let content = turn.desired.releases.get(&release).map(|release| release.content);
            let serves = context.instance_of(&release).is_some_and(|seen| {
                seen.state.is_up() && seen.health.as_ref().is_none_or(|health| health.live)
            });
            // The fallback of the plan is good, whatever failed here before.
            context.armed_fallback() != Some(release)
                && !serves
                && content.is_some_and(|content| turn.memory.is_quarantined(&want.slot.service, &content))
        });
        context.predecessor_starts = context.running_predecessor().is_some_and(|release| {
            let serves = |seen: &Container| seen.state.is_up() && standing(turn, seen).ready;
            !context.instance_of(&release).is_some_and(serves)
        });
        context
    }
}
