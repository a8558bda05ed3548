//! Checks of starts and stops: where a step of an agent begins, and where it has its effect.

use windlass_core::plan::{Order, Phase, PlanSlot};
use windlass_core::reconcile::Step;
use windlass_core::release::Spec;
use windlass_core::{Digest, SlotId};

use super::Exemption;
use crate::agent::Agent;
use crate::context::Context;
use crate::engine::Process;
use crate::host::Host;

impl Host {
    /// Nothing unsigned, quarantined or below the floor is started.
    pub(crate) fn check_start(&self, context: &mut Context, step: &Step) {
        let (release, slot) = match step {
            Step::Launch(launch) => (launch.release.digest, &launch.slot),
            Step::Start(target) | Step::Restart(target) => (target.release, &target.slot),
            Step::Stop(target) => return self.check_replaced(context, &target.container),
            Step::Task { .. } => {
                return context
                    .checks
                    .fail(format!("{}: runs a hook that no release has: {step:?}", self.name));
            }
            Step::Pull { .. }
            | Step::RemoveImage { .. }
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
        // A release that the plan calls good, or falls back on, is good, whatever failed here before: another release of the same
        // content may have, in the slot next door.
        let is_good =
            |want: &PlanSlot| want.fallback == Some(*release) || (want.good && want.release == *release);
        if !want.is_some_and(is_good) && self.failed.contains(&(service.clone(), signed.content)) {
            return Some("its content failed here, and nobody asked for it again".to_owned());
        }
        None
    }

    /// Whether a release that the plan in force wants in a slot, or beside it, is below the floor. Then it cannot come to rest.
    pub(crate) fn is_below_floor(&self, context: &Context, slot: &SlotId) -> bool {
        let Some(want) = self.plan_slot(slot) else { return false };
        let previous = want.previous.as_ref().map(|previous| previous.release);
        let floor = self.floor(&slot.service);
        let below = |digest: &Digest| {
            context.shop.signed.get(digest).is_some_and(|signed| signed.release.counter < floor)
        };
        [Some(want.release), previous].into_iter().flatten().any(|digest| below(&digest))
    }

    /// Something begins to stop because the host is alone, a person said so, or no plan had it run. It goes on although the
    /// host is heard of again, the person thinks better of it, or a plan comes that has it run.
    pub(crate) fn note_excuse(&mut self, context: &Context, step: &Step) {
        if let Step::Stop(target) = step {
            let process = self.engine.processes.get(&target.container);
            if self.is_isolated(&target.slot, context.now)
                || context.checks.told.contains(&target.slot)
                || process.is_some_and(|process| process.is_unplanned)
            {
                self.excused_stops.insert(target.container.clone());
            } else {
                self.excused_stops.remove(&target.container);
            }
        }
    }

    /// An instance that no plan names any more goes on until its replacement serves, whoever signed that plan; but where one has to
    /// stop for the other, or the new one has failed, or is not wanted.
    fn check_replaced(&self, context: &mut Context, id: &str) {
        let Some(old) = self.engine.processes.get(id).filter(|process| process.serves()) else { return };
        let slot = &old.container.slot;
        let Some(want) = self.plan_slot(slot).filter(|want| want.phase == Phase::Running) else { return };
        let previous = want.previous.as_ref().map(|previous| previous.release);
        let named = [Some(want.release), want.fallback, previous].contains(&Some(old.container.release));
        let of_slot: Vec<&Process> =
            self.engine.processes.values().filter(|other| &other.container.slot == slot).collect();
        let up = of_slot.iter().filter(|other| other.container.state.is_up()).count();
        let broke = of_slot.iter().any(|other| other.misbehaved);
        let is_good = |release: &Digest| context.shop.behaves(release);
        let spec = context.shop.signed.get(&want.release).map(|signed| &signed.release.spec);
        let one_at_a_time = spec.is_none_or(|spec| {
            spec.exclusive || spec.ports.values().any(|port| port.host.is_some()) || !self.has_room_for(spec)
        });
        if named
            || up > 1
            || broke
            || one_at_a_time
            || want.order == Order::StopFirst
            || !is_good(&want.release)
            || self.is_isolated(slot, context.now)
            || self.has_failed(slot)
        {
            return;
        }
        let line = format!(
            "{}: {} is stopped, and nothing serves yet in its place: {want:?}",
            self.name, old.container.instance
        );
        context.checks.fail(line);
    }

    /// Whether there is room for one more of these, beside everything that runs.
    fn has_room_for(&self, spec: &Spec) -> bool {
        let up = self.engine.processes.values().filter(|process| process.container.state.is_up());
        let taken: u64 = up.map(|process| process.container.memory).sum();
        let plan = self.agent.as_ref().map_or(0, Agent::slots);
        let most = spec.resources.memory.bytes().saturating_mul(plan);
        taken.saturating_add(most) <= self.memory
    }

    /// A step of ours is about to stop a container: notes it, if that takes an instance away that served.
    pub(crate) fn note_stop(&self, context: &mut Context, id: &str) {
        let Some(process) = self.engine.processes.get(id).filter(|process| process.serves()) else { return };
        let slot = &process.container.slot;
        if self.why_not_ours(context, process).is_some_and(|why| context.checks.exempts(why)) {
            return;
        }
        let allowed = context.checks.allowed.get(&(self.name.clone(), self.seq()));
        let allowed = allowed.and_then(|services| services.get(&slot.service)).copied().unwrap_or(1);
        context.checks.stops.push((slot.clone(), allowed));
    }

    /// The reason for which a stop is not ours. What fails by itself is not; nor is a slot whose newer instance served and
    /// broke meanwhile, one that was to stand still because its host was alone, or one whose plan the world took away.
    fn why_not_ours(&self, context: &Context, process: &Process) -> Option<Exemption> {
        let container = &process.container;
        let slot = &container.slot;
        let broke =
            self.engine.processes.values().any(|other| &other.container.slot == slot && other.misbehaved);
        if broke {
            return Some(Exemption::Broken);
        }
        if self.is_astray || self.is_deceived {
            return Some(Exemption::Misled);
        }
        if self.is_isolated(slot, context.now) || self.excused_stops.contains(&container.id) {
            return Some(Exemption::Excused);
        }
        // The author of this plan could not know that it serves: it had not begun to.
        let made = context.checks.made.get(&(self.name.clone(), self.seq()));
        if made.is_some_and(|made| *made < process.ready_since) {
            return Some(Exemption::Unforeseen);
        }
        // A release below the floor is believed no more, and so not asked whether it serves: the person who raised it wants it
        // gone.
        let below = container.counter < self.floor(&slot.service);
        (below && !self.believes(&container.release)).then_some(Exemption::BelowFloor)
    }
}
