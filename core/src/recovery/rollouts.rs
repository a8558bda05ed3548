//! The outcome of a rollout that the store, or the hosts, were in the middle of.

use crate::id::RolloutId;
use crate::rollout::{Kind, Log, Progress, Reason, Rollout, State};
use crate::service::{ReleaseRef, Service};
use crate::time::Timestamp;

/// The state of a service, by the newest plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// It is at this release.
    At(ReleaseRef),
    /// This release is on trial.
    Trying(ReleaseRef),
}

impl Course {
    /// The release that the service is at, or tries.
    pub(super) const fn release(self) -> ReleaseRef {
        match self {
            Self::At(release) | Self::Trying(release) => release,
        }
    }
}

/// Ends the stored rollout as the hosts show that it ended, or pauses the one that they are in the middle of. Answers
/// with the rollouts to store.
pub(super) fn conclude(
    service: &mut Service,
    active: Option<&Rollout>,
    course: Option<Course>,
    new_id: &mut impl FnMut() -> RolloutId,
    now: Timestamp,
) -> Vec<Rollout> {
    let mut changed = Vec::new();
    service.rollout = None;
    match (active, course) {
        (Some(active), Some(Course::Trying(to))) if active.to.digest == to.digest => {
            changed.push(paused(active.clone(), service.last_good(), now));
        }
        (active, Some(Course::Trying(to))) => {
            let id = new_id();
            changed.extend(active.map(|old| ended(old, State::Superseded, now)));
            changed.push(paused(found(service, id, to, now), service.last_good(), now));
        }
        (Some(active), Some(Course::At(at))) => changed.push(ended(active, outcome(active, at), now)),
        (Some(active), None) => changed.push(ended(active, State::Superseded, now)),
        (None, Some(Course::At(_)) | None) => {}
    }
    service.rollout = changed.iter().find(|rollout| rollout.state == State::Paused).map(|r| r.id.clone());
    changed
}

/// A plan calls a release good only once its rollout has ended.
fn outcome(rollout: &Rollout, at: ReleaseRef) -> State {
    if rollout.to.digest == at.digest {
        State::Succeeded
    } else if rollout.from.is_some_and(|from| from.digest == at.digest) {
        State::RolledBack
    } else {
        State::Superseded
    }
}

fn ended(before: &Rollout, state: State, now: Timestamp) -> Rollout {
    let mut rollout = before.clone();
    rollout.state = state;
    rollout.state_since = now;
    rollout.resume = None;
    rollout.reason = Some(Reason::Restored);
    rollout.note_moved(before, now);
    rollout
}

/// It takes no step until a person says so: what it was about to do is not known.
fn paused(mut rollout: Rollout, from: Option<ReleaseRef>, now: Timestamp) -> Rollout {
    let before = rollout.clone();
    rollout.from = from;
    rollout.state = State::Paused;
    rollout.resume = Some(State::Preparing);
    rollout.state_since = now;
    rollout.progress_at = now;
    rollout.progress = Progress::default();
    rollout.soak_since = None;
    rollout.going_back = None;
    rollout.changed = true;
    rollout.stragglers.clear();
    rollout.reason = Some(Reason::Restored);
    rollout.note_moved(&before, now);
    rollout
}

/// The rollout to `to` that some hosts are in the middle of.
fn found(service: &Service, id: RolloutId, to: ReleaseRef, now: Timestamp) -> Rollout {
    Rollout {
        id,
        service: service.id.clone(),
        kind: Kind::Deploy,
        actor: "coordinator".to_owned(),
        from: service.last_good(),
        left: None,
        to,
        state: State::Paused,
        created_at: now,
        state_since: now,
        progress_at: now,
        progress: Progress::default(),
        soak_since: None,
        resume: None,
        going_back: None,
        changed: true,
        replicas_before: service.replicas,
        // Which slots were made for it is lost. Those that had a release say so in their plan.
        first_new: 0,
        failures: Vec::new(),
        stragglers: std::collections::BTreeSet::new(),
        retry_quarantined: false,
        generation: 0,
        shift: None,
        reason: None,
        counts_from: None,
        restarts_before: std::collections::BTreeMap::new(),
        gpu_errors_before: std::collections::BTreeMap::new(),
        gates: None,
        hooks: Vec::new(),
        log: Log::default(),
    }
}
