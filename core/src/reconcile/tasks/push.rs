//! The next step of a hook, at its time.

use crate::reconcile::Turn;
use crate::reconcile::step::Step;

pub(super) fn push(turn: &mut Turn<'_>, key: &str, step: Step) {
    match turn.memory.volatile.tasks.get(key).copied().filter(|at| *at > turn.now) {
        Some(at) => turn.wake(at),
        None => turn.steps.push(Step::Task { key: key.to_owned(), step: Box::new(step) }),
    }
}
