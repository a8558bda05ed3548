//! The care of a service: which slots it brings to the good release, and how many at once.

use super::midway::evidence;
use crate::fixture::{at, fleet, instance, reference, release, steady};
use std::sync::Arc;

use crate::fleet::{FleetView, Scheduling};
use crate::host::Liveness;
use crate::id::SlotId;
use crate::observation::{InstanceState, SlotStatus};
use crate::plan::{Order, Phase, Previous};
use crate::release::Release;
use crate::rollout::{Snapshot, State, advance, restart};
use crate::service::{Releases, Service, Slots};

/// Three slots on three hosts, all at r2, which is good; r1 was before it.
struct Cared {
    fleet: FleetView,
    service: Service,
    slots: Slots,
    releases: Releases,
    r1: Release,
    r2: Release,
}

impl Cared {
    fn new(order: &str) -> Self {
        Self::of(order, 3)
    }

    fn of(order: &str, count: u32) -> Self {
        let edit = |json: &mut serde_json::Value| {
            json["spec"]["strategy"]["rolling"]["order"] = order.into();
        };
        let (mut fleet, r1, r2) = (fleet(3), release(1, edit), release(2, edit));
        let (service, slots, mut releases) = steady(&r2, count, &mut fleet);
        releases.insert(reference(&r1).digest, r1.clone());
        Self { fleet, service, slots, releases, r1, r2 }
    }

    fn slot(&self, n: usize) -> SlotId {
        self.slots.keys().nth(n).unwrap().clone()
    }

    /// The host says that `release` runs there, in this state.
    fn sees(&mut self, n: usize, release: &Release, state: InstanceState, readiness_unknown: bool) {
        let slot = self.slot(n);
        let member = self.fleet.members.get_mut(self.slots[&slot].host()).unwrap();
        let observation = Arc::make_mut(member.observation.as_mut().unwrap());
        let seen = observation.slots.iter_mut().find(|seen| seen.slot == slot).unwrap();
        seen.release = Some(self.slots[&slot].release());
        seen.instances = vec![instance(&slot, reference(release).digest, release, state)];
        seen.instances[0].readiness_unknown = readiness_unknown;
    }

    /// The rollout to r2 ended without it: it waits there with r1.
    fn waits_with_r1(&mut self, n: usize) {
        let (slot, r1) = (self.slot(n), self.r1.clone());
        self.slots.get_mut(&slot).unwrap().edit(|want| {
            want.phase = Phase::Pulled;
            want.previous = Some(Previous { release: reference(&r1).digest, phase: Phase::Running });
        });
        self.sees(n, &r1, InstanceState::Healthy, false);
    }

    /// A rollback from r1 to r2 failed before it came to this one.
    fn is_left_at_r1(&mut self, n: usize) {
        let (slot, r1, r2) = (self.slot(n), self.r1.clone(), reference(&self.r2).digest);
        self.slots.get_mut(&slot).unwrap().edit(|want| {
            (want.release, want.good, want.fallback) = (reference(&r1).digest, false, Some(r2));
            want.order = Order::StopFirst;
            want.previous = Some(Previous { release: r2, phase: Phase::Standby });
        });
        self.sees(n, &r1, InstanceState::Healthy, false);
    }

    fn step(&mut self) -> Vec<SlotId> {
        let next = advance(&Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: None,
            releases: &self.releases,
            fleet: &self.fleet,
            now: at(110),
        });
        (self.service, self.slots) = (next.service, next.slots);
        next.touched.into_iter().collect()
    }
}

/// Found by the simulation (seed 1882738388895039): only a deploy brought such a slot back.
#[test]
fn stragglers_of_a_failed_rollback_come_back_within_budget() {
    for (order, at_once) in [("stop_first", 1), ("start_first", 2)] {
        let mut cared = Cared::new(order);
        cared.is_left_at_r1(0);
        cared.is_left_at_r1(2);
        let touched = cared.step();
        assert_eq!(touched.len(), at_once, "{order}");
        for slot in touched {
            let want = cared.slots[&slot].plan();
            let phase = if order == "stop_first" { Phase::Standby } else { Phase::Running };
            let previous = Some(Previous { release: reference(&cared.r1).digest, phase });
            assert_eq!((want.release, want.phase), (reference(&cared.r2).digest, Phase::Running), "{order}");
            assert_eq!((want.good, &want.fallback, &want.previous), (true, &None, &previous), "{order}");
        }
        // Its host has taken that plan, and what runs is on its way.
        let r2 = cared.r2.clone();
        cared.sees(0, &r2, InstanceState::Starting, false);
        if order == "stop_first" {
            assert_eq!(cared.step(), [], "one of three may be down, and is");
            cared.sees(0, &r2, InstanceState::Healthy, false);
            assert_eq!(
                cared.step(),
                [cared.slot(0), cared.slot(2)],
                "it rests beside, and the next one stops"
            );
        }
    }
}

/// Found by the simulation (seed 1882751895602538): two lost hosts returned, and both stopped what served at once.
#[test]
fn straggler_on_a_lost_host_comes_back_when_it_reconnects() {
    let mut cared = Cared::new("stop_first");
    for n in [0, 2] {
        cared.is_left_at_r1(n);
        let host = cared.slots[&cared.slot(n)].host().clone();
        cared.fleet.members.get_mut(&host).unwrap().liveness = Liveness::Lost;
    }
    assert_eq!(cared.step(), [], "nobody knows what serves there");
    cared.fleet.members.values_mut().for_each(|member| member.liveness = Liveness::Connected);
    assert_eq!(cared.step(), [cared.slot(0)], "one of three may be down");
}

#[test]
fn straggler_stops_only_while_enough_others_serve() {
    #[rustfmt::skip]
    let table = [
        ("all serve",                         [(InstanceState::Healthy, false); 3], 1),
        ("one is down",                       [(InstanceState::Starting, false), (InstanceState::Healthy, false), (InstanceState::Healthy, false)], 1),
        ("two are down",                      [(InstanceState::Starting, false), (InstanceState::Unready, false), (InstanceState::Healthy, false)], 2),
        ("nobody knows of one",               [(InstanceState::Starting, true), (InstanceState::Healthy, false), (InstanceState::Healthy, false)], 1),
        ("nobody knows of any, seed 1882737769185306", [(InstanceState::Starting, true); 3], 0),
    ];
    for (case, seen, begun) in table {
        let mut cared = Cared::new("stop_first");
        let r1 = cared.r1.clone();
        for (n, (state, readiness_unknown)) in seen.into_iter().enumerate() {
            cared.waits_with_r1(n);
            cared.sees(n, &r1, state, readiness_unknown);
        }
        assert_eq!(cared.step().len(), begun, "{case}");
    }
}

/// A deploy of more instances went back, and that failed: what serves is what it had made.
#[test]
fn surplus_goes_first_where_nothing_serves() {
    let mut cared = Cared::of("stop_first", 6);
    let r2 = cared.r2.clone();
    for n in 0..3 {
        cared.sees(n, &r2, InstanceState::Starting, false);
        cared.is_left_at_r1(n + 3);
    }
    let serving: Vec<SlotId> = (3..6).map(|n| cared.slot(n)).collect();
    cared.step();
    assert_eq!(cared.slots.keys().cloned().collect::<Vec<_>>(), serving, "three are wanted");
}

/// A lost host came back, and a restart failed there. Found by the simulation (seed 1882773074749541): the old one was kept
/// until it served, which it never did, and its replacement with it.
#[test]
fn of_a_slot_and_its_replacement_the_one_goes_that_has_failed() {
    for (fails, goes) in [(false, 3), (true, 2)] {
        let release = release(1, |json| json["spec"]["on_lost"]["on_return"] = "keep_old".into());
        let mut fleet = fleet(4);
        let (mut service, mut slots, releases) = steady(&release, 4, &mut fleet);
        service.replicas = 3;
        let ids: Vec<SlotId> = slots.keys().cloned().collect();
        slots.get_mut(&ids[3]).unwrap().stand_in_for(ids[2].clone());
        if fails {
            let member = fleet.members.get_mut(slots[&ids[2]].host()).unwrap();
            let seen = &mut Arc::make_mut(member.observation.as_mut().unwrap()).slots[0];
            let evidence = Box::new(evidence(&release));
            seen.status = SlotStatus::Failed { restored: Some(reference(&release).digest), evidence };
        }
        let (rollout, now) = (None, at(100));
        let (service, slots, releases, fleet) = (&service, &slots, &releases, &fleet);
        let next = advance(&Snapshot { service, slots, rollout, releases, fleet, now });
        let left: Vec<_> =
            next.slots.iter().map(|(id, slot)| (id.clone(), slot.stands_in_for().cloned())).collect();
        let want: Vec<_> = (0..4).filter(|n| *n != goes).map(|n| (ids[n].clone(), None)).collect();
        assert_eq!(left, want, "fails: {fails}");
    }
}

/// Its host was away when the rollout ended, so that the instance before still runs beside: a restart's new one had no
/// place in the slot, and waited for ever. Found by the simulation (seed 1882775357492256).
#[test]
fn restart_removes_the_older_of_two_instances() {
    for (state, order) in
        [(InstanceState::Healthy, Order::StartFirst), (InstanceState::Unready, Order::StopFirst)]
    {
        let mut cared = Cared::new("start_first");
        let (slot, r1, r2) = (cared.slot(0), cared.r1.clone(), cared.r2.clone());
        let previous = Previous { release: reference(&r1).digest, phase: Phase::Running };
        cared.slots.get_mut(&slot).unwrap().edit(|want| want.previous = Some(previous.clone()));
        cared.sees(0, &r2, state, false);
        let member = cared.fleet.members.get_mut(cared.slots[&slot].host()).unwrap();
        let seen = &mut Arc::make_mut(member.observation.as_mut().unwrap()).slots[0];
        seen.instances.push(instance(&slot, previous.release, &r1, InstanceState::Healthy));
        let id = "00000001".parse().unwrap();
        let (service, mut rollout) = restart(&cared.service, None, 0, "ada".into(), id, at(100)).unwrap();
        rollout.state = State::Advancing;
        let (slots, releases, fleet) = (&cared.slots, &cared.releases, &cared.fleet);
        let (rollout, service, now) = (Some(&rollout), &service, at(110));
        let next = advance(&Snapshot { service, slots, rollout, releases, fleet, now });
        let want = next.slots[&slot].plan();
        let rests = Some(Previous { phase: Phase::Standby, ..previous });
        assert_eq!((want.generation, want.order, want.previous), (1, order, rests), "{state:?}");
    }
}

/// A `per_host` service: whether the instance on a lost host serves, nobody knows, and one of three may be down.
#[test]
fn drain_waits_for_a_lost_host_until_it_is_declared_off() {
    let release = release(1, |json| json["spec"]["scale"] = "per_host".into());
    let mut fleet = fleet(3);
    let (service, slots, releases) = steady(&release, 3, &mut fleet);
    let hosts: Vec<_> = fleet.members.keys().cloned().collect();
    fleet.members.get_mut(&hosts[0]).unwrap().liveness = Liveness::Lost;
    fleet.members.get_mut(&hosts[1]).unwrap().scheduling = Scheduling::Draining;
    let step = |fleet: &FleetView| {
        let (rollout, now) = (None, at(100));
        advance(&Snapshot { service: &service, slots: &slots, rollout, releases: &releases, fleet, now })
    };
    let waits = step(&fleet);
    assert!(waits.touched.is_empty(), "{:?}", waits.touched);
    let said = waits.waiting.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    assert!(said.contains("disruption budget, to stop production/web/1"), "{said}");
    fleet.members.remove(&hosts[0]);
    let next = step(&fleet);
    let on = |n: usize| next.slots.values().find(|assignment| assignment.host() == &hosts[n]);
    assert!(on(0).is_none(), "it went with its host");
    assert_eq!(on(1).map(crate::slot::Slot::run), Some(Phase::Standby));
    assert_eq!(on(2).map(crate::slot::Slot::run), Some(Phase::Running));
}

/// A first release that failed: nothing moves its slot, and a drain of its host says so instead of going on.
#[test]
fn drain_names_the_slot_of_a_release_that_failed() {
    let release = release(1, |_| {});
    let mut fleet = fleet(2);
    let (mut service, slots, releases) = steady(&release, 1, &mut fleet);
    service.good.clear();
    let slot = slots.keys().next().unwrap().clone();
    let host = slots[&slot].host().clone();
    let step = |fleet: &FleetView| {
        let (rollout, now) = (None, at(100));
        advance(&Snapshot { service: &service, slots: &slots, rollout, releases: &releases, fleet, now })
    };
    assert!(step(&fleet).waiting.is_empty(), "nothing drains");
    fleet.members.get_mut(&host).unwrap().scheduling = Scheduling::Draining;
    let next = step(&fleet);
    assert!(next.touched.is_empty(), "{:?}", next.touched);
    let said: Vec<String> = next.waiting.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [format!(
            "{slot}, which does not leave host {host}: its last rollout did not succeed; deploy, roll back or remove {}",
            service.id
        )]
    );
}
