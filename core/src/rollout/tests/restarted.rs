//! An instance that a start-first restart replaces runs on until no request can reach it, whatever comes in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::drained::{busy_ingress, environment, ingress, step, table};
use super::midway::{Midway, deploy};
use crate::digest::Digest;
use crate::fixture::{at, fleet, instance, reference, release, steady};
use crate::id::HostId;
use crate::observation::{Instance, InstanceState};
use crate::plan::{Order, PLAN_VERSIONS, Phase};
use crate::rollout::{Advance, State, restart, start};
use crate::slot::Older;
use crate::traffic::{Ingress, Table, Traffic};

fn routed(json: &mut serde_json::Value) {
    json["spec"]["ports"] = serde_json::json!({ "http": { "container": 8000 } });
}

/// Three slots of r1 on hosts that read plans of `versions`, as a restart has begun to advance.
fn restarting(versions: &[u32], edit: fn(&mut serde_json::Value)) -> Midway {
    let all_at_once = |json: &mut serde_json::Value| {
        edit(json);
        json["spec"]["strategy"]["rolling"]["batch"] = 3.into();
    };
    let (r1, r2) = (release(1, edit), release(2, all_at_once));
    let mut view = fleet(3);
    for member in view.members.values_mut() {
        Arc::make_mut(&mut member.facts).plan_versions = versions.to_vec();
    }
    let (service, slots, mut releases) = steady(&r1, 3, &mut view);
    releases.insert(reference(&r2).digest, r2.clone());
    let id = "00000001".parse().unwrap();
    let (service, mut rollout) = restart(&service, None, 0, "ada".into(), id, at(100)).unwrap();
    rollout.state = State::Advancing;
    Midway { fleet: view, service, slots, releases, rollout, waiting: Vec::new(), r1, r2 }
}

impl Midway {
    fn take(&mut self, next: Advance) {
        (self.service, self.slots, self.waiting) = (next.service, next.slots, next.waiting);
        self.rollout = next.rollout.unwrap();
    }

    /// The newer instance of the first slot, and the one that it replaces.
    fn both(&mut self, newer: InstanceState) {
        let (slot, r1) = (self.slot(0), self.r1.clone());
        let old = instance(&slot, reference(&r1).digest, &r1, InstanceState::Healthy);
        let mut new = Instance { id: "new".into(), generation: 1, state: newer, ..old.clone() };
        (new.available, new.vitals.unproven) =
            (newer == InstanceState::Healthy, newer == InstanceState::Starting);
        new.endpoints = BTreeMap::from([("http".into(), "10.0.0.1:30000".into())]);
        self.seen(0).instances = vec![new, old];
    }

    fn older(&self) -> Vec<Option<Older>> {
        self.slots.values().map(|slot| slot.older()).collect()
    }

    fn first(&self) -> (HostId, Digest) {
        (self.slots[&self.slot(0)].host().clone(), reference(&self.r1).digest)
    }
}

/// Table 5 leads to the old instance of the first slot, table 6 to the new one.
fn tables(midway: &Midway) -> (Table, Table) {
    let (host, release) = midway.first();
    let both = table(5, &[(&host, 20_000, release, false), (&host, 30_000, release, false)]);
    let next = table(6, &[(&host, 20_000, release, true), (&host, 30_000, release, false)]);
    let next = Table::next(Some(&both), next.routes, next.digest);
    (both, next)
}

fn traffic(table: &Table, ingress: Ingress) -> Traffic {
    Traffic {
        tables: BTreeMap::from([(environment(), Arc::new(table.clone()))]),
        ingresses: BTreeMap::from([("edge".parse().unwrap(), ingress)]),
    }
}

/// The restart has begun in its first slot, and both instances run there.
fn begun(newer: InstanceState) -> Midway {
    let mut midway = restarting(&PLAN_VERSIONS, routed);
    let next = step(&midway, Traffic::default(), 110);
    midway.take(next);
    assert_eq!(midway.older(), [Some(Older::Kept), None, None], "{:?}", midway.waiting);
    let slot = &midway.slots[&midway.slot(0)];
    assert_eq!((slot.target().generation, slot.order()), (1, Order::StartFirst));
    midway.both(newer);
    midway
}

#[test]
fn a_restart_lets_go_what_no_request_can_reach() {
    let midway = begun(InstanceState::Healthy);
    let (both, next) = tables(&midway);
    let (_, release) = midway.first();
    #[rustfmt::skip]
    let cases = [
        ("the table leads there",          traffic(&both, ingress(5)), 111, Older::Kept),
        ("the ingress has not taken it",   traffic(&next, ingress(5)), 111, Older::Kept),
        ("a request is under way",         traffic(&next, busy_ingress(6, &[(20_000, release)])), 111, Older::Kept),
        ("it takes longer than a deadline", traffic(&next, busy_ingress(6, &[(20_000, release)])), 699, Older::Kept),
        ("the drain timeout has passed",   traffic(&next, busy_ingress(6, &[(20_000, release)])), 700, Older::LetGo),
        ("another one has requests",       traffic(&next, busy_ingress(6, &[(30_000, release)])), 111, Older::LetGo),
        ("no request goes there",          traffic(&next, ingress(6)), 111, Older::LetGo),
        ("nobody routes anything",         Traffic::default(), 111, Older::LetGo),
    ];
    for (case, traffic, now, want) in cases {
        let after = step(&midway, traffic, now);
        let slot = &after.slots[&midway.slot(0)];
        assert_eq!(slot.older(), Some(want), "{case}: {:?}", after.waiting);
        assert_eq!(slot.plan().keeps_older, want == Older::Kept, "{case}");
        let said: Vec<String> = after.waiting.iter().map(ToString::to_string).collect();
        let drains = said.iter().any(|text| text.contains("request"));
        assert_eq!(drains, want == Older::Kept, "{case}: {said:?}");
        // As in a deploy, the next slot waits until this one has one instance.
        let begun = after.slots.values().filter(|slot| slot.target().generation == 1).count();
        assert_eq!((begun, after.rollout.unwrap().state), (1, State::Advancing), "{case}");
    }
}

#[test]
fn a_restart_goes_on_once_the_old_instance_has_stopped() {
    let mut midway = begun(InstanceState::Healthy);
    midway.take(step(&midway, Traffic::default(), 111));
    midway.seen(0).instances.truncate(1);
    midway.take(step(&midway, Traffic::default(), 112));
    assert_eq!(midway.older(), [Some(Older::LetGo), Some(Older::Kept), None], "{:?}", midway.waiting);
}

#[test]
fn a_new_instance_that_does_not_serve_lets_nothing_go() {
    for newer in [InstanceState::Starting, InstanceState::Unready] {
        let mut midway = begun(newer);
        midway.take(step(&midway, Traffic::default(), 111));
        assert_eq!(midway.older(), [Some(Older::Kept), None, None], "{newer:?}");
        // It failed, and the restart with it: the old one stays, alone.
        let r1 = midway.r1.clone();
        midway.fails(0, &r1);
        for now in [112, 113] {
            midway.take(step(&midway, Traffic::default(), now));
        }
        assert_eq!((midway.rollout.state, midway.older()[0]), (State::Failed, None), "{newer:?}");
    }
}

#[test]
fn an_agent_of_the_version_before_replaces_by_itself() {
    fn tcp(json: &mut serde_json::Value) {
        json["spec"]["ports"] = serde_json::json!({ "db": { "container": 5432, "protocol": "tcp" } });
    }
    for mut midway in [restarting(&[1, 2, 3], routed), restarting(&PLAN_VERSIONS, tcp)] {
        let next = step(&midway, Traffic::default(), 110);
        midway.take(next);
        assert_eq!(midway.older(), [None; 3]);
        assert_eq!(midway.slots[&midway.slot(0)].target().generation, 1);
    }
    // It was taken back to that version in between: it is sent a plan that it reads.
    let mut midway = begun(InstanceState::Starting);
    for member in midway.fleet.members.values_mut() {
        Arc::make_mut(&mut member.facts).plan_versions = vec![1, 2, 3];
    }
    midway.take(step(&midway, Traffic::default(), 111));
    assert_eq!(midway.older(), [None; 3]);
}

#[test]
fn what_an_aborted_restart_left_is_let_go() {
    let mut midway = begun(InstanceState::Healthy);
    (midway.rollout.state, midway.service.rollout) = (State::Aborted, None);
    let (_, next) = tables(&midway);
    midway.take(step(&midway, traffic(&next, ingress(5)), 111));
    assert_eq!(midway.older(), [Some(Older::Kept), None, None]);
    midway.take(step(&midway, traffic(&next, ingress(6)), 112));
    assert_eq!(midway.older(), [Some(Older::LetGo), None, None]);
}

/// A deploy begins after an aborted restart.
fn deployed(newer: InstanceState) -> Midway {
    let mut midway = begun(newer);
    (midway.rollout.state, midway.service.rollout) = (State::Aborted, None);
    let id = "00000002".parse().unwrap();
    let r2 = midway.r2.clone();
    let (service, rollout, _) = start(&midway.service, None, deploy(&r2, false), id, at(111)).unwrap();
    (midway.service, midway.rollout) = (service, rollout);
    midway
}

#[test]
fn a_deploy_waits_for_what_a_restart_has_begun() {
    for newer in [InstanceState::Healthy, InstanceState::Starting] {
        let mut midway = deployed(newer);
        let (both, next) = tables(&midway);
        midway.take(step(&midway, traffic(&both, ingress(5)), 112));
        assert_eq!((midway.rollout.state, midway.older()[0]), (State::Pending, Some(Older::Kept)));
        assert_eq!(midway.waiting.len(), 1, "{:?}", midway.waiting);
        midway.both(InstanceState::Healthy);
        midway.take(step(&midway, traffic(&next, ingress(6)), 113));
        assert_eq!((midway.rollout.state, midway.older()[0]), (State::Pending, Some(Older::LetGo)));
        midway.seen(0).instances.truncate(1);
        midway.take(step(&midway, traffic(&next, ingress(6)), 114));
        assert_eq!((midway.rollout.state, midway.older()), (State::Preparing, vec![None; 3]));
    }
}

#[test]
fn past_its_deadline_a_deploy_drains_both_and_stops_first() {
    let mut midway = deployed(InstanceState::Unready);
    midway.take(step(&midway, Traffic::default(), 232));
    assert_eq!((midway.rollout.state, midway.older()[0]), (State::Preparing, Some(Older::Kept)));
    let slot = midway.slots[&midway.slot(0)].clone();
    assert_eq!((slot.run(), slot.plan().keeps_older), (Phase::Pulled, true));
    midway.rollout.state = State::Advancing;
    let (both, next) = tables(&midway);
    let other = |midway: &Midway| midway.slots[&midway.slot(0)].other().map(|other| other.run);
    for _ in 0..3 {
        midway.take(step(&midway, traffic(&both, ingress(5)), 233));
    }
    assert_eq!(other(&midway), Some(Phase::Draining), "{:?}", midway.waiting);
    assert_eq!(midway.older()[0], Some(Older::Kept), "both run on meanwhile");
    let (host, release) = midway.first();
    let none = table(7, &[(&host, 20_000, release, true), (&host, 30_000, release, true)]);
    let none = Table::next(Some(&next), none.routes, none.digest);
    midway.take(step(&midway, traffic(&none, busy_ingress(7, &[(20_000, release)])), 234));
    assert_eq!(other(&midway), Some(Phase::Draining), "{:?}", midway.waiting);
    midway.take(step(&midway, traffic(&none, ingress(7)), 235));
    let slot = &midway.slots[&midway.slot(0)];
    let is = (slot.run(), slot.order(), slot.older());
    assert_eq!(is, (Phase::Running, Order::StopFirst, None), "{slot:?} {:?}", midway.waiting);
    assert_eq!(other(&midway), Some(Phase::Standby));
}
