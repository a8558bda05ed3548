//! The memory of how instances ended: the last exit, and whether one ends again and again.
//!
//! A crash loop is [`LOOP`] restarts within [`WINDOW`]. It is over when there were fewer in the last [`WINDOW`].

use std::time::Duration;

use crate::observation::LastExit;
use crate::time::Timestamp;

use super::super::Turn;
use super::super::container::{Container, ContainerState};
use super::super::memory::InstanceMemory;

/// So many restarts within [`WINDOW`] are a crash loop.
const LOOP: usize = 3;
/// The time in which they are counted.
const WINDOW: Duration = Duration::from_secs(600);

/// Takes in how the instances of a slot ended.
pub(super) fn note(turn: &mut Turn<'_>, seen: &[&Container]) {
    for container in seen {
        let now = turn.now;
        let known = turn.memory.instance(&container.slot, &container.instance);
        exit(known, container, now);
        count(known, container.restarts, now);
        judge(known, now);
        // The oldest of the last few leaves the window then.
        let over_at = known.crash_loop.and(known.restarted.first()).map(|oldest| *oldest + WINDOW);
        over_at.into_iter().for_each(|at| turn.wake(at));
    }
}

fn exit(known: &mut InstanceMemory, seen: &Container, now: Timestamp) {
    if let ContainerState::Exited { code, oom_killed, finished_at } = seen.state {
        let is_new = known.last_exit.is_none_or(|last| last.at != finished_at);
        // Before it has run, and after it was asked to stop, its end is no news.
        if is_new && !known.stopped && finished_at > Timestamp::ZERO {
            known.last_exit = Some(LastExit { code, oom_killed, at: finished_at });
        }
    } else if let Some((code, oom_killed)) = seen.last_exit
        && known.counted.is_some_and(|counted| known.restarts.saturating_add(seen.restarts) > counted)
    {
        known.last_exit = Some(LastExit { code, oom_killed, at: now });
    }
}

fn count(known: &mut InstanceMemory, by_engine: u32, now: Timestamp) {
    let all = known.restarts.saturating_add(by_engine);
    // The first look only learns the number: nobody knows when those were.
    let new = all.saturating_sub(known.counted.replace(all).unwrap_or(all));
    for _ in 0..usize::try_from(new).unwrap_or(LOOP).min(LOOP) {
        known.restarted.push(now);
    }
    // A time that is still to come was noted before the clock was set back.
    known.restarted.retain(|at| *at <= now && now.since(*at) < WINDOW);
    let more = known.restarted.len().saturating_sub(LOOP);
    known.restarted.drain(..more);
}

fn judge(known: &mut InstanceMemory, now: Timestamp) {
    if known.restarted.len() >= LOOP {
        known.crash_loop.get_or_insert(now);
    } else {
        known.crash_loop = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    #[test]
    fn three_restarts_in_ten_minutes_are_a_crash_loop() {
        let mut known = InstanceMemory::default();
        let mut look = |restarts: u32, second: i64| {
            count(&mut known, restarts, at(second));
            judge(&mut known, at(second));
            known.crash_loop
        };
        assert_eq!(look(7, 0), None, "what was before is not known to be recent");
        assert_eq!((look(8, 10), look(9, 20), look(9, 30)), (None, None, None));
        assert_eq!(look(10, 40), Some(at(40)));
        assert_eq!(look(30, 50), Some(at(40)), "many at once are counted, and remembered as few");
        assert_eq!(look(30, 649), Some(at(40)));
        assert_eq!(look(30, 650), None, "ten minutes without one");
        assert_eq!(look(31, 700), None);
    }

    #[test]
    fn new_restart_count_and_clock_set_back_make_no_crash_loop() {
        let mut known = InstanceMemory::default();
        for (restarts, second) in [(0, 1000), (1, 1010), (2, 1020), (0, 1030), (1, 5)] {
            count(&mut known, restarts, at(second));
            judge(&mut known, at(second));
        }
        assert_eq!((known.crash_loop, known.restarted.len()), (None, 1));
    }
}
