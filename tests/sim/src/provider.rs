//! Providers of gates: answers of each kind, in time, late, or never.

use std::time::Duration;

use windlass_core::gate::{Answer, AnswerFault, QuestionKey, Said};
use windlass_core::rollout::Question;

use crate::event::Event;
use crate::world::World;

/// Faults that a provider has.
const FAULTS: [AnswerFault; 6] = [
    AnswerFault::NoConnection,
    AnswerFault::TimedOut,
    AnswerFault::Status,
    AnswerFault::NotJson,
    AnswerFault::Empty,
    AnswerFault::Stale,
];

impl World {
    /// Questions that nobody has asked yet are asked.
    pub(crate) fn ask(&mut self) {
        let Some(embedded) = self.center.embedded.as_ref().filter(|_| self.context.is_routed) else { return };
        for question in embedded.questions() {
            if self.center.asked.insert(question.key.clone()) {
                self.answer(question);
            }
        }
    }

    fn answer(&mut self, question: Question) {
        let (shop, dice) = (&self.context.shop, &mut self.context.traffic);
        let is_wrong = shop.errors(&question.words.digest) > 0;
        let fault = dice.chance(if self.context.is_calm { 2 } else { 15 });
        let said = if fault {
            Said::Fault { kind: *dice.pick(&FAULTS), detail: String::new() }
        } else {
            Said::Passes(!is_wrong)
        };
        // Some answer late, and some never.
        let takes = match dice.below(20) {
            0 => return,
            1 => dice.seconds(5, 40),
            _ => dice.millis(20, 2000),
        };
        let took_ms = u64::try_from(takes.as_millis()).unwrap_or(u64::MAX);
        let sent = "http://judge.sim/verdict".to_owned();
        let answer = Answer { sent, at: self.context.now, took_ms, said, raw: String::new(), cut: false };
        let at = self.context.now + takes + Duration::from_millis(1);
        self.context.queue.push(at, Event::Answer(Box::new((question.key, answer))));
    }

    /// An answer comes, if the coordinator that asked is still there.
    pub(crate) fn answered(&mut self, key: QuestionKey, answer: Answer) {
        let Some(embedded) = &self.center.embedded else { return };
        if self.center.asked.contains(&key) {
            self.context.say(|| format!("{} is answered: {:?}", key.gate, answer.said));
            embedded.answered(key, answer);
        }
    }
}
