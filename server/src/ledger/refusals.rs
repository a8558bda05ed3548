//! Refusals in the audit log: the first of each kind say it all.
//!
//! An entry is for ever, and who may do nothing can be refused for ever. So of one actor and verb (of strangers: and
//! subject) a few dozen are written and then one a minute, which says how many were left out before it. What changes
//! something is always written.

use std::time::Duration;

use windlass_core::Timestamp;
use windlass_core::audit::Fact;
use windlass_core::quota::{Notices, Rate};

const EACH: Rate = Rate::new(32, Duration::from_secs(60));
const ALL: Rate = Rate::new(1024, Duration::from_secs(1));
const REMEMBERED: usize = 4096;
const REFUSED: &str = "refused";

/// Refusals by peer and kind.
#[derive(Debug)]
pub(super) struct Refusals(Notices<(String, &'static str, String)>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Notices::new(EACH, ALL, REMEMBERED))
    }
}

impl Refusals {
    /// Takes out what need not be written of a batch that changes nothing: refusals, and if nothing is left, what people
    /// would be told of them.
    pub(super) fn thin_out<E>(&mut self, facts: &mut Vec<Fact>, events: &mut Vec<E>, now: Timestamp) {
        let before = facts.len();
        facts.retain_mut(|fact| {
            if !fact.outcome.starts_with(REFUSED) {
                return true;
            }
            let subject = if fact.actor == "stranger" { fact.subject.clone() } else { String::new() };
            let told = self.0.note(&(fact.actor.clone(), fact.verb, subject), now);
            if let Some(more) = told.filter(|more| *more > 0) {
                fact.outcome = format!("{}; {more} more before it were not written", fact.outcome);
            }
            told.is_some()
        });
        if facts.is_empty() && before > 0 {
            events.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(actor: &str, subject: &str, outcome: &str) -> Fact {
        let (actor, subject) = (actor.to_owned(), subject.to_owned());
        Fact { actor, verb: "release.submit", subject, digest: None, outcome: outcome.to_owned() }
    }

    #[test]
    fn refusals_are_written_a_few_times_and_what_was_done_always() {
        let (mut refusals, now) = (Refusals::default(), Timestamp::from_millis(1_000_000));
        let mut written = |fact: Fact, now| {
            let (mut facts, mut events) = (vec![fact], vec!["told"]);
            refusals.thin_out(&mut facts, &mut events, now);
            assert_eq!(facts.len(), events.len());
            facts.pop().map(|fact| fact.outcome)
        };
        let mut one = |n: usize, now| written(fact("operator/bob", &format!("web {n}"), "refused: x"), now);
        assert_eq!((0..1000).filter(|n| one(*n, now).is_some()).count(), 32);
        let later = one(0, now + Duration::from_secs(60)).unwrap();
        assert_eq!(later, "refused: x; 968 more before it were not written");
        let done = (0..1000).filter(|_| written(fact("operator/bob", "web", "ok"), now).is_some()).count();
        assert_eq!(done, 1000);
        for host in ["web-1", "web-2"] {
            assert!(written(fact("stranger", host, "refused: x"), now).is_some());
        }
        assert!(written(fact("operator/alice", "web 1", "refused: x"), now).is_some());
    }
}
