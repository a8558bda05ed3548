//! Transitions, exhaustively: every one of them, on every slot that a few of them can make.

use std::collections::BTreeSet;

use super::{Intent, Older, Slot, Transition, apply};
use crate::digest::Digest;
use crate::fixture::{at, want};
use crate::id::{HostId, SlotId};
use crate::plan::{Order, Phase};

fn id() -> SlotId {
    "production/web/0".parse().unwrap()
}

fn host() -> HostId {
    "h1".parse().unwrap()
}

fn digest(byte: u8) -> Digest {
    Digest::of(&[byte])
}

/// Every transition but those that make a slot, with every value that makes a difference.
fn transitions() -> Vec<Transition> {
    let (old, new) = (digest(1), digest(2));
    let mut all = vec![
        Transition::Forget,
        Transition::Resume,
        Transition::Abandon,
        Transition::Restored { release: old },
        Transition::Retry,
        Transition::Disarm,
        Transition::Unpair,
        Transition::Retain { until: at(7) },
        Transition::Leave,
        Transition::Rest { until: None },
        Transition::Rest { until: Some(at(9)) },
        Transition::Stand { good: None },
        Transition::Stand { good: Some(old) },
    ];
    for yes in [false, true] {
        all.push(Transition::Drain { target: yes, other: true });
        all.push(Transition::Promote { serves: yes, until: at(8) });
        all.push(Transition::Park { makes_way: yes });
        all.push(Transition::LetGo { by_host: yes });
        for order in [Order::StartFirst, Order::StopFirst] {
            for keeps_older in [false, true] {
                all.push(Transition::Move { gpus: vec!["gpu-1".to_owned()], order, keeps_older });
                all.push(Transition::Start {
                    order,
                    generation: u64::from(yes),
                    makes_way: yes,
                    keeps_older,
                });
            }
            for beside in [None, Some(new)] {
                all.push(Transition::Revert { to: old, beside, order, starts: yes });
            }
        }
        for incumbent in [None, Some(old), Some(new)] {
            all.push(Transition::Prepare {
                release: new,
                incumbent,
                good: yes,
                fallback: Some(old).filter(|_| !yes),
                retry: !yes,
                gpus: vec!["gpu-0".to_owned()],
                stopped: yes,
            });
        }
        all.push(Transition::BringTo { release: old, good: yes, fallback: Some(new).filter(|_| !yes) });
    }
    all
}

fn created(runs: bool, good: bool) -> Slot {
    let (release, gpus) = (digest(1), Vec::new());
    let create = Transition::Create {
        id: id(),
        host: host(),
        release,
        runs,
        good,
        retry: false,
        gpus,
        stands_in_for: None,
    };
    apply(None, &create).unwrap()
}

/// Every slot that at most three transitions make of a new one.
fn reachable() -> Vec<Slot> {
    let mut all: Vec<Slot> = Vec::new();
    let mut known = BTreeSet::new();
    let mut fresh: Vec<Slot> =
        [(false, false), (false, true), (true, true)].map(|(r, g)| created(r, g)).into();
    for _ in 0..3 {
        let mut next = Vec::new();
        for slot in fresh {
            if known.insert(serde_json::to_string(&slot).unwrap()) {
                next.extend(transitions().iter().map(|transition| apply(Some(&slot), transition).unwrap()));
                all.push(slot);
            }
        }
        fresh = next;
    }
    all.extend(fresh.into_iter().filter(|slot| known.insert(serde_json::to_string(slot).unwrap())));
    all
}

#[test]
fn a_slot_is_made_once_and_changed_only_where_there_is_one() {
    let create = |slot: Option<&Slot>| {
        let (release, gpus) = (digest(1), Vec::new());
        let (id, host) = (id(), host());
        let create = Transition::Create {
            id,
            host,
            release,
            runs: true,
            good: true,
            retry: false,
            gpus,
            stands_in_for: None,
        };
        apply(slot, &create)
    };
    let slot = create(None).unwrap();
    let error = create(Some(&slot)).unwrap_err();
    assert_eq!(error.to_string(), "a slot that exists cannot be created");
    for transition in transitions() {
        let error = apply(None, &transition).unwrap_err();
        assert_eq!(error.to_string(), "a slot that does not exist cannot be changed", "{transition:?}");
    }
}

#[test]
fn whatever_is_done_to_a_slot_it_stays_one_on_its_host() {
    let slots = reachable();
    assert!(slots.len() > 300, "only {}", slots.len());
    for slot in &slots {
        for transition in transitions() {
            let after = apply(Some(slot), &transition).unwrap();
            assert_eq!((after.id(), after.host()), (slot.id(), slot.host()), "{transition:?}");
            assert_eq!(apply(Some(slot), &transition).unwrap(), after, "{transition:?} is a function");
            let beside_itself = after.other().is_some_and(|other| {
                other.release == after.release() && matches!(transition, Transition::Prepare { .. })
            });
            assert!(!beside_itself, "{transition:?} of {slot:?}");
            let intent = Intent::from(&after);
            assert!(!after.is_leaving() || !intent.lets_anything_run(), "{transition:?} of {slot:?}");
        }
    }
}

#[test]
fn what_stops_everything_leaves_nothing_that_may_run() {
    for slot in reachable() {
        for transition in [
            Transition::Park { makes_way: false },
            Transition::Park { makes_way: true },
            Transition::Abandon,
            Transition::Stand { good: None },
            Transition::Leave,
        ] {
            let after = apply(Some(&slot), &transition).unwrap();
            assert!(!Intent::from(&after).lets_anything_run(), "{transition:?} of {slot:?}");
        }
    }
}

#[test]
fn a_plan_and_back_loses_no_intent() {
    for slot in reachable() {
        let part = slot.plan();
        let adopted = Slot::adopted(slot.host().clone(), part.clone());
        assert_eq!(adopted.plan(), part);
        // An instance that was let go is no matter of its plan any more.
        let intent = Intent::from(&slot);
        let intent = Intent { older: intent.older.filter(|older| *older == Older::Kept), ..intent };
        assert_eq!(Intent::from(&part), intent, "a plan and its slot let run the same");
    }
}

#[test]
fn a_record_of_the_version_before_is_read() {
    let json = r#"{
        "host": "h1",
        "want": {
            "slot": "production/web/0",
            "release": "sha256:dbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986",
            "phase": "running", "good": true, "order": "start_first", "gpus": ["gpu-0"],
            "previous": {
                "release": "sha256:4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a",
                "phase": "standby"
            },
            "retry_quarantined": false, "generation": 3
        },
        "standby_until": "1970-01-01T00:00:09Z",
        "replaces": "production/web/7"
    }"#;
    let slot: Slot = serde_json::from_str(json).unwrap();
    assert_eq!((slot.release(), slot.run(), slot.target().generation), (digest(2), Phase::Running, 3));
    assert_eq!(
        (slot.standby_until(), slot.stands_in_for()),
        (Some(at(9)), Some(&"production/web/7".parse().unwrap()))
    );
    assert_eq!(slot.other().map(|other| (other.release, other.run)), Some((digest(1), Phase::Standby)));
    let again: Slot = serde_json::from_str(&serde_json::to_string(&slot).unwrap()).unwrap();
    assert_eq!(again, slot);
}

#[test]
fn every_slot_is_stored_and_read_as_it_is() {
    for slot in reachable() {
        let json = serde_json::to_string(&slot).unwrap();
        assert_eq!(serde_json::from_str::<Slot>(&json).unwrap(), slot, "{json}");
        assert!(!json.contains("null"), "{json}");
    }
    let plain = Slot::adopted(host(), want(&id(), digest(1)));
    assert!(serde_json::to_string(&plain).unwrap().len() < 260);
}

/// A restart whose old instance is kept: the slot, and what is on the side of `release` then.
fn restarted() -> Slot {
    let start =
        Transition::Start { order: Order::StartFirst, generation: 2, makes_way: false, keeps_older: true };
    apply(Some(&created(true, true)), &start).unwrap()
}

fn prepare(release: Digest, incumbent: Digest) -> Transition {
    let (fallback, gpus) = (None, Vec::new());
    Transition::Prepare {
        release,
        incumbent: Some(incumbent),
        good: true,
        fallback,
        retry: false,
        gpus,
        stopped: false,
    }
}

#[test]
fn a_kept_instance_goes_with_its_release_and_comes_back_with_it() {
    let (old, new) = (digest(1), digest(2));
    let slot = restarted();
    assert_eq!((slot.older(), slot.plan().keeps_older), (Some(Older::Kept), true));
    // Another release is prepared, and it goes back before that is begun: the two are told apart as before.
    let prepared = apply(Some(&slot), &prepare(new, old)).unwrap();
    assert_eq!((prepared.older(), prepared.target().generation), (Some(Older::Kept), 0));
    let third = apply(Some(&prepared), &prepare(digest(3), old)).unwrap();
    for prepared in [prepared, third] {
        let revert = Transition::Revert { to: old, beside: None, order: Order::StartFirst, starts: true };
        let back = apply(Some(&prepared), &revert).unwrap();
        assert_eq!((back.older(), back.target().generation), (Some(Older::Kept), 2));
        let start = |order| Transition::Start { order, generation: 0, makes_way: false, keeps_older: false };
        for order in [Order::StartFirst, Order::StopFirst] {
            let begun = apply(Some(&prepared), &start(order)).unwrap();
            assert_eq!((begun.older(), begun.target().generation), (None, 0), "{order:?}");
        }
    }
}

#[test]
fn a_let_go_instance_is_of_its_restart_only() {
    let let_go = apply(Some(&restarted()), &Transition::LetGo { by_host: false }).unwrap();
    assert_eq!((let_go.older(), let_go.plan().keeps_older), (Some(Older::LetGo), false));
    let by_host = apply(Some(&restarted()), &Transition::LetGo { by_host: true }).unwrap();
    assert_eq!(by_host.older(), None);
    let prepared = apply(Some(&let_go), &prepare(digest(2), digest(1))).unwrap();
    assert_eq!((prepared.older(), prepared.other().map(|other| other.generation)), (None, Some(0)));
    let never = apply(Some(&created(true, true)), &Transition::LetGo { by_host: false }).unwrap();
    assert_eq!(never, created(true, true));
}
