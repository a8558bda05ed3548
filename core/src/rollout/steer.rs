//! The commands of a person to a rollout.

use crate::digest::Digest;
use crate::gate::Course;
use crate::release::Release;
use crate::time::Timestamp;

use super::{Approval, Kind, Promotion, Reason, RollbackMode, Rollout, RolloutCommand, Shift, State, What};

/// The reason for which it cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rollout {}, and cannot {}", stands(*state, *steering), verb(*steering))]
pub struct SteerError {
    /// The command.
    pub steering: RolloutCommand,
    /// The state it is in.
    pub state: State,
}

fn stands(state: State, steering: RolloutCommand) -> String {
    let promotes = matches!(steering, RolloutCommand::Promote | RolloutCommand::PromoteFull);
    if promotes && state == State::Advancing {
        return "has no step of its traffic to take now".to_owned();
    }
    if matches!(state, State::Failed | State::Succeeded) {
        return format!("has {}", state.as_str());
    }
    format!("is {}", state.as_str().replace('_', " "))
}

const fn verb(steering: RolloutCommand) -> &'static str {
    match steering {
        RolloutCommand::Pause => "be paused",
        RolloutCommand::Resume => "be resumed",
        RolloutCommand::Abort => "be aborted",
        RolloutCommand::Approve => "be approved",
        RolloutCommand::Promote | RolloutCommand::PromoteFull => "be promoted",
    }
}

/// Applies what `actor` says. Saying again what is already so changes nothing.
///
/// # Errors
/// The rollout's state does not allow it.
pub fn steer(
    rollout: &Rollout,
    steering: RolloutCommand,
    actor: &str,
    now: Timestamp,
) -> Result<Rollout, SteerError> {
    use {RolloutCommand as S, State as T};
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
            // A hook runs once: a person who lets a rollout go on that it made pause, does so without it.
            if matches!(rollout.reason, Some(Reason::HookFailed(_))) {
                next.excuse_hooks();
            }
            // A pause is no watch: that begins again, and so does what is asked of the step.
            if let Some(shift) = &mut next.shift {
                (shift.watched_since, shift.settled) = (None, false);
            }
            next.gates.iter_mut().for_each(Course::forget);
        }
        (S::Abort, T::Pending | T::Preparing | T::Advancing | T::Soaking | T::Paused) => {
            next.state = T::RollingBack;
            next.going_back = Some(RollbackMode::Aborted);
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
        (S::Abort, T::RollingBack) if rollout.going_back == Some(RollbackMode::Aborted) => return Ok(next),
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

/// The thing that a person approves: one step of one rollout, to one release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approved {
    /// The step that it is at, from 1 on; 0 before the first one.
    pub step: u32,
    /// Digest of the release that it goes to.
    pub release: Digest,
}

/// The reason for which an approval does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApproveError {
    /// Nothing is to be approved in that state.
    #[error(transparent)]
    State(#[from] SteerError),
    /// The approver asked for the rollout, or signed its release as the author.
    #[error(
        "{0} asked for this rollout or is the author of its release, and somebody else has to approve it"
    )]
    Author(String),
    /// It was meant for another release.
    #[error("the approval is for release {asked}, and this rollout goes to {to}")]
    Content {
        /// The release that was approved.
        asked: Digest,
        /// The one that it goes to.
        to: Digest,
    },
    /// It was meant for another step.
    #[error("it was meant for step {asked}, and the rollout is at step {at}")]
    Step {
        /// The step that was approved.
        asked: u32,
        /// The one that it is at.
        at: u32,
    },
    /// Nobody asked for one.
    #[error("step {0} wants no approval")]
    NotWanted(u32),
}

/// Whether a rollout is still at the step that a person has seen, 0 before the first one.
///
/// # Errors
/// It is at another one.
pub fn is_at(rollout: &Rollout, asked: u32) -> Result<(), ApproveError> {
    let at = rollout.shift.as_ref().map_or(0, |shift| shift.taken);
    if asked == at { Ok(()) } else { Err(ApproveError::Step { asked, at }) }
}

/// Whether a promotion at `now` skips an approval that the release asks for: of this step, or of any that is left.
pub fn skips_approval(
    rollout: &Rollout,
    release: &Release,
    steering: RolloutCommand,
    now: Timestamp,
) -> bool {
    let Some(shift) = rollout.shift.as_ref().filter(|shift| shift.promoted < Some(Promotion::Full)) else {
        return false;
    };
    let strategy = &release.spec.strategy;
    let wanted = strategy.wants_approval(shift.taken) && shift.approval(now).is_none();
    let later = || {
        let steps = u32::try_from(strategy.canary().len()).unwrap_or(u32::MAX);
        (shift.taken.saturating_add(1)..=steps).any(|step| strategy.wants_approval(step))
    };
    match steering {
        RolloutCommand::Promote => wanted,
        RolloutCommand::PromoteFull => wanted || later(),
        RolloutCommand::Pause | RolloutCommand::Resume | RolloutCommand::Abort | RolloutCommand::Approve => {
            false
        }
    }
}

/// Approves a step of a rollout to `release`. Doing so twice is doing so once; after the first approval has expired it counts anew.
///
/// # Errors
/// The approval is for another step or release, comes from who asked for the rollout, or nothing is to be approved.
pub fn approve(
    rollout: &Rollout,
    release: &Release,
    approved: Approved,
    actor: &str,
    now: Timestamp,
) -> Result<Rollout, ApproveError> {
    let steering = RolloutCommand::Approve;
    if rollout.state != State::Advancing {
        return Err(SteerError { steering, state: rollout.state }.into());
    }
    if approved.release != rollout.to.digest {
        return Err(ApproveError::Content { asked: approved.release, to: rollout.to.digest });
    }
    is_at(rollout, approved.step)?;
    if !release.spec.strategy.wants_approval(approved.step) {
        return Err(ApproveError::NotWanted(approved.step));
    }
    // A machine may have deployed what a person has made.
    let is_author = rollout.kind == Kind::Deploy && actor == format!("operator/{}", release.author);
    if actor == rollout.actor || is_author {
        return Err(ApproveError::Author(actor.to_owned()));
    }
    let mut next = rollout.clone();
    next.log.take_fresh();
    let shift = next.shift.get_or_insert_with(|| Shift::new(now));
    if shift.approval(now).is_some() {
        return Ok(next);
    }
    shift.approved = Some(Approval { by: actor.to_owned(), at: now });
    next.progress_at = now;
    let what = What::Steered { by: actor.to_owned(), steering, from: rollout.state, to: next.state };
    next.log.note(now, what);
    Ok(next)
}
