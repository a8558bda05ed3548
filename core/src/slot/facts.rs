//! The facts of a slot: made once per slot and decision from its intent and the newest word of its host; every question
//! about what runs or serves is asked here.

mod last;
mod restored;
mod seen;

use super::intent::Intent;
use super::model::Slot;
use super::waiting::Waiting;
use crate::digest::Digest;
use crate::fleet::Member;
use crate::host::Liveness;
use crate::id::{HostId, SlotId};
use crate::observation::{
    EngineState, Instance, InstanceState, Observation, Refusal, SlotObservation, SlotStatus,
};
use crate::plan::Phase;
pub(crate) use seen::{Certainty, Reach, Seen};

/// Everything that is known of one slot.
#[derive(Debug, Clone)]
pub(crate) struct SlotFacts<'a> {
    id: SlotId,
    host: HostId,
    /// The intent that they were made for.
    pub(crate) intent: Intent,
    /// The reach of its host.
    pub(crate) reach: Reach,
    is_lost: bool,
    engine_down: bool,
    engine_answers: bool,
    read_only: bool,
    /// It is to have GPUs of its host, and nobody can ask those.
    gpus_silent: bool,
    /// The observation of the slot under its present part.
    confirmed: Option<&'a SlotObservation>,
    /// The last observation of it on the stream that stands, under whichever plan.
    last: Option<&'a SlotObservation>,
    /// The observation of it under its present part, before its host fell silent a moment ago.
    remembered: Option<&'a SlotObservation>,
    /// The refusal of the newest plan as a whole.
    plan_refusal: Option<&'a Refusal>,
}

impl<'a> SlotFacts<'a> {
    /// The facts of `slot` on the host that is `member`. `is_changed` says that this decision has changed the slot: every word
    /// is then about an older part.
    pub(crate) fn new(slot: &Slot, member: Option<&'a Member>, is_changed: bool) -> Self {
        let id = slot.id();
        let heard = member.and_then(|member| member.observation.as_deref());
        let is_older = |seq: u64| is_changed || member.is_some_and(|member| seq < member.part_since(id));
        let reach = reach(member, heard, is_older);
        let silent = member.filter(|member| member.is_silent() && !member.recovering);
        let report = silent.and_then(|member| member.last_report.as_deref());
        let report = report.filter(|report| !is_older(report.seq) && has_engine(report));
        let refuses =
            member.is_some_and(|m| m.liveness == Liveness::Connected && !m.recovering && !is_changed);
        let refusal = heard.filter(|seen| refuses && is_older(seen.seq));
        Self {
            id: id.clone(),
            host: slot.host().clone(),
            intent: slot.into(),
            reach,
            is_lost: member.is_none_or(|member| member.liveness == Liveness::Lost),
            engine_down: heard.is_some_and(|seen| !has_engine(seen)),
            engine_answers: heard.is_some_and(|seen| seen.engine == EngineState::Available),
            read_only: heard.is_some_and(|seen| seen.unwritable.is_some()),
            gpus_silent: !slot.target().gpus.is_empty()
                && member.is_some_and(|member| member.facts.gpus_are_silent()),
            confirmed: heard.filter(|_| reach == Reach::Confirmed).and_then(|seen| seen.slot(id)),
            last: heard.and_then(|seen| seen.slot(id)),
            remembered: report.and_then(|report| report.slot(id)),
            plan_refusal: refusal.and_then(|seen| seen.plan_refusal.as_ref()),
        }
    }

    /// The slot.
    pub(crate) const fn id(&self) -> &SlotId {
        &self.id
    }

    /// The slot's host.
    pub(crate) const fn host(&self) -> &HostId {
        &self.host
    }

    /// The observation of the slot under its present part.
    ///
    /// # Errors
    /// Its host has not said anything about that part; the thing that is missing.
    pub(crate) fn word(&self) -> Result<Option<&'a SlotObservation>, Waiting> {
        let host = || self.host.clone();
        Err(match self.reach {
            Reach::Confirmed => return Ok(self.confirmed),
            Reach::Unreported => Waiting::Report(host()),
            Reach::Unconfirmed => Waiting::Plan(host()),
            Reach::ReadOnly => Waiting::Journal(host()),
            Reach::EngineDown => Waiting::Engine(host()),
            Reach::Recovering => Waiting::Recovering(host()),
            Reach::Away(liveness) => Waiting::Host { host: host(), liveness },
        })
    }

    /// The state of its target.
    pub(crate) fn target(&self) -> Seen<'a> {
        self.of(&self.intent.release)
    }

    /// The question that its target has still to answer before the rollout may succeed.
    pub(crate) fn pending(&self) -> Option<Waiting> {
        let release = &self.intent.release;
        let instance = self.confirmed?.current_of(release, self.least_generation(release))?;
        let asked = instance.vitals.pending.clone()?;
        Some(Waiting::Answer { host: self.host.clone(), slot: self.id.clone(), asked: Box::new(asked) })
    }

    /// The thing that a target that is not available waits for.
    pub(crate) fn until_available(&self) -> Waiting {
        if self.confirmed.is_some_and(|seen| seen.checking) {
            return Waiting::Checks(self.host.clone());
        }
        let release = &self.intent.release;
        let is_there =
            |seen: &SlotObservation| seen.current_of(release, self.least_generation(release)).is_some();
        if self.gpus_silent && self.confirmed.is_some_and(|seen| !is_there(seen)) {
            return Waiting::GpusSilent(self.host.clone());
        }
        let healthy = || Waiting::Healthy { host: self.host.clone(), slot: self.id.clone() };
        self.pending().unwrap_or_else(healthy)
    }

    /// Whether its target has been healthy for min ready.
    pub(crate) fn is_available(&self) -> bool {
        self.target() == Seen::Available
    }

    /// The state of `release` in it.
    pub(crate) fn of(&self, release: &Digest) -> Seen<'a> {
        if let Some(refusal) = self.plan_refusal {
            return Seen::Refused(refusal);
        }
        match self.word() {
            Err(waiting) => Seen::Nothing(waiting),
            Ok(None) => Seen::Converging(None),
            Ok(Some(seen)) => self.read(seen, release),
        }
    }

    /// The state of `release` as `seen`, which is about the slot's present part, has it.
    fn read(&self, seen: &'a SlotObservation, release: &Digest) -> Seen<'a> {
        let about_target = seen.release.as_ref() == Some(release);
        match &seen.status {
            SlotStatus::Failed { evidence, .. } if &evidence.release == release => Seen::Failed(evidence),
            SlotStatus::Refused(refusal) if about_target => Seen::Refused(refusal),
            SlotStatus::Failed { .. }
            | SlotStatus::Refused(_)
            | SlotStatus::Converging
            | SlotStatus::Settled => match seen.current_of(release, self.least_generation(release)) {
                Some(instance) if is_available(instance) => Seen::Available,
                _ if self.read_only => Seen::Nothing(Waiting::Journal(self.host.clone())),
                _ => Seen::Converging(Some(seen)),
            },
        }
    }

    /// The lowest generation that counts: of the target, none from before the last restart.
    fn least_generation(&self, release: &Digest) -> u64 {
        if &self.intent.release == release { self.intent.generation } else { 0 }
    }

    /// Whether its target was available when its host was last heard of, a moment ago. A link that blinks makes facts older,
    /// and not false.
    pub(crate) fn was_available(&self) -> bool {
        self.remembered.is_some_and(|seen| self.read(seen, &self.intent.release) == Seen::Available)
    }

    /// Whether its host is lost, evicted or banned.
    pub(crate) const fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether nothing can be done on its host now, through no fault of a release: it is lost, its engine does not answer, or
    /// its agent can write nothing. A deadline that passes for that alone leaves the host out.
    pub(crate) const fn is_out_of_reach(&self) -> bool {
        self.is_lost || self.engine_down || self.read_only
    }

    /// Whether no instance is left in it that a restart has replaced.
    ///
    /// # Errors
    /// The thing that is missing to know it.
    pub(crate) fn older_is_stopped(&self) -> Result<bool, Waiting> {
        let is_older = |i: &Instance| {
            i.release == self.intent.release && i.generation < self.intent.generation && i.state.is_running()
        };
        Ok(!self.word()?.is_some_and(|seen| seen.instances.iter().any(is_older)))
    }

    /// Whether its target has not been available yet.
    pub(crate) fn is_unproven(&self) -> bool {
        let Ok(Some(seen)) = self.word() else { return false };
        let release = &self.intent.release;
        seen.current_of(release, self.least_generation(release)).is_none_or(|seen| seen.vitals.unproven)
    }

    /// Whether `release` is known not to run in it.
    ///
    /// # Errors
    /// The thing that is missing to know it.
    pub(crate) fn is_stopped(&self, release: &Digest) -> Result<bool, Waiting> {
        let runs = |i: &Instance| &i.release == release && i.state.is_running();
        Ok(!self.word()?.is_some_and(|seen| seen.instances.iter().any(runs) || self.is_on_its_way(seen)))
    }

    /// Whether no instance is known to run in it.
    ///
    /// # Errors
    /// The thing that is missing to know it.
    pub(crate) fn is_empty(&self) -> Result<bool, Waiting> {
        let runs = |i: &Instance| i.state.is_running();
        Ok(!self.word()?.is_some_and(|seen| seen.instances.iter().any(runs) || self.is_on_its_way(seen)))
    }

    /// Whether it is to stand still and is not there yet: a start that was under way may still happen.
    fn is_on_its_way(&self, seen: &SlotObservation) -> bool {
        let stands_still = matches!(self.intent.run, Phase::Standby | Phase::Absent);
        stands_still && seen.status == SlotStatus::Converging
    }

    /// Whether an instance of it serves, and goes on serving under the stored intent. `Yes` counts as up; anything but `No`
    /// may not be stopped uncounted. A word about an older part tells nothing: an instance may be about to stop for it.
    pub(crate) fn serving(&self) -> Certainty {
        let Ok(seen) = self.word() else { return Certainty::Maybe };
        let Some(seen) = seen else { return Certainty::No };
        let failed = has_failed(seen, &self.intent.release);
        let stays = |instance: &&Instance| self.intent.lets_run(instance, failed);
        let mut staying = seen.instances.iter().filter(stays);
        if staying.clone().any(|instance| is_healthy(instance) && !self.intent.is_draining(instance)) {
            Certainty::Yes
        } else if staying.any(|instance| is_healthy(instance) || instance.readiness_unknown) {
            // It drains; or its agent has begun anew, and has no answer yet of what runs.
            Certainty::Maybe
        } else {
            Certainty::No
        }
    }
}

fn reach(member: Option<&Member>, heard: Option<&Observation>, is_older: impl Fn(u64) -> bool) -> Reach {
    let Some(member) = member else { return Reach::Away(Liveness::Lost) };
    if member.liveness != Liveness::Connected {
        return Reach::Away(member.liveness);
    }
    if member.recovering {
        return Reach::Recovering;
    }
    match heard {
        None => Reach::Unreported,
        Some(seen) if is_older(seen.seq) && seen.unwritable.is_none() => Reach::Unconfirmed,
        Some(seen) if is_older(seen.seq) => Reach::ReadOnly,
        Some(seen) if !has_engine(seen) => Reach::EngineDown,
        Some(_) => Reach::Confirmed,
    }
}

const fn has_engine(seen: &Observation) -> bool {
    !matches!(seen.engine, EngineState::Unavailable(_))
}

fn has_failed(seen: &SlotObservation, release: &Digest) -> bool {
    matches!(&seen.status, SlotStatus::Failed { evidence, .. } if &evidence.release == release)
}

fn is_available(instance: &Instance) -> bool {
    instance.available && instance.state == InstanceState::Healthy
}

fn is_healthy(instance: &Instance) -> bool {
    instance.state == InstanceState::Healthy
}

#[cfg(test)]
mod tests;
