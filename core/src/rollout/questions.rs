//! The questions to providers that a rollout has now, for those who ask them.

use crate::gate::{Course, QuestionKey, Substitutes, asked_in};
use crate::release::{GateAsk, Release};
use crate::time::Timestamp;
use crate::units::Span;

use super::model::{Kind, Rollout, State};

/// A question to a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its name.
    pub key: QuestionKey,
    /// The question as it was signed.
    pub ask: GateAsk,
    /// Length of the window.
    pub window: Span,
    /// The words that placeholders stand for.
    pub words: Substitutes,
}

/// The questions to providers whose window has ended by `now` and which nobody has judged yet.
pub fn questions(rollout: &Rollout, release: &Release, now: Timestamp) -> Vec<Question> {
    let Some(shift) = &rollout.shift else { return Vec::new() };
    let Some(since) = shift.watched_since.filter(|_| rollout.state == State::Advancing) else {
        return Vec::new();
    };
    let Some(named) = release.spec.strategy.judged(shift.taken) else { return Vec::new() };
    if rollout.kind != Kind::Deploy || shift.promoted.is_some() {
        return Vec::new();
    }
    let asked = asked_in(&release.spec, shift.taken, named);
    let asked = asked.into_iter().filter(|(_, gate)| gate.ask.timeout().is_some());
    let due = asked.filter_map(|(name, gate)| {
        let until = Course::next(rollout.gates.as_ref(), (shift.taken, since), name, gate, now).1;
        (until <= now).then(|| Question {
            key: QuestionKey { rollout: rollout.id.clone(), gate: name.to_owned(), until },
            ask: gate.ask.clone(),
            window: gate.window,
            words: Substitutes {
                release: release.counter,
                digest: rollout.to.digest,
                service: rollout.service.clone(),
                window: gate.window,
            },
        })
    });
    due.collect()
}
