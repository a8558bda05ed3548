//! The stored intent of a slot.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::plan::{Order, Phase, PlanSlot, Previous, Task};
use crate::time::Timestamp;

/// A slot as it is meant to be: one record of the store, read by `stored`. Only [`super::apply`] changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Slot {
    pub(super) id: SlotId,
    pub(super) host: HostId,
    pub(super) order: Order,
    #[serde(skip_serializing_if = "Role::is_member")]
    pub(super) role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trial: Option<Trial>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) retry: bool,
    pub(super) target: Occupant,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) other: Option<Occupant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) older: Option<Older>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<Task>,
}

/// The place of a slot in its service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// One of the service's instances.
    #[default]
    Member,
    /// It stands in for a slot on a host that is lost or drains, until one of the two goes.
    StandsInFor(SlotId),
    /// It is none of the service's instances any more: its instance runs on without traffic, on another host than the one that
    /// took its place, until it is removed.
    Kept {
        /// When that is.
        until: Timestamp,
    },
}

impl Role {
    const fn is_member(&self) -> bool {
        matches!(self, Self::Member)
    }
}

/// The target has not proven itself yet: its host goes back by itself if it fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The last good release, restored if the target fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Digest>,
}

/// The instances that a restart replaces, as the coordinator has them go. Without it their host stops them by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Older {
    /// They run on beside the new one.
    Kept,
    /// They get no requests, and stop.
    LetGo,
}

/// An instance of a slot, as it is meant to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Occupant {
    /// Digest of its release.
    pub release: Digest,
    /// Its desired state.
    pub run: Phase,
    /// The restart it comes from; an instance of a lower one is replaced.
    #[serde(default, skip_serializing_if = "is_first")]
    pub generation: u64,
    /// Its devices, by UUID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// When it is removed, if it only stands by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_first(generation: &u64) -> bool {
    *generation == 0
}

impl Slot {
    /// Its identity.
    pub const fn id(&self) -> &SlotId {
        &self.id
    }

    /// The host it is on. A slot never moves.
    pub const fn host(&self) -> &HostId {
        &self.host
    }

    /// Which of its two instances goes first.
    pub const fn order(&self) -> Order {
        self.order
    }

    /// The instance that it is to have.
    pub const fn target(&self) -> &Occupant {
        &self.target
    }

    /// The release that it is to have.
    pub const fn release(&self) -> Digest {
        self.target.release
    }

    /// The desired state of its target.
    pub const fn run(&self) -> Phase {
        self.target.run
    }

    /// The second instance: what the target replaces.
    pub const fn other(&self) -> Option<&Occupant> {
        self.other.as_ref()
    }

    /// The fate of the instances that a restart replaces.
    pub const fn older(&self) -> Option<Older> {
        self.older
    }

    /// The instance that a restart has made: the target, or the second one where another target is not begun yet.
    pub fn restarted(&self) -> Option<&Occupant> {
        if self.target.run == Phase::Pulled { self.other.as_ref() } else { Some(&self.target) }
    }

    /// The hook of its release that its host runs.
    pub const fn task(&self) -> Option<&Task> {
        self.task.as_ref()
    }

    /// The devices of its instance of `release`; those of its target if it has none.
    pub fn devices_of(&self, release: &Digest) -> &[String] {
        let other = self.other.as_ref().filter(|other| &other.release == release);
        &other.filter(|_| &self.target.release != release).unwrap_or(&self.target).gpus
    }

    /// The slot that it stands in for.
    pub const fn stands_in_for(&self) -> Option<&SlotId> {
        match &self.role {
            Role::Member | Role::Kept { .. } => None,
            Role::StandsInFor(slot) => Some(slot),
        }
    }

    /// When it is removed, if it is only kept for a while.
    pub const fn kept_until(&self) -> Option<Timestamp> {
        match &self.role {
            Role::Member | Role::StandsInFor(_) => None,
            Role::Kept { until } => Some(*until),
        }
    }

    /// Whether it is only kept for a while, and is none of the service's instances.
    pub const fn is_kept(&self) -> bool {
        self.kept_until().is_some()
    }

    /// Whether its target is good, so that nothing is on trial in it.
    pub const fn is_good(&self) -> bool {
        self.trial.is_none()
    }

    /// The release that its host restores if the target fails.
    pub fn fallback(&self) -> Option<Digest> {
        self.trial.and_then(|trial| trial.fallback)
    }

    /// Whether its target is started although its content failed on this host before.
    pub const fn retries(&self) -> bool {
        self.retry
    }

    /// When its second instance is removed.
    pub fn standby_until(&self) -> Option<Timestamp> {
        self.other.as_ref().and_then(|other| other.until)
    }

    /// Whether it is on its way out, and only not known yet to be empty.
    pub fn is_leaving(&self) -> bool {
        self.target.run == Phase::Absent
    }

    /// Every release that its host may need for it: the target, the second one, the fallback.
    pub fn named(&self) -> impl Iterator<Item = Digest> {
        let other = self.other.as_ref().map(|other| other.release);
        [Some(self.target.release), self.fallback(), other].into_iter().flatten()
    }

    /// Whether its host needs this release for it.
    pub fn names(&self, release: &Digest) -> bool {
        self.named().any(|named| &named == release)
    }

    /// Its part of the host's plan.
    pub fn plan(&self) -> PlanSlot {
        PlanSlot {
            slot: self.id.clone(),
            release: self.target.release,
            phase: self.target.run,
            good: self.is_good(),
            fallback: self.fallback(),
            order: self.order,
            gpus: self.target.gpus.clone(),
            previous: self.other.as_ref().map(|other| Previous { release: other.release, phase: other.run }),
            retry_quarantined: self.retry,
            generation: self.target.generation,
            keeps_older: self.older == Some(Older::Kept),
            task: self.task.clone(),
        }
    }

    /// The slot of which `plan` is the part that `host` holds: for recovery, where a host knows more than the store. `plan` of
    /// the result is that part again, except that a good release has no fallback.
    pub fn adopted(host: HostId, part: PlanSlot) -> Self {
        let trial = (!part.good).then_some(Trial { fallback: part.fallback });
        let other = part.previous.map(|previous| Occupant {
            release: previous.release,
            run: previous.phase,
            generation: 0,
            gpus: part.gpus.clone(),
            until: None,
        });
        Self {
            id: part.slot,
            host,
            order: part.order,
            role: Role::Member,
            trial,
            retry: part.retry_quarantined,
            target: Occupant {
                release: part.release,
                run: part.phase,
                generation: part.generation,
                gpus: part.gpus,
                until: None,
            },
            other,
            older: part.keeps_older.then_some(Older::Kept),
            task: part.task,
        }
    }
}

#[cfg(test)]
impl Slot {
    /// Changes it as if another plan had been signed for it.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut PlanSlot)) {
        let mut part = self.plan();
        change(&mut part);
        let (role, until, older) = (self.role.clone(), self.standby_until(), self.older);
        let mut edited = Self::adopted(self.host.clone(), part);
        edited.role = role;
        edited.older = edited.older.or(older.filter(|older| *older == Older::LetGo));
        edited.other.iter_mut().for_each(|other| other.until = until);
        *self = edited;
    }

    /// Sets the slot that it stands in for.
    pub(crate) fn stand_in_for(&mut self, slot: SlotId) {
        self.role = Role::StandsInFor(slot);
    }

    /// Puts it on another host.
    pub(crate) fn move_to(&mut self, host: HostId) {
        self.host = host;
    }
}
