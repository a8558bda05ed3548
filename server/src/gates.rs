//! Asks providers the questions of gates: so many at once, a few of one rollout and of one provider, each with a deadline, none of
//! them in the engine's way.
//!
//! ```text
//! state ──▶ questions whose window has ended ──▶ a task each ──▶ Answers (memory) ──▶ the engine's next look at the service
//! ```
//!
//! Answers are kept until the windows that they are about are judged, and stored with the verdict. After a restart the questions
//! that are still open are asked again.

mod ask;
mod beforehand;
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
use windlass_core::release::GateAsk;
use windlass_core::rollout::{Question, questions};
use windlass_core::{RolloutId, ServiceId, Timestamp};

use crate::coordinator::Coordinator;
use crate::ledger::{State, Topic};

pub(crate) use ask::Asker;
pub(crate) use beforehand::unreachable;
pub use reach::Networks;

/// Questions under way at once.
const AT_ONCE: usize = 32;
/// Questions of one rollout under way at once.
const OF_ONE: usize = 2;
/// Questions to one provider under way at once: one that does not answer keeps nobody waiting who asks another one.
const TO_ONE: usize = 4;
/// Time between two looks at the state for questions.
const TICK: Duration = Duration::from_millis(500);

/// Asks, until it is told to stop.
pub(crate) async fn run(
    coordinator: Arc<Coordinator>,
    asker: Asker,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let asker = Arc::new(asker);
    let mut under_way: JoinSet<Answer> = JoinSet::new();
    let mut asking: HashMap<Id, Place> = HashMap::new();
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
                if let Some(place) = asking.remove(&id) {
                    take(&coordinator, place.key, answer);
                }
            }
            _ = tick.tick() => {
                let now = coordinator.ledger.now();
                let open = coordinator.ledger.read(|state| open(state, now));
                coordinator.registry.keep_answers(&open.keys().cloned().collect());
                let is_asked = |key: &QuestionKey| asking.values().any(|known| &known.key == key);
                let new = open.into_values().filter(|question| {
                    !is_asked(&question.key) && coordinator.registry.answer(&question.key).is_none()
                });
                let new = next(new.collect(), asking.values(), AT_ONCE.saturating_sub(under_way.len()));
                for question in new {
                    let (asker, place) = (asker.clone(), Place::of(&question));
                    let task = under_way.spawn(async move { asker.ask(&question, now).await });
                    asking.insert(task.id(), place);
                }
            }
        }
    }
}

/// The places that a question takes while it is under way.
struct Place {
    key: QuestionKey,
    /// Scheme, host and port of the provider; empty where the question names none, and is answered at once.
    provider: String,
}

impl Place {
    fn of(question: &Question) -> Self {
        let url = match &question.ask {
            GateAsk::Prometheus { url, .. } | GateAsk::Http { url, .. } => url.as_str(),
            _ => "",
        };
        let provider = reqwest::Url::parse(url).map(|url| url.origin().ascii_serialization());
        Self { key: question.key.clone(), provider: provider.unwrap_or_default() }
    }
}

/// The questions that are asked now: those whose windows ended first, at most `room`, of one rollout at most [`OF_ONE`] and to one
/// provider at most [`TO_ONE`] with those `under_way`, so that a provider that does not answer keeps no other rollout waiting.
fn next<'a>(
    mut open: Vec<Question>,
    under_way: impl Iterator<Item = &'a Place>,
    room: usize,
) -> Vec<Question> {
    let mut of_rollout: HashMap<RolloutId, usize> = HashMap::new();
    let mut of_provider: HashMap<String, usize> = HashMap::new();
    for place in under_way {
        *of_rollout.entry(place.key.rollout.clone()).or_default() += 1;
        *of_provider.entry(place.provider.clone()).or_default() += 1;
    }
    open.sort_by_key(|question| question.key.until);
    open.retain(|question| {
        let Place { key, provider } = Place::of(question);
        let (rollouts, providers) =
            (of_rollout.entry(key.rollout).or_default(), of_provider.entry(provider).or_default());
        let has_room = *rollouts < OF_ONE && *providers < TO_ONE;
        *rollouts += usize::from(has_room);
        *providers += usize::from(has_room);
        has_room
    });
    open.truncate(room);
    open
}

/// The questions that are open.
pub(crate) fn open(state: &State, now: Timestamp) -> BTreeMap<QuestionKey, Question> {
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
pub(crate) fn take(coordinator: &Coordinator, key: QuestionKey, answer: Answer) {
    let service: Option<ServiceId> = coordinator
        .ledger
        .read(|state| state.rollouts.get(&key.rollout).map(|rollout| rollout.service.clone()));
    let rollout = key.rollout.clone();
    coordinator.registry.answered(key, answer);
    if let Some(service) = service {
        coordinator.ledger.signals().wake(vec![Topic::Rollout(rollout, service)]);
    }
}
