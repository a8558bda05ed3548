//! What may be started, and who stopped what: asked where a step of an agent begins, and where it has its effect.

use windlass_core::reconcile::Step;
use windlass_core::{Counter, Digest, ServiceId, SlotId};

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

    fn why_not(&self, context: &Context, release: &Digest, slot: &SlotId) -> Option<String> {
        let Some(signed) = context.shop.signed.get(release) else {
            return Some("nobody signed it".to_owned());
        };
        if signed.release.service_id() != slot.service {
            return Some("it is of another service".to_owned());
        }
        let service = &slot.service;
        let floor = self.floor(service);
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

    fn floor(&self, service: &ServiceId) -> Counter {
        let floor = self.disk.trust.document().floor(service);
        floor.max(self.floors.get(service).copied().unwrap_or(Counter(0)))
    }

    /// Is what the plan in force wants of a slot, or wants beside it, below the floor? Then it cannot come to rest.
    pub(crate) fn is_below_floor(&self, context: &Context, slot: &SlotId) -> bool {
        let Some(want) = self.plan_slot(slot) else { return false };
        let previous = want.previous.as_ref().map(|previous| previous.release);
        let floor = self.floor(&slot.service);
        let below = |digest: &Digest| {
            context.shop.signed.get(digest).is_some_and(|signed| signed.release.counter < floor)
        };
        [Some(want.release), previous].into_iter().flatten().any(|digest| below(&digest))
    }

    /// Something begins to stop because the host is alone, or a person said so. It goes on although the host is heard of
    /// again, or the person thinks better of it.
    pub(crate) fn note_excuse(&mut self, context: &Context, step: &Step) {
        if let Step::Stop(target) = step {
            if self.is_isolated(&target.slot) || context.checks.told.contains(&target.slot) {
                self.excused_stops.insert(target.container.clone());
            } else {
                self.excused_stops.remove(&target.container);
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
        if broke || self.is_astray || self.is_isolated(slot) || self.excused_stops.contains(id) {
            return;
        }
        let allowed = context.checks.allowed.get(&(self.name.clone(), self.seq()));
        let allowed = allowed.and_then(|services| services.get(&slot.service)).copied().unwrap_or(1);
        context.checks.stops.push((slot.clone(), allowed));
    }
}
