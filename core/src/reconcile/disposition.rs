//! The disposition of each container of a slot.

use crate::digest::Digest;
use crate::plan::{Order, Phase, PlanSlot};

use super::container::Container;
use super::input::VerifiedRelease;
use super::memory::SlotMemory;
use super::ports;

/// The fate of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposition {
    /// It runs.
    Run,
    /// It stands still and is kept.
    Standby,
    /// It is stopped and removed.
    Remove,
    /// It stays as it is, until the new instance serves.
    Keep,
}

/// The mode in which a decision chooses dispositions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The slot follows its plan.
    Usual,
    /// The planned release failed here, so that its fallback runs.
    Restoring,
    /// Nothing starts: the coordinator was not heard of for longer than the release allows, or was not when that was
    /// noted.
    Isolated,
    /// And what runs stops. That takes silence of now: a note may be from an older copy of the journal.
    Alone,
}

/// The part of a container in its slot.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// It is kept for inspection.
    Kept,
    /// It is the instance that is wanted.
    Target,
    /// It is the instance that a restart replaces.
    Outdated,
    /// It is the predecessor, which may be the fallback too.
    Previous { is_fallback: bool },
    /// It is an instance of the predecessor's release that a restart was replacing, and that the plan keeps.
    OlderPrevious,
    /// It is the armed fallback, and not the predecessor.
    Fallback,
    /// It is a second one of the same release, or one to be replaced.
    Surplus,
    /// No plan names it any more.
    Unnamed,
}

/// The facts about a slot while a decision chooses dispositions.
pub(super) struct SlotContext<'a> {
    pub(super) want: &'a PlanSlot,
    pub(super) seen: &'a [&'a Container],
    pub(super) known: SlotMemory,
    /// The release that is wanted, if it is known.
    pub(super) release: Option<&'a VerifiedRelease>,
    pub(super) mode: Mode,
    /// The new instance is wanted and cannot be started now.
    pub(super) blocked: bool,
    /// The new instance serves.
    pub(super) available: bool,
    /// The predecessor is meant to run, and does not serve yet.
    pub(super) predecessor_starts: bool,
    /// Two instances may never run at once.
    pub(super) exclusive: bool,
    /// Nothing may start here now: it is exclusive, and may have been replaced.
    pub(super) unleased: bool,
    /// The previous release does not serve, and its content is quarantined: it is never started again.
    pub(super) barred: bool,
    /// The new instance only fits when those that no plan names any more have gone.
    pub(super) tight: bool,
}

impl<'a> SlotContext<'a> {
    /// The instance of `release` that counts: one that runs, else the newest.
    pub(super) fn instance_of(&self, release: &Digest) -> Option<&'a Container> {
        let mine = |seen: &&&Container| &seen.release == release && !self.is_spent(seen);
        let all = || self.seen.iter().filter(mine);
        // Of two that run, as in the middle of a restart, it is the one that serves.
        let serves = |seen: &&&Container| seen.health.as_ref().is_some_and(|health| health.ready);
        let mut up = all().filter(|seen| seen.state.is_up());
        up.clone().find(serves).or_else(|| up.next()).or_else(|| all().next()).copied()
    }

    /// The instance that is wanted: of the release, and none from before the last restart that was asked for.
    /// The container of the target release; any of it where nothing is to run.
    pub(super) fn target(&self) -> Option<&'a Container> {
        self.of_planned(|seen| !self.is_older(seen))
    }

    /// The instance that a restart replaces. It serves until the new one does, as a predecessor.
    pub(super) fn outdated(&self) -> Option<&'a Container> {
        // Of several, the one that has served longest may have requests.
        let ready = |seen: &Container| seen.health.as_ref().is_some_and(|health| health.ready);
        let serves = |seen: &&&Container| {
            let is_mine = seen.release == self.want.release && !self.is_spent(seen) && self.is_older(seen);
            is_mine && seen.state.is_up() && ready(seen)
        };
        let serving = self.seen.iter().filter(serves).min_by_key(|seen| seen.generation).copied();
        serving.or_else(|| self.of_planned(|seen| self.is_older(seen)))
    }

    fn of_planned(&self, which: impl Fn(&Container) -> bool) -> Option<&'a Container> {
        let mine =
            |seen: &&&Container| seen.release == self.want.release && !self.is_spent(seen) && which(seen);
        let all = || self.seen.iter().filter(mine);
        all().find(|seen| seen.state.is_up()).or_else(|| all().next()).copied()
    }

    fn is_older(&self, seen: &Container) -> bool {
        self.wants_running() && seen.generation < self.want.generation
    }

    /// Kept for inspection only, or to be replaced.
    fn is_spent(&self, seen: &Container) -> bool {
        self.is_kept(seen) || self.known.instances.get(&seen.instance).is_some_and(|known| known.discard)
    }

    fn is_kept(&self, seen: &Container) -> bool {
        self.known.kept.as_ref() == Some(&seen.instance)
    }

    /// Returns whether nothing starts, because the coordinator is silent.
    pub(super) fn is_isolated(&self) -> bool {
        matches!(self.mode, Mode::Isolated | Mode::Alone)
    }

    /// Returns whether the new instance is to run.
    pub(super) fn wants_running(&self) -> bool {
        self.want.phase.runs()
    }

    /// Returns whether the old instance stops before the new one starts. Also where both need one fixed port.
    pub(super) fn stops_first(&self) -> bool {
        self.exclusive
            || self.want.order == Order::StopFirst
            || self.release.is_some_and(|release| self.shares_a_port(release))
    }

    fn shares_a_port(&self, release: &VerifiedRelease) -> bool {
        let others = || self.seen.iter().filter(|seen| seen.release != release.digest || self.is_older(seen));
        ports::fixed(release).any(|port| others().any(|seen| seen.ports.values().any(|held| *held == port)))
    }

    /// The fallback that may still be needed.
    pub(super) fn armed_fallback(&self) -> Option<Digest> {
        self.want.fallback.filter(|fallback| !self.want.good && *fallback != self.want.release)
    }

    /// The release that serves until the new instance does, and its phase: the previous one, or the fallback in its
    /// stead. A plan may name a previous release before it is known that it failed here.
    pub(super) fn predecessor(&self) -> Option<(Digest, Phase)> {
        if self.want.phase == Phase::Absent {
            return None; // the slot goes with everything in it
        }
        let previous =
            self.want.previous.as_ref().filter(|previous| previous.release != self.want.release)?;
        let release = if self.barred { self.armed_fallback()? } else { previous.release };
        Some((release, previous.phase))
    }

    /// The predecessor, if it is meant to run.
    pub(super) fn running_predecessor(&self) -> Option<Digest> {
        self.predecessor().filter(|(_, phase)| phase.runs()).map(|(release, _)| release)
    }

    fn is_barred(&self, seen: &Container) -> bool {
        self.barred && self.want.previous.as_ref().is_some_and(|previous| previous.release == seen.release)
    }

    /// The disposition of every container, in the order of `seen`.
    pub(super) fn dispositions(&self) -> Vec<(&'a Container, Disposition)> {
        let target = self.target().map(|seen| &seen.id);
        let outdated = self.outdated().map(|seen| &seen.id);
        let previous = self.predecessor().map(|(release, _)| release);
        let previous_instance = previous.and_then(|release| self.instance_of(&release)).map(|seen| &seen.id);
        let fallback =
            self.armed_fallback().and_then(|release| self.instance_of(&release)).map(|seen| &seen.id);
        let part = |seen: &Container| {
            let is = |other: Option<&String>| other == Some(&seen.id);
            if self.is_kept(seen) {
                Part::Kept
            } else if is(target) {
                Part::Target
            } else if is(outdated) {
                Part::Outdated
            } else if is(previous_instance) {
                Part::Previous { is_fallback: is(fallback) }
            } else if is(fallback) {
                Part::Fallback
            } else if Some(seen.release) == previous && self.keeps(seen) {
                Part::OlderPrevious
            } else if seen.release == self.want.release
                || Some(seen.release) == previous
                || self.is_spent(seen)
                || self.is_barred(seen)
            {
                Part::Surplus
            } else {
                Part::Unnamed
            }
        };
        self.seen.iter().map(|seen| (*seen, self.disposition(part(seen), seen))).collect()
    }

    /// The disposition of a container, by the mode of the slot and the container's part in it.
    fn disposition(&self, part: Part, seen: &Container) -> Disposition {
        let is_up = seen.state.is_up();
        match (self.mode, part) {
            (_, Part::Kept) => Disposition::Standby,
            (Mode::Alone, _) if is_up => Disposition::Standby,
            (Mode::Alone | Mode::Isolated, _) if !is_up && self.is_named(seen) => Disposition::Standby,
            (Mode::Alone | Mode::Isolated, _) => Disposition::Keep,
            (Mode::Restoring, Part::Outdated | Part::Fallback | Part::Previous { is_fallback: true }) => {
                Disposition::Run
            }
            (Mode::Restoring, Part::Previous { is_fallback: false }) => self.when_restoring(seen),
            (Mode::Restoring, Part::Target | Part::OlderPrevious | Part::Surplus | Part::Unnamed) => {
                Disposition::Remove
            }
            (Mode::Usual, Part::Target) => self.of_target(),
            (Mode::Usual, Part::Outdated) => self.of_outdated(seen),
            (Mode::Usual, Part::Previous { is_fallback }) => self.of_previous(is_fallback),
            (Mode::Usual, Part::OlderPrevious) => Disposition::Keep,
            (Mode::Usual, Part::Surplus) => Disposition::Remove,
            (Mode::Usual, Part::Fallback | Part::Unnamed) if self.must_wait() => Disposition::Keep,
            (Mode::Usual, Part::Fallback) => Disposition::Standby,
            (Mode::Usual, Part::Unnamed) => Disposition::Remove,
        }
    }

    fn is_named(&self, seen: &Container) -> bool {
        let previous = self.want.previous.as_ref().map(|previous| previous.release);
        [Some(self.want.release), previous, self.armed_fallback()].contains(&Some(seen.release))
    }

    /// Containers that no plan names any more go on until what replaces them serves.
    fn must_wait(&self) -> bool {
        let replaced_by_new = self.wants_running() && !self.available;
        // Before the new one is begun, that is its predecessor.
        let replaced_by_old = !self.wants_running() && self.predecessor_starts;
        self.blocked || ((replaced_by_new || replaced_by_old) && !self.stops_first() && !self.tight)
    }

    /// Whether the plan has an instance run on that a restart replaces.
    fn keeps(&self, seen: &Container) -> bool {
        self.want.keeps_older && seen.state.is_up() && !self.is_spent(seen) && !self.stops_first()
    }

    /// The disposition of an instance that a restart replaces. It needs no standby: the new one is of the same release.
    fn of_outdated(&self, seen: &Container) -> Disposition {
        if self.available && !self.keeps(seen) {
            Disposition::Remove
        } else if self.blocked || (seen.state.is_up() && !self.stops_first()) {
            Disposition::Run
        } else {
            Disposition::Standby
        }
    }

    fn of_target(&self) -> Disposition {
        match self.want.phase {
            Phase::Running | Phase::Draining => Disposition::Run,
            // The instance that was to run until the new one begins has failed here, and nothing runs in its stead.
            Phase::Pulled if self.barred && self.predecessor().is_none() => Disposition::Keep,
            Phase::Standby => Disposition::Standby,
            Phase::Pulled | Phase::Absent => Disposition::Remove,
        }
    }

    fn of_previous(&self, is_fallback: bool) -> Disposition {
        let phase = self.want.previous.as_ref().map_or(Phase::Absent, |previous| previous.phase);
        match phase {
            Phase::Running | Phase::Draining if self.blocked => Disposition::Run,
            Phase::Standby | Phase::Pulled | Phase::Absent if self.blocked => Disposition::Keep,
            Phase::Running | Phase::Draining if self.wants_running() && self.stops_first() => {
                Disposition::Standby
            }
            Phase::Running | Phase::Draining => Disposition::Run,
            // It was to rest once the new one served. That does not serve any more, or is gone.
            Phase::Standby if self.must_wait() => Disposition::Keep,
            Phase::Standby => Disposition::Standby,
            Phase::Pulled | Phase::Absent if is_fallback => Disposition::Standby,
            Phase::Pulled | Phase::Absent => Disposition::Remove,
        }
    }

    /// The disposition of a predecessor that is no fallback, while the fallback is restored.
    fn when_restoring(&self, seen: &Container) -> Disposition {
        let phase = self.want.previous.as_ref().map_or(Phase::Absent, |previous| previous.phase);
        let makes_room = self.stops_first() && self.armed_fallback().is_some();
        debug_assert!(seen.release != self.want.release, "the failed release is not its own predecessor");
        match phase {
            Phase::Running | Phase::Draining if makes_room => Disposition::Standby,
            Phase::Running | Phase::Draining => Disposition::Run,
            Phase::Standby => Disposition::Standby,
            Phase::Pulled | Phase::Absent => Disposition::Remove,
        }
    }
}
