//! What a person may tell a rollout.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

use super::{GoingBack, Reason, Rollout, State, What};

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
}

/// Why it cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a rollout that is {} cannot {}", state.as_str().replace('_', " "), verb(*steering))]
pub struct SteerError {
    /// What was asked.
    pub steering: Steering,
    /// The state it is in.
    pub state: State,
}

const fn verb(steering: Steering) -> &'static str {
    match steering {
        Steering::Pause => "be paused",
        Steering::Resume => "be resumed",
        Steering::Abort => "be aborted",
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
            next.reason = None;
            next.retry_quarantined |= !rollout.failures.is_empty();
        }
        (S::Abort, T::Pending | T::Preparing | T::Advancing | T::Soaking | T::Paused) => {
            next.state = T::RollingBack;
            next.going_back = Some(GoingBack::Aborted);
            next.log.turn_back();
            next.progress = super::Progress::default();
            next.resume = None;
            next.reason = Some(Reason::Asked(actor.to_owned()));
        }
        (S::Pause, T::Paused) => return Ok(next),
        (S::Abort, T::RollingBack) if rollout.going_back == Some(GoingBack::Aborted) => return Ok(next),
        (steering, state) => return Err(SteerError { steering, state }),
    }
    next.state_since = now;
    next.progress_at = now;
    next.soak_since = None;
    let what = What::Steered { by: actor.to_owned(), steering, from: rollout.state, to: next.state };
    next.log.note(now, what);
    Ok(next)
}
