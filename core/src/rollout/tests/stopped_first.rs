//! Slots whose old instance was told to stop for the new one, when somebody changes their mind in the middle.

use std::sync::Arc;

use super::fixture::{at, fleet, instance, reference, release, report, steady};
use crate::digest::Digest;
use crate::fleet::FleetView;
use crate::id::SlotId;
use crate::observation::{Clock, Evidence, FailureReason, InstanceState, SlotObservation, SlotStatus};
use crate::plan::{Order, Phase, Previous};
use crate::release::Release;
use crate::rollout::{GoingBack, Kind, Rollout, Snapshot, State, Target, advance, start};
use crate::service::{Releases, Service, Slots};

/// Three slots on three hosts, r1 good, r2 on its way with one of three unavailable at most, stop-first.
struct Half {
    fleet: FleetView,
    service: Service,
    slots: Slots,
    releases: Releases,
    rollout: Rollout,
    r1: Release,
    r2: Release,
}

fn stop_first(json: &mut serde_json::Value) {
    let rolling = &mut json["spec"]["strategy"]["rolling"];
    (rolling["order"], rolling["batch"]) = ("stop_first".into(), 3.into());
}

fn deploy(release: &Release, supersede: bool) -> Target {
    let (release, kind, actor) = (reference(release), Kind::Deploy, "ada".to_owned());
    Target { release, kind, actor, supersede, retry_quarantined: false }
}

fn evidence(release: &Release) -> Evidence {
    Evidence {
        instance: None,
        release: reference(release).digest,
        counter: release.counter,
        clock: Clock::Health,
        reason: FailureReason::Exited { code: 1 },
        exit_code: Some(1),
        oom_killed: false,
        restarts: 0,
        log: Vec::new(),
        probes: Vec::new(),
        at: at(108),
    }
}

impl Half {
    fn new() -> Self {
        let (mut fleet, r1, r2) = (fleet(3), release(1, stop_first), release(2, stop_first));
        let (service, mut slots, mut releases) = steady(&r1, 3, &mut fleet);
        releases.insert(reference(&r2).digest, r2.clone());
        let id = "00000001".parse().unwrap();
        let (service, mut rollout, _) = start(&service, None, deploy(&r2, false), id, at(100)).unwrap();
        (rollout.state, rollout.changed) = (State::Advancing, true);
        for assignment in slots.values_mut() {
            let want = &mut assignment.want;
            (want.release, want.good, want.phase) = (reference(&r2).digest, false, Phase::Pulled);
            want.fallback = Some(reference(&r1).digest);
            want.previous = Some(Previous { release: reference(&r1).digest, phase: Phase::Running });
        }
        report(&slots, &releases, &mut fleet, InstanceState::Healthy);
        Self { fleet, service, slots, releases, rollout, r1, r2 }
    }

    fn slot(&self, n: usize) -> SlotId {
        self.slots.keys().nth(n).unwrap().clone()
    }

    /// Its plan says that r1 stops and r2 starts; its host has that plan.
    fn begin(&mut self, n: usize) {
        let want = &mut self.slots.get_mut(&self.slot(n)).unwrap().want;
        (want.phase, want.order) = (Phase::Running, Order::StopFirst);
        want.previous.as_mut().unwrap().phase = Phase::Standby;
    }

    /// What runs in a slot, as its host says.
    fn see(&mut self, n: usize, running: &[(&Release, InstanceState)]) {
        let slot = self.slot(n);
        let instances = running
            .iter()
            .map(|(release, state)| instance(&slot, reference(release).digest, release, *state));
        let instances = instances.collect();
        self.seen(n).instances = instances;
    }

    fn seen(&mut self, n: usize) -> &mut SlotObservation {
        let slot = self.slot(n);
        let member = self.fleet.members.get_mut(&self.slots[&slot].host).unwrap();
        let observation = Arc::make_mut(member.observation.as_mut().unwrap());
        observation.slots.iter_mut().find(|seen| seen.slot == slot).unwrap()
    }

    /// Its host says that this release failed there.
    fn fails(&mut self, n: usize, release: &Release) {
        let evidence = Box::new(evidence(release));
        self.seen(n).status = SlotStatus::Failed { restored: None, evidence };
    }

    /// Its agent has begun anew, and has no answer yet of what runs there.
    fn forgets(&mut self, n: usize) {
        for seen in &mut self.seen(n).instances {
            (seen.state, seen.available, seen.undecided) = (InstanceState::Starting, false, true);
        }
    }

    /// Its host has not taken its newest plan.
    fn is_behind(&mut self, n: usize) {
        let host = self.slots[&self.slot(n)].host.clone();
        self.fleet.members.get_mut(&host).unwrap().issued_seq = 9;
    }

    fn supersede(&mut self, release: &Release) {
        self.releases.insert(reference(release).digest, release.clone());
        let id = "00000002".parse().unwrap();
        let begun = start(&self.service, Some(&self.rollout), deploy(release, true), id, at(105)).unwrap();
        (self.service, self.rollout) = (begun.0, begun.1);
    }

    fn go_back(&mut self) {
        (self.rollout.state, self.rollout.going_back) = (State::RollingBack, Some(GoingBack::RolledBack));
    }

    /// One step; the slots that it changed.
    fn step(&mut self) -> Vec<SlotId> {
        let next = advance(&Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: Some(&self.rollout),
            releases: &self.releases,
            fleet: &self.fleet,
            now: at(110),
        });
        (self.service, self.slots) = (next.service, next.slots);
        self.rollout = next.rollout.unwrap();
        next.touched.into_iter().collect()
    }

    fn previous(&self, n: usize) -> Option<(Digest, Phase)> {
        let previous = self.slots[&self.slot(n)].want.previous.as_ref();
        previous.map(|previous| (previous.release, previous.phase))
    }
}

/// Found by the simulation (seed 69): the new release was taken for what serves, so that the plan stopped the old one.
#[test]
fn an_old_instance_that_was_to_stop_and_still_runs_is_what_serves_for_the_next_rollout() {
    let Half { r1, r2, .. } = Half::new();
    let r3 = release(3, stop_first);
    #[rustfmt::skip]
    let table = [
        ("about to stop",                vec![(&r1, InstanceState::Healthy)], &r1),
        ("both, the new one starts",     vec![(&r2, InstanceState::Starting), (&r1, InstanceState::Healthy)], &r1),
        ("both, the new one is ready",   vec![(&r2, InstanceState::Healthy), (&r1, InstanceState::Draining)], &r2),
        ("it has stopped",               vec![(&r2, InstanceState::Starting)], &r2),
    ];
    for (case, running, want) in table {
        let mut half = Half::new();
        half.begin(0);
        half.see(0, &running);
        half.seen(0).instances.iter_mut().for_each(|instance| instance.available = false);
        half.supersede(&r3);
        half.step();
        assert_eq!(half.previous(0), Some((reference(want).digest, Phase::Running)), "{case}");
    }
}

/// A coordinator that starts again knows what hosts said before they took their newest plans. Found by the scenario of
/// crash points: the next deploy stopped what served, and started what had been replaced.
#[test]
fn what_a_host_said_about_an_older_plan_brings_back_nothing_that_was_replaced() {
    let r3 = release(3, stop_first);
    for order in [Order::StartFirst, Order::StopFirst] {
        let mut half = Half::new();
        let (r1, r2) = (half.r1.clone(), half.r2.clone());
        half.begin(0);
        half.slots.get_mut(&half.slot(0)).unwrap().want.order = order;
        half.see(0, &[(&r2, InstanceState::Starting), (&r1, InstanceState::Healthy)]);
        half.is_behind(0);
        half.supersede(&r3);
        half.step();
        assert_eq!(half.previous(0), Some((reference(&r2).digest, Phase::Running)), "{order:?}");
    }
}

#[test]
fn what_may_be_stopping_counts_as_stopped_until_its_host_says_otherwise_about_its_newest_plan() {
    let mut half = Half::new();
    let r1 = half.r1.clone();
    half.begin(0);
    half.see(0, &[(&r1, InstanceState::Healthy)]);
    assert_eq!(half.step(), [], "the first was begun, and one of three may be unavailable");

    // Somebody supersedes it. The plan lets r1 run on, but it may have stopped for the plan before.
    let mut half = Half::new();
    half.see(0, &[(&r1, InstanceState::Healthy)]);
    half.is_behind(0);
    assert_eq!(half.step(), [], "the first may be down, and waits for its host");
    let host = half.slots[&half.slot(0)].host.clone();
    half.fleet.members.get_mut(&host).unwrap().issued_seq = 0;
    half.see(0, &[(&r1, InstanceState::Draining)]);
    assert_eq!(half.step(), [half.slot(0)], "it is being stopped: it goes first, and alone");
}

#[test]
fn on_the_way_back_nothing_stops_while_a_slot_that_had_to_stop_first_serves_nothing() {
    // The first failed at r2 and restores r1; the second serves r2, the third r1.
    let Half { r1, r2, .. } = Half::new();
    #[rustfmt::skip]
    let table = [
        ("it is being restored",    Some(InstanceState::Starting), false, vec![0, 2]),
        ("it is restored",          Some(InstanceState::Healthy),  false, vec![0, 1, 2]),
        ("nothing is known of it",  Some(InstanceState::Healthy),  true,  vec![0, 2]),
    ];
    for (case, restored, is_behind, want) in table {
        let mut half = Half::new();
        half.begin(0);
        half.begin(1);
        half.see(1, &[(&r2, InstanceState::Healthy)]);
        half.see(2, &[(&r1, InstanceState::Healthy)]);
        let running: Vec<_> = restored.into_iter().map(|state| (&r1, state)).collect();
        half.see(0, &running);
        half.fails(0, &r2);
        if is_behind {
            half.is_behind(0);
        }
        half.go_back();
        let want: Vec<SlotId> = want.into_iter().map(|n| half.slot(n)).collect();
        assert_eq!(half.step(), want, "{case}");
    }
}

/// Found by the simulation (seed 1882738388894035): what serves there was of no release that the way back knew.
#[test]
fn a_release_between_is_not_stopped_uncounted_although_the_newest_had_failed_before_it_was_begun() {
    for fails in [false, true] {
        let mut half = Half::new();
        let (r1, r2, r3) = (half.r1.clone(), half.r2.clone(), release(3, stop_first));
        for n in 0..2 {
            half.begin(n);
            half.see(n, &[(&r2, InstanceState::Healthy)]);
        }
        half.see(2, &[(&r1, InstanceState::Healthy)]);
        half.supersede(&r3);
        half.step();
        assert_eq!(half.previous(0), Some((reference(&r2).digest, Phase::Running)));
        for n in 0..2 {
            half.seen(n).release = Some(reference(&r3).digest);
            if fails {
                half.fails(n, &r3);
            }
        }
        half.go_back();
        assert_eq!(half.step(), [half.slot(0), half.slot(2)], "fails: {fails}; one of three may be down");
        assert_eq!(half.previous(0), Some((reference(&r2).digest, Phase::Standby)), "it stops first");
        assert_eq!(half.previous(2), None, "nothing stops there");
    }
}

/// Found by the simulation (seed 1882737769185306): what is not known to serve was taken for what may be stopped.
#[test]
fn what_an_agent_that_began_anew_does_not_know_yet_may_serve_and_is_not_stopped_beside_others() {
    let Half { r2, .. } = Half::new();
    let on_the_way_back = |forgets: &[usize]| {
        let mut half = Half::new();
        for n in 0..3 {
            half.begin(n);
            half.see(n, &[(&r2, InstanceState::Healthy)]);
        }
        forgets.iter().for_each(|n| half.forgets(*n));
        half.go_back();
        half.step()
    };
    let first = [Half::new().slot(0)];
    assert_eq!(on_the_way_back(&[]), first, "one stops");
    assert_eq!(on_the_way_back(&[0, 1, 2]), [], "any of them may be down already");
    let forward = |forgets: &[usize]| {
        let mut half = Half::new();
        forgets.iter().for_each(|n| half.forgets(*n));
        half.step()
    };
    assert_eq!(forward(&[]), first, "one stops");
    assert_eq!(forward(&[0, 1]), [], "two may be down already");
}
