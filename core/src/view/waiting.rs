//! The reasons for which a rollout waits, with the known facts of each.

use crate::fleet::Fleet;
use crate::id::{HostId, SlotId};
use crate::observation::{Cause, Instance, NotReady, SlotObservation};
use crate::reconcile::health_deadline;
use crate::rollout::{Kind, Rollout, State, Waiting};
use crate::service::{Releases, Slots};
use crate::time::Timestamp;

/// The inputs of the words.
pub(super) struct Waits<'a> {
    pub(super) rollout: &'a Rollout,
    pub(super) releases: &'a Releases,
    pub(super) slots: &'a Slots,
    pub(super) fleet: &'a dyn Fleet,
}

impl Waits<'_> {
    /// In words. Times stand in them as points of time, so that they stay the same while it waits.
    pub(super) fn text(&self, waiting: &Waiting) -> String {
        let known = if let Waiting::Healthy { host, slot } = waiting {
            self.not_ready(host, slot)
        } else if let Waiting::Pull { host, .. } = waiting {
            self.pull(host)
        } else {
            None
        };
        known.unwrap_or_else(|| waiting.to_string())
    }

    fn seen(&self, host: &HostId, slot: &SlotId) -> Option<&SlotObservation> {
        self.fleet.member(host)?.observation.as_deref()?.slot(slot)
    }

    /// `slot 0 on web-1, not ready (readiness GET http://10.0.0.5:20000/health → HTTP 404 since …; rolls back at …)`.
    fn not_ready(&self, host: &HostId, slot: &SlotId) -> Option<String> {
        let seen = self.seen(host, slot)?;
        let place = format!("slot {} on {host}, not ready", slot.index);
        if let Some(trouble) = &seen.trouble {
            return Some(format!("{place} ({}; again at {})", trouble.message, trouble.retry_at));
        }
        let want = self.slots.get(slot)?.target();
        let instance = seen.current_of(&want.release, want.generation)?;
        let why = instance.vitals.not_ready.as_ref()?;
        let goes_back = self.rollout.kind == Kind::Deploy && self.rollout.from.is_some();
        let then = if goes_back { "rolls back" } else { "gives up" };
        let until = self.gives_up(instance, why).map(|at| format!("; {then} at {at}")).unwrap_or_default();
        let answer = if why.answer.is_empty() { "no answer yet" } else { &why.answer };
        let asked = match why.cause {
            Cause::Paused => String::new(),
            Cause::Probe | Cause::Image | Cause::Other => format!("{} → ", why.asked),
        };
        Some(format!("{place} ({asked}{answer} since {}{until})", why.since))
    }

    /// When it is over: for the instance, or for the rollout.
    fn gives_up(&self, instance: &Instance, why: &NotReady) -> Option<Timestamp> {
        let spec = &self.releases.get(&instance.release)?.spec;
        if !instance.vitals.unproven {
            // It was ready for long enough before: its trigger counts, which a pause does not set off.
            let counts = why.cause != Cause::Paused && self.rollout.state != State::RollingBack;
            return Some(why.since + spec.rollback_on.unhealthy_for.duration()).filter(|_| counts);
        }
        let watched = self.fleet.since().max(self.rollout.progress_at);
        let rollout = watched + spec.progress_deadline.duration();
        // While it goes back, nothing comes after.
        let on_trial = self.rollout.state != State::RollingBack;
        let own = instance.vitals.started_at.map(|at| at + health_deadline(spec).duration());
        Some(own.filter(|_| on_trial).map_or(rollout, |own| own.min(rollout)))
    }

    /// The pull that fails, and is tried again.
    fn pull(&self, host: &HostId) -> Option<String> {
        let seen = self.fleet.member(host)?.observation.as_deref()?;
        let mine = seen.slots.iter().filter(|seen| self.slots.contains_key(&seen.slot));
        let trouble = mine.filter_map(|seen| seen.trouble.as_ref()).next()?;
        let again = trouble.retry_at;
        Some(format!("host {host} to pull the image ({}; again at {again})", trouble.message))
    }
}
