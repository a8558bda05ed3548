//! The record of a rollout, and what a decision about a service is made from and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decision::{Clocks, Log, What};
use super::hooks::HookRun;
pub use super::reason::Reason;
use super::shift::Shift;
pub(crate) use super::state::{Failure, Kind, MAX_FAILURES, Progress, RollbackMode, State};
use crate::fleet::Fleet;
use crate::gate::Course;
use crate::id::{Counter, HostId, RolloutId, ServiceId, SlotId};
use crate::service::{ReleaseRef, Releases, Service, Slots};
use crate::slot::Waiting;
use crate::time::Timestamp;

/// Time for which a host may say that there is no room before it is believed: an old instance takes its time.
pub(crate) const ROOM_GRACE: Duration = Duration::from_secs(60);
/// Time by which a deadline passes later if all that is missing is word of hosts that fell silent a moment ago. Each of them is
/// heard of again or lost within that.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);
/// Slots that one step may change, so that a transaction of the store stays small. Each step looks at every slot of its service: few
/// large steps cost less than many small ones. Tests of this crate have few slots.
pub const SLOTS_PER_STEP: usize = if cfg!(test) { 64 } else { 4096 };
/// Time for which a standby is kept after its rollout succeeded.
pub const KEEP_OLD: Duration = Duration::from_secs(600);

/// A rollout: one record of the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its identity.
    pub id: RolloutId,
    /// The service it moves.
    pub service: ServiceId,
    /// Forward or back.
    pub kind: Kind,
    /// The person or program that asked for it.
    pub actor: String,
    /// The last good release when it began; what it goes back to.
    pub from: Option<ReleaseRef>,
    /// The release that the service was at when it began: another one than `from` if that was not good yet. None if it was
    /// at none, or if a coordinator of the version before began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Counter>,
    /// Its target.
    pub to: ReleaseRef,
    /// Its state.
    pub state: State,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it came to its state.
    pub state_since: Timestamp,
    /// When it last got further.
    pub progress_at: Timestamp,
    /// Its progress at that time.
    pub progress: Progress,
    /// Since when every slot has been available.
    pub soak_since: Option<Timestamp>,
    /// The state in which a paused rollout goes on.
    pub resume: Option<State>,
    /// The end of a rollout that goes back.
    pub going_back: Option<RollbackMode>,
    /// Whether any container was started, stopped or removed for it.
    pub changed: bool,
    /// The service's replica count before it.
    pub replicas_before: u32,
    /// Index of the first slot that was made for it: those before had a release to go back to.
    #[serde(default)]
    pub first_new: u32,
    /// The failures, at most 20.
    pub failures: Vec<Failure>,
    /// Hosts that were lost at its deadline, and get its outcome when they return.
    pub stragglers: BTreeSet<HostId>,
    /// Start it although its content failed before.
    pub retry_quarantined: bool,
    /// The generation that a restart brings its slots to.
    #[serde(default)]
    pub generation: u64,
    /// The progress of the traffic, once every new instance is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
    /// The reason for its state, when that needs saying.
    pub reason: Option<Reason>,
    /// Since when triggers count its requests, if not since it was made: a person let it go on after one had fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_from: Option<Timestamp>,
    /// Restarts of its instances that no trigger counts, by instance, for the same reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts_before: BTreeMap<String, u32>,
    /// Errors of their GPUs that no trigger counts, by instance, for the same reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpu_errors_before: BTreeMap<String, u32>,
    /// The gates of the step that it is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<Course>,
    /// The hooks that it runs or has run, by their beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookRun>,
    /// The part of its decision log that is written.
    #[serde(default)]
    pub log: Log,
}

/// The input of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its slots.
    pub slots: &'a Slots,
    /// Its active rollout, if there is one.
    pub rollout: Option<&'a Rollout>,
    /// Every release that service, slots or rollout name.
    pub releases: &'a Releases,
    /// All hosts.
    pub fleet: &'a dyn Fleet,
    /// Now.
    pub now: Timestamp,
}

/// The next state to store. Equal to the snapshot where nothing changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// The service.
    pub service: Service,
    /// Its slots.
    pub slots: Slots,
    /// Those of them that changed, came or went.
    pub touched: BTreeSet<SlotId>,
    /// Its rollout, which may now be in a final state.
    pub rollout: Option<Rollout>,
    /// The rollout that begins by itself, once this is stored.
    pub begins: Option<Begins>,
    /// When to look again, should nothing happen before.
    pub wake_at: Option<Timestamp>,
    /// The things that it waits for.
    pub waiting: Vec<Waiting>,
}

/// A rollout back to an older release that begins by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begins {
    /// Its target.
    pub to: ReleaseRef,
    /// Why.
    pub reason: Reason,
}

impl Rollout {
    /// Whether it makes new instances of the release that the service is at.
    pub(crate) fn is_restart(&self) -> bool {
        self.kind == Kind::Restart
    }

    /// Whether its release is good from the beginning, so that nothing of it is on trial.
    pub(crate) fn is_to_good(&self) -> bool {
        self.kind == Kind::Rollback || self.from.is_some_and(|from| from.digest == self.to.digest)
    }

    /// The rollout, ended for something else.
    pub(super) fn superseded(&self, reason: Reason, now: Timestamp) -> Self {
        let mut ended = self.clone();
        ended.state = State::Superseded;
        ended.state_since = now;
        ended.reason = Some(reason);
        ended.stop_hooks(now);
        ended.note_moved(self, now);
        ended
    }

    /// Writes that the rollout has left the state of `before` by something else than its own step.
    pub(crate) fn note_moved(&mut self, before: &Self, now: Timestamp) {
        drop(self.log.take_fresh());
        let what = What::Moved {
            from: before.state,
            to: self.state,
            reason: self.reason.clone(),
            going_back: self.going_back,
            progress: before.progress,
            clocks: Clocks {
                since: before.state_since,
                progress_at: before.progress_at,
                soak_since: before.soak_since,
                watched_since: before.state_since,
                progress_deadline: None,
                soak: None,
            },
            serves: None,
        };
        self.log.note(now, what);
    }
}
