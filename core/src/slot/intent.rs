//! The intent of a slot as plain data, and what it lets run: asked by coordinator, capacity, recovery and simulation alike.

use super::model::{Older, Slot};
use crate::digest::Digest;
use crate::observation::Instance;
use crate::plan::{Order, Phase, PlanSlot};

/// The parts of a slot's intent that decide about its instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// The release of its target.
    pub release: Digest,
    /// The desired state of its target.
    pub run: Phase,
    /// The generation of its target.
    pub generation: u64,
    /// Which instance goes first.
    pub order: Order,
    /// Whether its target is good.
    pub good: bool,
    /// The release that is restored if the target fails.
    pub fallback: Option<Digest>,
    /// Release and desired state of the second instance.
    pub other: Option<(Digest, Phase)>,
    /// The fate of the instances that a restart replaces.
    pub older: Option<Older>,
}

impl From<&PlanSlot> for Intent {
    fn from(part: &PlanSlot) -> Self {
        Self {
            release: part.release,
            run: part.phase,
            generation: part.generation,
            order: part.order,
            good: part.good,
            fallback: part.fallback,
            other: part.previous.as_ref().map(|previous| (previous.release, previous.phase)),
            older: part.keeps_older.then_some(Older::Kept),
        }
    }
}

impl From<&Slot> for Intent {
    fn from(slot: &Slot) -> Self {
        Self {
            release: slot.release(),
            run: slot.run(),
            generation: slot.target().generation,
            order: slot.order(),
            good: slot.is_good(),
            fallback: slot.fallback(),
            other: slot.other().map(|other| (other.release, other.run)),
            older: slot.older(),
        }
    }
}

impl Intent {
    /// The desired state of the second instance, if it is of `release`.
    fn other_of(&self, release: &Digest) -> Option<Phase> {
        self.other.filter(|(other, _)| other == release).map(|(_, run)| run)
    }

    /// The release that its host restores where its target fails.
    fn armed(&self) -> Option<Digest> {
        self.fallback.filter(|_| !self.good)
    }

    /// Whether anything may run in the slot. A target that is not begun, or stands still, leaves the second one as it is.
    pub fn lets_anything_run(&self) -> bool {
        let other = self.other.filter(|_| self.run != Phase::Absent);
        self.run.runs() || other.is_some_and(|(_, run)| run.runs())
    }

    /// Whether instances of `release` are meant to run.
    pub fn has_run(&self, release: &Digest) -> bool {
        (&self.release == release && self.run.runs()) || self.other_of(release).is_some_and(Phase::runs)
    }

    /// Whether `instance` is to finish what it has, since it is about to stop.
    pub fn is_draining(&self, instance: &Instance) -> bool {
        let is_target = instance.release == self.release;
        if is_target && instance.generation < self.generation && self.older == Some(Older::LetGo) {
            return true;
        }
        let run = if is_target { Some(self.run) } else { self.other_of(&instance.release) };
        run == Some(Phase::Draining)
    }

    /// Whether an instance is to finish what it has, since it is about to stop.
    pub fn drains(&self) -> bool {
        self.run == Phase::Draining || self.other.is_some_and(|(_, run)| run == Phase::Draining)
    }

    /// Whether both instances are meant to run at once.
    pub fn runs_both(&self) -> bool {
        let other_runs = self.other.is_some_and(|(_, run)| run.runs());
        self.order == Order::StartFirst && self.run == Phase::Running && other_runs
    }

    /// Whether an agent that carries it out lets `instance` run on; `target_failed` says that the target failed there.
    pub fn lets_run(&self, instance: &Instance, target_failed: bool) -> bool {
        let starts = self.run.runs();
        let stops_first = self.order == Order::StopFirst;
        let is_older = instance.generation < self.generation;
        let other = self.other_of(&instance.release);
        // A target that failed before it was begun has stopped nothing.
        if starts && target_failed {
            // An instance that is restored runs, and so does one that a restart was to replace.
            return if instance.release == self.release {
                is_older
            } else {
                self.fallback == Some(instance.release) || (self.fallback.is_none() && other.is_some())
            };
        }
        if instance.release == self.release {
            starts && !(is_older && stops_first)
        } else if let Some(run) = other {
            run.runs() && !(starts && stops_first)
        } else {
            // In the place of a second instance whose content failed there, until the target is begun.
            let other_runs = self.other.is_some_and(|(_, run)| run.runs());
            let is_restored =
                self.run == Phase::Pulled && other_runs && self.armed() == Some(instance.release);
            is_restored || starts && !stops_first // until its replacement serves
        }
    }
}
