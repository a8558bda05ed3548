//! What may be started, and who stopped what: asked where a step of an agent begins, and where it has its effect.

use windlass_core::reconcile::Step;
use windlass_core::{Counter, Digest};

use crate::context::Context;
use crate::host::Host;

impl Host {
    /// Nothing unsigned, quarantined or below the floor is started.
    pub(crate) fn check_start(&self, context: &mut Context, step: &Step) {
        let (release, slot) = match step {
            Step::Launch(launch) => (launch.release.digest, &launch.slot),
            Step::Start(target) | Step::Restart(target) => (target.release, &target.slot),
            Step::Pull { .. }
            | Step::RemoveImage { .. }
            | Step::Stop(_)
            | Step::Remove(_)
            | Step::KeepRunning(_)
            | Step::CollectLog(_) => return,
        };
        let why = self.why_not(context, &release, slot);
        if let Some(why) = why {
            context.checks.fail(format!("{}: starts what it must not ({why}): {step:?}", self.name));
        }
    }

    fn why_not(&self, context: &Context, release: &Digest, slot: &windlass_core::SlotId) -> Option<String> {
        let Some(signed) = context.shop.signed.get(release) else {
            return Some("nobody signed it".to_owned());
        };
        if signed.release.service_id() != slot.service {
            return Some("it is of another service".to_owned());
        }
        let service = &slot.service;
        let floor = self.disk.trust.document().floor(service);
        let floor = floor.max(self.floors.get(service).copied().unwrap_or(Counter(0)));
        if signed.release.counter < floor {
            return Some(format!("below the floor {floor}"));
        }
        let want = self.plan_slot(slot);
        // What the plan falls back on is good, whatever failed here before.
        let is_fallback = want.is_some_and(|want| want.fallback == Some(*release));
        if !is_fallback && self.failed.contains(&(service.clone(), signed.content)) {
            return Some("its content failed here, and nobody asked for it again".to_owned());
        }
        None
    }

    /// A step of an agent whose host is alone begins to stop something. It goes on although the host is heard of again.
    pub(crate) fn note_alone(&mut self, step: &Step) {
        if let Step::Stop(target) = step {
            if self.is_isolated(&target.slot) {
                self.stops_alone.insert(target.container.clone());
            } else {
                self.stops_alone.remove(&target.container);
            }
        }
    }

    /// A step of ours is about to stop a container: does it take an instance away that served?
    pub(crate) fn note_stop(&self, context: &mut Context, id: &str) {
        let Some(process) = self.engine.processes.get(id).filter(|process| process.serves()) else { return };
        let slot = &process.container.slot;
        // What fails by itself is not ours; nor is a slot whose newer instance served and broke meanwhile, one that was
        // to stand still because its host was alone, or one whose plan the world took away.
        let broke =
            self.engine.processes.values().any(|other| &other.container.slot == slot && other.misbehaved);
        if broke || self.is_astray || self.is_isolated(slot) || self.stops_alone.contains(id) {
            return;
        }
        let allowed = context.checks.allowed.get(&(self.name.clone(), self.seq()));
        let allowed = allowed.and_then(|services| services.get(&slot.service)).copied().unwrap_or(1);
        context.checks.stops.push((slot.clone(), allowed));
    }
}
