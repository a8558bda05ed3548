//! What a person may tell a rollout.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

use super::{GoingBack, Promotion, Reason, Rollout, State, What};

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Steering {
    /// Take no further step.
    Pause,
    /// Go on where it paused; slots that failed get one more try.
    Resume,
    /// Go back to the last good release.
    Abort,
    /// Let the traffic take its next step now.
    Promote,
    /// Let the traffic take every step now.
    PromoteFull,
}

/// Why it cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a rollout that {} cannot {}", stands(*state, *steering), verb(*steering))]
pub struct SteerError {
    /// What was asked.
    pub steering: Steering,
    /// The state it is in.
    pub state: State,
}

fn stands(state: State, steering: Steering) -> String {
    let promotes = matches!(steering, Steering::Promote | Steering::PromoteFull);
    if promotes && state == State::Advancing {
        return "has no step of its traffic to take now".to_owned();
    }
    format!("is {}", state.as_str().replace('_', " "))
}

const fn verb(steering: Steering) -> &'static str {
    match steering {
        Steering::Pause => "be paused",
        Steering::Resume => "be resumed",
        Steering::Abort => "be aborted",
        Steering::Promote | Steering::PromoteFull => "be promoted",
    }
}

/// Applies what `actor` says. Saying again what is already so changes nothing.
///
/// # Errors
/// The rollout's state does not allow it.
pub fn steer(
    rollout: &Rollout,
    steering: Steering,
    actor: &str,
    now: Timestamp,
) -> Result<Rollout, SteerError> {
    use {State as T, Steering as S};
    let mut next = rollout.clone();
    next.log.take_fresh();
    match (steering, rollout.state) {
        (S::Pause, T::Pending | T::Preparing | T::Advancing | T::Soaking) => {
            next.resume = Some(rollout.state);
            next.reason = Some(Reason::Asked(actor.to_owned()));
            next.state = T::Paused;
        }
        (S::Resume, T::Paused) => {
            next.state = rollout.resume.unwrap_or(T::Advancing);
            next.resume = None;
            if matches!(next.reason, Some(Reason::Trigger { .. })) {
                next.counts_from = Some(now);
            }
            next.reason = None;
            next.retry_quarantined |= !rollout.failures.is_empty();
            // A hook runs once: a person who lets it go on does so without the ones that failed.
            next.excuse_hooks();
            // A pause is no watch: that begins again.
            next.shift.iter_mut().for_each(|shift| shift.watched_since = None);
        }
        (S::Abort, T::Pending | T::Preparing | T::Advancing | T::Soaking | T::Paused) => {
            next.state = T::RollingBack;
            next.going_back = Some(GoingBack::Aborted);
            next.log.turn_back();
            next.progress = super::Progress::default();
            next.resume = None;
            next.reason = Some(Reason::Asked(actor.to_owned()));
        }
        (S::Promote | S::PromoteFull, T::Advancing) if rollout.shift.is_some() => {
            let asked = if steering == S::Promote { Promotion::Step } else { Promotion::Full };
            let shift = next.shift.as_mut().filter(|shift| shift.promoted < Some(asked));
            let Some(shift) = shift else { return Ok(next) };
            shift.promoted = Some(asked);
        }
        (S::Pause, T::Paused) => return Ok(next),
        (S::Abort, T::RollingBack) if rollout.going_back == Some(GoingBack::Aborted) => return Ok(next),
        (steering, state) => return Err(SteerError { steering, state }),
    }
    if next.state != rollout.state {
        next.state_since = now;
        next.soak_since = None;
    }
    next.progress_at = now;
    let what = What::Steered { by: actor.to_owned(), steering, from: rollout.state, to: next.state };
    next.log.note(now, what);
    Ok(next)
}
