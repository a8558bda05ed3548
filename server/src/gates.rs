//! Asks providers the questions of gates: at most eight at once, two of one rollout, each with a deadline, none of them in the engine's way.
//!
//! ```text
//! state ──▶ questions whose window has ended ──▶ a task each ──▶ Answers (memory) ──▶ the engine's next look at the service
//! ```
//!
//! Answers are kept until the windows that they are about are judged, and stored with the verdict. After a restart the questions
//! that are still open are asked again.

mod ask;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use windlass_core::gate::{Answer, QuestionKey};
use windlass_core::rollout::{Question, questions};
use windlass_core::{RolloutId, ServiceId, Timestamp};

use crate::coordinator::Coordinator;
use crate::ledger::{State, Topic};

pub(crate) use ask::Asker;
pub use reach::Networks;

/// Questions under way at once.
const AT_ONCE: usize = 8;
/// Questions of one rollout under way at once.
const OF_ONE: usize = 2;
/// How often the state is looked at for questions.
const TICK: Duration = Duration::from_millis(500);

/// Asks, until it is told to stop.
pub(crate) async fn run(
    coordinator: Arc<Coordinator>,
    asker: Asker,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let asker = Arc::new(asker);
    let mut under_way: JoinSet<Answer> = JoinSet::new();
    let mut asking: HashMap<Id, QuestionKey> = HashMap::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            Some(ended) = under_way.join_next_with_id() => {
                let (id, answer) = match ended {
                    Ok((id, answer)) => (id, answer),
                    // A question whose task died is answered, or it would be asked for ever.
                    Err(error) => (error.id(), Answer::missing(coordinator.ledger.now())),
                };
                if let Some(key) = asking.remove(&id) {
                    take(&coordinator, key, answer);
                }
            }
            _ = tick.tick() => {
                let now = coordinator.ledger.now();
                let open = coordinator.ledger.read(|state| open(state, now));
                coordinator.registry.keep_answers(&open.keys().cloned().collect());
                let is_asked = |key: &QuestionKey| asking.values().any(|known| known == key);
                let new = open.into_values().filter(|question| {
                    !is_asked(&question.key) && coordinator.registry.answer(&question.key).is_none()
                });
                let new = next(new.collect(), asking.values(), AT_ONCE.saturating_sub(under_way.len()));
                for question in new {
                    let (asker, key) = (asker.clone(), question.key.clone());
                    let task = under_way.spawn(async move { asker.ask(&question, now).await });
                    asking.insert(task.id(), key);
                }
            }
        }
    }
}

/// The questions that are asked now: those whose windows ended first, at most `room`, and of one rollout at most [`OF_ONE`]
/// with those `under_way`, so that a provider that does not answer keeps no other rollout waiting.
fn next<'a>(
    mut open: Vec<Question>,
    under_way: impl Iterator<Item = &'a QuestionKey>,
    room: usize,
) -> Vec<Question> {
    let mut of_rollout: HashMap<RolloutId, usize> = HashMap::new();
    under_way.for_each(|key| *of_rollout.entry(key.rollout.clone()).or_default() += 1);
    open.sort_by_key(|question| question.key.until);
    open.retain(|question| {
        let count = of_rollout.entry(question.key.rollout.clone()).or_default();
        *count += 1;
        *count <= OF_ONE
    });
    open.truncate(room);
    open
}

/// The questions that are open.
fn open(state: &State, now: Timestamp) -> BTreeMap<QuestionKey, Question> {
    if state.is_recovering() {
        return BTreeMap::new();
    }
    let rollouts = state.services.keys().filter_map(|service| state.active_rollout(service));
    let asked = rollouts.filter_map(|rollout| {
        let release =
            state.releases.get(&rollout.to.digest).filter(|release| !release.spec.gates.is_empty())?;
        Some(questions(rollout, release, now))
    });
    asked.flatten().map(|question| (question.key.clone(), question)).collect()
}

/// Keeps an answer, and has the engine look at its service.
fn take(coordinator: &Coordinator, key: QuestionKey, answer: Answer) {
    let service: Option<ServiceId> = coordinator
        .ledger
        .read(|state| state.rollouts.get(&key.rollout).map(|rollout| rollout.service.clone()));
    let rollout = key.rollout.clone();
    coordinator.registry.answered(key, answer);
    if let Some(service) = service {
        coordinator.ledger.signals().tell(vec![Topic::Rollout(rollout, service)]);
    }
}
