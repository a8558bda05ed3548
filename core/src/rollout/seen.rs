//! What is known of a slot.

use crate::digest::Digest;
use crate::host::Liveness;
use crate::id::{HostId, SlotId};
use crate::observation::{
    EngineState, Evidence, Instance, InstanceState, Refusal, SlotObservation, SlotStatus,
};
use crate::plan::Phase;

use super::draft::Draft;
use super::waiting::Waiting;

/// What is known of a release in a slot.
pub(super) enum Seen<'a> {
    /// Nothing current; why.
    Nothing(Waiting),
    /// The agent works on it.
    Converging(Option<&'a SlotObservation>),
    /// It has been healthy for min ready.
    Available,
    /// It failed there.
    Failed(&'a Evidence),
    /// It was refused there.
    Refused(&'a Refusal),
}

impl<'a> Draft<'a> {
    /// The newest observation of a slot, if it is about the part that the newest plan has of it. That another part of that
    /// plan changed, and the host has not taken it yet, says nothing about this slot.
    pub(super) fn observation(&self, slot: &SlotId) -> Result<Option<&'a SlotObservation>, Waiting> {
        let Some(assignment) = self.slots.get(slot) else { return Ok(None) };
        let host = &assignment.host;
        let Some(member) = self.snapshot.fleet.member(host) else {
            return Err(Waiting::Host { host: host.clone(), liveness: Liveness::Lost });
        };
        if member.liveness != Liveness::Connected {
            return Err(Waiting::Host { host: host.clone(), liveness: member.liveness });
        }
        if member.recovering {
            return Err(Waiting::Recovering(host.clone()));
        }
        let Some(observation) = member.observation.as_deref() else {
            return Err(Waiting::Report(host.clone()));
        };
        if self.is_dirty(slot) || observation.seq < member.part_since(slot) {
            let writes = observation.unwritable.is_none();
            return Err(if writes { Waiting::Plan(host.clone()) } else { Waiting::Journal(host.clone()) });
        }
        if matches!(observation.engine, EngineState::Unavailable(_)) {
            return Err(Waiting::Engine(host.clone()));
        }
        Ok(observation.slot(slot))
    }

    /// What is known of `release` in `slot`.
    pub(super) fn seen(&self, slot: &SlotId, release: &Digest) -> Seen<'a> {
        if let Some(refusal) = self.plan_refusal(slot) {
            return Seen::Refused(refusal);
        }
        let observed = match self.observation(slot) {
            Err(waiting) => return Seen::Nothing(waiting),
            Ok(None) => return Seen::Converging(None),
            Ok(Some(observed)) => observed,
        };
        self.read(slot, observed, release)
    }

    /// What `observed`, which is about the slot's part in the newest plan, says of `release`.
    fn read(&self, slot: &SlotId, observed: &'a SlotObservation, release: &Digest) -> Seen<'a> {
        let about_target = observed.release.as_ref() == Some(release);
        match &observed.status {
            SlotStatus::Failed { evidence, .. } if &evidence.release == release => Seen::Failed(evidence),
            SlotStatus::Refused(refusal) if about_target => Seen::Refused(refusal),
            SlotStatus::Failed { .. }
            | SlotStatus::Refused(_)
            | SlotStatus::Converging
            | SlotStatus::Settled => match self.current_of(slot, observed, release) {
                Some(instance) if is_available(instance) => Seen::Available,
                _ => match self.unwritable_on(slot) {
                    Some(host) => Seen::Nothing(Waiting::Journal(host.clone())),
                    None => Seen::Converging(Some(observed)),
                },
            },
        }
    }

    /// Was `release` available in `slot` when its host was last heard of, a moment ago? A link that blinks makes what is
    /// known older, and not false.
    pub(super) fn was_available(&self, slot: &SlotId, release: &Digest) -> bool {
        let member = self.slots.get(slot).and_then(|a| self.snapshot.fleet.member(&a.host));
        let Some(member) = member.filter(|member| member.is_silent() && !member.recovering) else {
            return false;
        };
        let Some(report) = member.last_report.as_deref() else { return false };
        let is_current = report.seq >= member.part_since(slot) && !self.is_dirty(slot);
        let reaches = !matches!(report.engine, EngineState::Unavailable(_));
        let seen = report.slot(slot).filter(|_| is_current && reaches);
        seen.is_some_and(|seen| matches!(self.read(slot, seen, release), Seen::Available))
    }

    /// The instance of `release` that counts: where it is the planned one, none from before the last restart.
    fn current_of(
        &self,
        slot: &SlotId,
        observed: &'a SlotObservation,
        release: &Digest,
    ) -> Option<&'a Instance> {
        let want = self.slots.get(slot).map(|assignment| &assignment.want);
        let least = want.filter(|want| &want.release == release).map_or(0, |want| want.generation);
        observed.current_of(release, least)
    }

    /// Is no instance left in `slot` that a restart has replaced?
    pub(super) fn older_is_stopped(&self, slot: &SlotId) -> Result<bool, Waiting> {
        let observed = self.observation(slot)?;
        let want = &self.slots[slot].want;
        let older = |i: &Instance| {
            i.release == want.release && i.generation < want.generation && i.state.is_running()
        };
        Ok(!observed.is_some_and(|seen| seen.instances.iter().any(older)))
    }

    /// The slot's host, if its agent can write nothing down.
    fn unwritable_on(&self, slot: &SlotId) -> Option<&HostId> {
        let host = &self.slots.get(slot)?.host;
        let observation = self.snapshot.fleet.member(host)?.observation.as_deref()?;
        observation.unwritable.is_some().then_some(host)
    }

    /// Does the engine of the slot's host not answer? What is known of its containers is then from before.
    pub(super) fn is_without_engine(&self, slot: &SlotId) -> bool {
        let member = self.slots.get(slot).and_then(|a| self.snapshot.fleet.member(&a.host));
        let observation = member.and_then(|member| member.observation.as_deref());
        observation.is_some_and(|seen| matches!(seen.engine, EngineState::Unavailable(_)))
    }

    /// Can nothing be done on the slot's host now, through no fault of a release: it is lost, its engine does not
    /// answer, or its agent can write nothing? A deadline that passes for that alone leaves the host out.
    pub(super) fn is_out_of_reach(&self, slot: &SlotId) -> bool {
        self.is_lost(slot) || self.is_without_engine(slot) || self.unwritable_on(slot).is_some()
    }

    /// Has the slot's host left the count of the rollout?
    pub(super) fn is_left_behind(&self, slot: &SlotId) -> bool {
        let host = self.slots.get(slot).map(|assignment| &assignment.host);
        let rollout = self.rollout.as_ref();
        host.zip(rollout).is_some_and(|(host, rollout)| rollout.stragglers.contains(host))
    }

    /// The refusal of the newest plan as a whole, if the slot's host refused it and so has an older part of the slot.
    fn plan_refusal(&self, slot: &SlotId) -> Option<&'a Refusal> {
        let assignment = self.slots.get(slot)?;
        let member = self.snapshot.fleet.member(&assignment.host)?;
        let observation = member.observation.as_deref()?;
        let older = observation.seq < member.part_since(slot) && !self.is_dirty(slot);
        let heard = member.liveness == Liveness::Connected && !member.recovering;
        observation.plan_refusal.as_ref().filter(|_| older && heard)
    }

    /// Is `release` known not to run in `slot`?
    pub(super) fn is_stopped(&self, slot: &SlotId, release: &Digest) -> Result<bool, Waiting> {
        let observed = self.observation(slot)?;
        Ok(!observed.is_some_and(|seen| {
            let runs = seen.instances.iter().any(|i| &i.release == release && i.state.is_running());
            runs || self.is_on_its_way(slot, seen)
        }))
    }

    /// Does the slot's host say that no instance of it runs?
    pub(super) fn nothing_runs(&self, slot: &SlotId) -> Result<bool, Waiting> {
        let observed = self.observation(slot)?;
        Ok(!observed.is_some_and(|seen| {
            seen.instances.iter().any(|i| i.state.is_running()) || self.is_on_its_way(slot, seen)
        }))
    }

    /// Is a slot that is to stand still not there yet? A start that was under way when it was told so may still happen.
    fn is_on_its_way(&self, slot: &SlotId, seen: &SlotObservation) -> bool {
        let stands_still = matches!(self.slots[slot].want.phase, Phase::Standby | Phase::Absent);
        stands_still && seen.status == SlotStatus::Converging
    }

    /// Did `release` run in `slot` when it was last heard of, whichever plan was in force then?
    pub(super) fn is_seen_running(&self, slot: &SlotId, release: &Digest) -> bool {
        let running = |i: &Instance| &i.release == release && i.state.is_running();
        self.newest_of(slot).is_some_and(|seen| seen.instances.iter().any(running))
    }

    /// Was `release` ready in `slot` when it was last heard of, whichever plan was in force then?
    pub(super) fn is_seen_healthy(&self, slot: &SlotId, release: &Digest) -> bool {
        let healthy = |i: &Instance| &i.release == release && i.state == InstanceState::Healthy;
        self.newest_of(slot).is_some_and(|seen| seen.instances.iter().any(healthy))
    }

    /// Was the planned release of `slot` last heard of as failed there, whichever plan was in force then?
    pub(super) fn had_failed(&self, slot: &SlotId) -> bool {
        let planned = self.slots.get(slot).map(|assignment| assignment.want.release);
        self.newest_of(slot).is_some_and(|seen| {
            matches!(&seen.status, SlotStatus::Failed { evidence, .. } if Some(evidence.release) == planned)
        })
    }

    pub(super) fn newest_of(&self, slot: &SlotId) -> Option<&'a SlotObservation> {
        let member = self.snapshot.fleet.member(&self.slots.get(slot)?.host)?;
        member.observation.as_deref()?.slot(slot)
    }

    /// Is the slot's host lost, evicted or banned?
    pub(super) fn is_lost(&self, slot: &SlotId) -> bool {
        let Some(assignment) = self.slots.get(slot) else { return true };
        self.snapshot.fleet.member(&assignment.host).is_none_or(|m| m.liveness == Liveness::Lost)
    }
}

fn is_available(instance: &Instance) -> bool {
    instance.available && instance.state == InstanceState::Healthy
}
