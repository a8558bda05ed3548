//! The start of an instance of a slot: the choice of the instance, and the time of its first or next start.

use std::time::Duration;

use crate::plan::PlanSlot;
use crate::time::Timestamp;

use super::super::Turn;
use super::super::asks::times_of;
use super::super::container::{Container, ContainerState};
use super::super::disposition::Disposition;
use super::super::judge::{self, Trial, Verdict};
use super::super::memory::{self, Restarts};
use super::super::outcome::START_DELAY;
use super::super::step::{Step, Target};

/// An instance that ran for so long starts its delays anew.
const LASTING: Duration = Duration::from_secs(600);

/// Starts, or starts again, one that is meant to run. The new instance comes first: `seen` is newest first.
pub(super) fn start_one(
    turn: &mut Turn<'_>,
    want: &PlanSlot,
    dispositions: &[(&Container, Disposition)],
    target_held: bool,
    unleased: bool,
) -> Option<Step> {
    for (seen, disposition) in dispositions {
        let spec = turn.spec(&seen.release);
        // A release that is not verified, or is refused, is never started.
        let refused = turn.desired.refusals.contains_key(&want.slot);
        let held = spec.is_none() || unleased || ((target_held || refused) && seen.release == want.release);
        if *disposition != Disposition::Run || (held && !seen.state.is_up()) {
            continue;
        }
        let known = turn.memory.of(seen).cloned().unwrap_or_default();
        let times = times_of(turn, seen);
        match judge::judge(seen, Some(&known), spec, Trial::Over, times) {
            Verdict::Fine(at) => at.into_iter().for_each(|at| turn.wake(at)),
            Verdict::Failed(..) => debug_assert!(false, "only an armed release fails"),
            Verdict::Start { again: false } => return Some(Step::Start(Target::of(seen))),
            Verdict::Start { again: true } if may_start_again(turn, seen) => {
                return Some(Step::Start(Target::of(seen)));
            }
            Verdict::Restart if !held && may_start_again(turn, seen) => {
                return Some(Step::Restart(Target::of(seen)));
            }
            Verdict::Start { again: true } | Verdict::Restart => {}
        }
    }
    None
}

/// Counts one more start of an instance that ended or hangs, once its delay is over.
fn may_start_again(turn: &mut Turn<'_>, seen: &Container) -> bool {
    let before = turn.memory.volatile.starts.get(&seen.instance).copied();
    let (from, lasted_until) = match seen.state {
        ContainerState::Exited { finished_at, .. } => (finished_at, finished_at),
        // It hangs: there is no end to count from, but its last start.
        ContainerState::Created | ContainerState::Restarting | ContainerState::Running { .. } => {
            (before.map_or(Timestamp::ZERO, |before| before.last_at), turn.now)
        }
    };
    let before = before.filter(|before| lasted_until.since(before.last_at) < LASTING);
    let count = before.map_or(0, |before| before.count);
    // An end that is still to come was noted before the clock was set back.
    let not_before = from.min(turn.now) + memory::doubled(START_DELAY.0, count, START_DELAY.1);
    if not_before > turn.now {
        turn.wake(not_before);
        return false;
    }
    let restarts = Restarts { count: count.saturating_add(1), last_at: turn.now };
    turn.memory.volatile.starts.insert(seen.instance.clone(), restarts);
    let known = turn.memory.instance(&seen.slot, &seen.instance);
    // Starting it resets the engine's own count.
    known.restarts = known.restarts.saturating_add(seen.restarts).saturating_add(1);
    true
}
