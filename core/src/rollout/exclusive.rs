//! Services of which no instance may ever run twice, not even through a partition.
//!
//! An instance is started only when every other slot of the service is *known* to run nothing. Known is what the host
//! says about its newest plan, what a person says by evicting it, or what follows from time: an isolated host stops
//! its instance by itself, see [`must_have_stopped`]. A slot that goes is therefore not forgotten: it is `absent`
//! until its host is known to run nothing of it.

use std::time::Duration;

use crate::fleet::Member;
use crate::host::Liveness;
use crate::id::SlotId;
use crate::observation::RefusalCode;
use crate::release::Spec;
use crate::slot::{Intent, Slot, Transition, Waiting};

use super::planner::Planner;

/// The longest time until an agent notices that its lease is over, and the engine answers.
const NOTICE: Duration = Duration::from_secs(30);
/// Two clocks drift apart by at most one part in so many: 0.1 % each way, several times what a quartz and NTP do.
const DRIFT: u32 = 500;

/// The time after which a host's instance of `spec` must have stopped, since the coordinator last heard of that host; never if
/// an isolated host goes on.
///
/// The agent's lease begins when it *sent* the last heartbeat that was acknowledged, and so not after the coordinator
/// heard it. It ends `stop_isolated_after` later by the agent's clock, which may run slow against ours; then the agent
/// has to notice, and the process has `stop_timeout` to end before it is killed.
pub fn must_have_stopped(spec: &Spec) -> Option<Duration> {
    let lease = spec.on_lost.stop_isolated_after?.duration();
    Some(lease + lease / DRIFT + NOTICE + spec.stop_timeout.duration())
}

impl Planner<'_> {
    /// Returns whether an instance may start in `slot` (or in a new one) now. Notes the things it waits for if not.
    pub(crate) fn may_start(&mut self, slot: Option<&SlotId>) -> bool {
        if !self.is_exclusive() {
            return true;
        }
        let most = self.service.replicas.max(1) as usize;
        let others: Vec<SlotId> = self.slots.keys().filter(|other| Some(*other) != slot).cloned().collect();
        let waits: Vec<Waiting> = others.iter().filter_map(|other| self.may_run(other)).collect();
        if waits.len() < most {
            return true;
        }
        waits.into_iter().for_each(|waiting| self.wait(waiting));
        self.wake_soon();
        false
    }

    /// The reason why something may still run in `slot`; `None` if it is known that nothing does.
    pub(crate) fn may_run(&self, slot: &SlotId) -> Option<Waiting> {
        let host = self.host(slot);
        // Evicted: the person who evicted the host answers for what it still runs.
        let member = self.snapshot.fleet.member(&host)?;
        let facts = self.facts(slot);
        // Its plan still lets the host start an instance, whatever the host reports.
        if facts.intent.lets_anything_run() {
            return Some(Waiting::Stop { host, slot: slot.clone() });
        }
        if member.liveness == Liveness::Lost {
            let known =
                self.fence(slot).is_some_and(|after| alone_for(member).is_some_and(|for_| for_ >= after));
            return (!known).then_some(Waiting::Fence { host });
        }
        match facts.is_empty() {
            Ok(true) => None,
            Ok(false) => Some(Waiting::Stop { host, slot: slot.clone() }),
            Err(waiting) => Some(waiting),
        }
    }

    /// The time after which everything that may run in `slot` must have stopped; `None` if something need not stop.
    pub(crate) fn fence(&self, slot: &SlotId) -> Option<Duration> {
        let mut latest = Duration::ZERO;
        for digest in self.slots[slot].named() {
            latest = latest.max(must_have_stopped(&self.release(&digest)?.spec)?);
        }
        Some(latest)
    }
}

/// For how long the host has been partitioned, with a live agent that fences itself. One that was last heard of without
/// its journal, or with an older copy of it, does not: it knows of no plan, and touches nothing.
pub(crate) fn alone_for(member: &Member) -> Option<Duration> {
    let seen = member.observation.as_deref()?;
    let is_older = seen.plan_refusal.as_ref().is_some_and(|refusal| refusal.code == RefusalCode::Stale);
    member.isolated_for.filter(|_| seen.seq > 0 && !is_older)
}

/// Forgets slots that have left.
pub(crate) fn sweep(planner: &mut Planner<'_>) {
    for slot in planner.slots_that(Slot::is_leaving) {
        match planner.may_run(&slot) {
            None => planner.forget_slot(&slot),
            Some(waiting) => planner.wait(waiting),
        }
    }
}

/// Parks the slots of other releases before a slot of the new release starts.
pub(crate) fn stop_others(planner: &mut Planner<'_>, to: &crate::digest::Digest) {
    if !planner.is_exclusive() {
        return;
    }
    for slot in planner.slots_that(|slot| &slot.release() != to && Intent::from(slot).lets_anything_run()) {
        planner.rollout().changed = true;
        planner.apply(&slot, &Transition::Park { makes_way: false });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixture::{at, fleet, member, reference, release, steady, want};
    use crate::fleet::FleetView;
    use crate::observation::{EngineState, Observation, Refusal, SlotStatus};
    use crate::plan::{Phase, PlanSlot, Previous};
    use crate::rollout::{Advance, Snapshot, advance};
    use crate::service::{Releases, Service, Slots};

    /// One step of a service that no rollout moves.
    fn at_rest(service: &Service, slots: &Slots, releases: &Releases, fleet: &FleetView) -> Advance {
        let (rollout, now) = (None, at(700));
        advance(&Snapshot { service, slots, rollout, releases, fleet, now })
    }

    /// Found by the simulation: the folder of an agent was lost, its host was cut off, and the instance that nobody stopped
    /// there ran beside its replacement.
    #[test]
    fn no_clock_shows_a_stop_by_an_agent_without_journal() {
        let refusal = |code| Some(Refusal { code, detail: String::new() });
        let silent = Some(Duration::from_secs(600));
        #[rustfmt::skip]
        let table = [
            ("it has its plan",              Some((7, None)),                                silent),
            ("it refuses the newest",        Some((7, refusal(RefusalCode::WrongHost))),     silent),
            ("its journal is lost",          Some((0, refusal(RefusalCode::Stale))),         None),
            ("it has joined anew",           Some((0, None)),                                None),
            ("its journal is an older copy", Some((3, refusal(RefusalCode::Stale))),         None),
            ("it never said anything",       None,                                           None),
        ];
        for (case, said, want) in table {
            let observation = said.map(|(seq, plan_refusal)| {
                let engine = EngineState::Available;
                Arc::new(Observation { revision: 1, seq, engine, plan_refusal, ..Observation::default() })
            });
            let member = Member { isolated_for: silent, observation, ..member() };
            assert_eq!(alone_for(&member), want, "{case}");
        }
    }

    /// Found by the simulation: the lease of the old instance was over, and so it did not run for a moment.
    #[test]
    fn what_a_plan_lets_run_may_start_again_whatever_runs_now() {
        let slot = "production/web/0".parse().unwrap();
        let digest = |byte| crate::digest::Digest::of(&[byte]);
        let table = [
            (Phase::Running, None, true),
            (Phase::Draining, None, true),
            (Phase::Standby, None, false),
            (Phase::Pulled, None, false),
            (Phase::Pulled, Some(Phase::Running), true),
            (Phase::Pulled, Some(Phase::Standby), false),
            (Phase::Standby, Some(Phase::Running), true),
            (Phase::Absent, Some(Phase::Running), false),
        ];
        for (phase, before, may) in table {
            let previous = before.map(|phase| Previous { release: digest(1), phase });
            let want = PlanSlot { phase, previous, ..want(&slot, digest(2)) };
            assert_eq!(Intent::from(&want).lets_anything_run(), may, "{phase:?}, before it {before:?}");
        }
    }

    /// Found by the simulation (seed 1882751895603860): it was replaced after the time that its lease takes.
    #[test]
    fn no_clock_replaces_a_lost_host_whose_agent_stops_nothing() {
        let release = release(1, |json| {
            json["spec"]["exclusive"] = true.into();
            json["spec"]["strategy"]["rolling"]["max_surge"] = 0.into();
            json["spec"]["on_lost"] = serde_json::json!({ "replace_after": "8s", "stop_isolated_after": "6s", "on_return": "keep_new" });
        });
        for (refusal, replaced) in [(None, true), (Some(RefusalCode::Stale), false)] {
            let mut fleet = fleet(2);
            fleet.members.values_mut().for_each(|member| member.issued_seq = 7);
            let (service, slots, releases) = steady(&release, 1, &mut fleet);
            let host = slots.values().next().unwrap().host().clone();
            let member = fleet.members.get_mut(&host).unwrap();
            (member.liveness, member.isolated_for) = (Liveness::Lost, Some(Duration::from_secs(600)));
            let seen = Arc::make_mut(member.observation.as_mut().unwrap());
            seen.plan_refusal = refusal.map(|code| Refusal { code, detail: String::new() });
            let next = at_rest(&service, &slots, &releases, &fleet);
            assert_eq!(!next.touched.is_empty(), replaced, "{refusal:?}: {:?}", next.waiting);
        }
    }

    /// Found by the simulation (seed 1882762440084281): it named what had run beside it, and that was started again.
    #[test]
    fn a_slot_that_goes_names_nothing_beside_it() {
        let [old, new] =
            [1, 2].map(|counter| release(counter, |json| json["spec"]["exclusive"] = true.into()));
        let mut fleet = fleet(2);
        let (mut service, mut slots, mut releases) = steady(&old, 1, &mut fleet);
        releases.insert(reference(&new).digest, new.clone());
        slots.values_mut().next().unwrap().edit(|want| {
            (want.release, want.phase) = (reference(&new).digest, Phase::Pulled);
            want.previous = Some(Previous { release: reference(&old).digest, phase: Phase::Running });
        });
        service.mode = crate::service::Mode::Removed;
        let next = at_rest(&service, &slots, &releases, &fleet);
        let slot = next.slots.values().next().expect("it is not known to be empty");
        assert_eq!((slot.run(), slot.other()), (Phase::Absent, None));
    }

    /// Found by the simulation (seed 1882775357498022): a launch was under way when the slot was told to stand still, its host
    /// said truly that nothing ran, and the next one started elsewhere.
    #[test]
    fn slot_in_transition_may_run_until_its_host_says_stopped() {
        let release = release(1, |json| json["spec"]["exclusive"] = true.into());
        for (status, moves) in [(SlotStatus::Converging, false), (SlotStatus::Settled, true)] {
            let mut fleet = fleet(2);
            let (service, mut slots, releases) = steady(&release, 1, &mut fleet);
            let assignment = slots.values_mut().next().unwrap();
            assignment.edit(|want| want.phase = Phase::Standby);
            let member = fleet.members.get_mut(assignment.host()).unwrap();
            member.scheduling = crate::fleet::Scheduling::Draining;
            let seen = &mut Arc::make_mut(member.observation.as_mut().unwrap()).slots[0];
            (seen.status, seen.instances) = (status.clone(), Vec::new());
            let before = assignment.host().clone();
            let next = at_rest(&service, &slots, &releases, &fleet);
            let moved = next.slots.values().any(|assignment| assignment.host() != &before);
            assert_eq!(moved, moves, "{status:?}: {:?}", next.waiting);
        }
    }

    #[test]
    fn the_arithmetic_of_a_lease() {
        #[rustfmt::skip]
        let table = [
            ("never, if it goes on",    None,        "10s", None),
            ("a minute",                Some("1m"),  "10s", Some(60_000 + 120 + 30_000 + 10_000)),
            ("a long time to stop",     Some("1m"),  "5m",  Some(60_000 + 120 + 30_000 + 300_000)),
            ("an hour drifts by seconds", Some("1h"), "10s", Some(3_600_000 + 7200 + 30_000 + 10_000)),
        ];
        for (case, isolated, stop, want) in table {
            let release = release(1, |json| {
                json["spec"]["stop_timeout"] = stop.into();
                if let Some(after) = isolated {
                    json["spec"]["on_lost"]["stop_isolated_after"] = after.into();
                }
            });
            let got = must_have_stopped(&release.spec).map(|after| after.as_millis());
            assert_eq!(got, want, "{case}");
        }
    }
}
