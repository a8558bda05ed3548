//! Devices that are lost, or do not fit any more.

use std::sync::Arc;

use serde_json::json;

use crate::capacity::{GpuTaken, Taken};
use crate::fixture::{at, fleet, reference, release, steady};
use crate::fleet::FleetView;
use crate::host::{GpuLost, HostFacts};
use crate::id::SlotId;
use crate::observation::InstanceState;
use crate::plan::Order;
use crate::release::Release;
use crate::rollout::{Rollout, Snapshot, advance, place_only, start};
use crate::service::{Releases, Service, Slots};
use crate::slot::Waiting;

mod stuck;

fn with(gpus: serde_json::Value) -> impl FnOnce(&mut serde_json::Value) {
    move |json| {
        json["spec"]["resources"]["gpus"] = gpus;
        json["spec"]["scale"] = json!({ "replicas": { "min": 1, "max": 1 } });
    }
}

fn facts(fleet: &mut FleetView) -> &mut HostFacts {
    Arc::make_mut(&mut fleet.members.values_mut().next().unwrap().facts)
}

fn lose(fleet: &mut FleetView, uuid: &str) {
    lose_of(facts(fleet), uuid);
}

fn lose_of(facts: &mut HostFacts, uuid: &str) {
    facts.gpus.retain(|gpu| gpu.uuid != uuid);
    let (since, why) = (at(99), "it is lost".to_owned());
    facts.gpus_lost.push(GpuLost {
        uuid: uuid.to_owned(),
        name: "T4".to_owned(),
        since,
        why,
        ..GpuLost::default()
    });
}

/// Another service has something of a device.
fn hold(fleet: &mut FleetView, uuid: &str, taken: GpuTaken) {
    let member = fleet.members.values_mut().next().unwrap();
    member.taken = Taken { gpus: [(uuid.to_owned(), taken)].into(), ..Taken::default() };
}

/// One host with two GPUs, on which one slot runs with `gpu-0`.
fn one(release: &Release) -> (FleetView, Service, Slots, Releases, SlotId) {
    let mut fleet = fleet(1);
    let (service, mut slots, releases) = steady(release, 1, &mut fleet);
    slots.values_mut().for_each(|slot| slot.edit(|part| part.gpus = vec!["gpu-0".to_owned()]));
    let id = slots.keys().next().unwrap().clone();
    (fleet, service, slots, releases, id)
}

fn snapshot<'a>(
    (fleet, service, slots, releases): (&'a FleetView, &'a Service, &'a Slots, &'a Releases),
    rollout: Option<&'a Rollout>,
) -> Snapshot<'a> {
    Snapshot { service, slots, rollout, releases, fleet, now: at(100) }
}

#[test]
fn a_slot_moves_to_another_gpu_when_its_own_is_gone() {
    let alone = release(1, with(json!({ "count": 1 })));
    let (mut fleet, service, slots, releases, id) = one(&alone);
    let quiet = advance(&snapshot((&fleet, &service, &slots, &releases), None));
    assert!(quiet.touched.is_empty(), "as long as it is there");
    lose(&mut fleet, "gpu-0");
    let moved = advance(&snapshot((&fleet, &service, &slots, &releases), None));
    let slot = &moved.slots[&id];
    assert_eq!(
        (slot.target().gpus.as_slice(), slot.target().generation),
        (["gpu-1".to_owned()].as_slice(), 1)
    );
    assert_eq!(slot.order(), Order::StartFirst, "the old one stops when the new one serves");
    let again = advance(&snapshot((&fleet, &service, &moved.slots, &releases), None));
    assert!(again.touched.is_empty(), "once");
    // Another service has the other one: nothing moves, and nothing is taken from that.
    hold(&mut fleet, "gpu-1", GpuTaken::Exclusively);
    let stays = advance(&snapshot((&fleet, &service, &slots, &releases), None));
    assert!(stays.touched.is_empty(), "{:?}", stays.slots[&id]);
}

#[test]
fn stop_first_moves_keep_to_the_disruption_budget() {
    let shared = |unavailable: u32| {
        release(1, move |json| {
            json["spec"]["resources"]["gpus"] = json!({ "count": 1 });
            json["spec"]["scale"] = json!({ "replicas": { "min": 3, "max": 3 } });
            json["spec"]["strategy"]["rolling"]["order"] = "stop_first".into();
            json["spec"]["strategy"]["rolling"]["max_unavailable"] = unavailable.into();
        })
    };
    #[rustfmt::skip]
    let table = [
        ("all serve",                         0, vec![],     1, true),
        ("two may be missing",                2, vec![],     2, true),
        ("one serves no more, and counts",    0, vec![2],    1, true),
        ("none serves: nothing is taken",     0, vec![0, 1, 2], 3, false),
    ];
    for (case, unavailable, silent, moved, waits) in table {
        let release = shared(unavailable);
        let mut fleet = fleet(3);
        let (service, mut slots, releases) = steady(&release, 3, &mut fleet);
        slots.values_mut().for_each(|slot| slot.edit(|part| part.gpus = vec!["gpu-0".to_owned()]));
        for (index, member) in fleet.members.values_mut().enumerate() {
            lose_of(Arc::make_mut(&mut member.facts), "gpu-0");
            let seen = Arc::make_mut(member.observation.as_mut().unwrap());
            if silent.contains(&index) {
                seen.slots[0].instances[0].state = InstanceState::Unready;
            }
        }
        let next = advance(&snapshot((&fleet, &service, &slots, &releases), None));
        let begun: Vec<_> = next.slots.values().filter(|slot| slot.target().generation == 1).collect();
        assert_eq!(begun.len(), moved, "{case}: {:?}", next.slots);
        assert!(begun.iter().all(|slot| slot.order() == Order::StopFirst), "{case}");
        let others = next.waiting.iter().any(|waiting| matches!(waiting, Waiting::Others { .. }));
        assert_eq!(others, waits, "{case}: {:?}", next.waiting);
    }
}

/// The devices and the order that a deploy of `to` gives the slot.
fn deployed(fleet: &FleetView, before: &Release, to: &Release) -> Vec<String> {
    let (_, service, slots, mut releases, id) = one(before);
    releases.insert(reference(to).digest, to.clone());
    let target = crate::rollout::tests::midway::deploy(to, false);
    let (service, rollout, _) = start(&service, None, target, "00000001".parse().unwrap(), at(100)).unwrap();
    let placed = place_only(&snapshot((fleet, &service, &slots, &releases), Some(&rollout)));
    placed.slots[&id].target().gpus.clone()
}

#[test]
fn a_device_is_chosen_anew_when_the_old_one_does_not_fit() {
    let share = |gib: u64| with(json!({ "count": 1, "memory": format!("{gib}GiB") }));
    let alone = || with(json!({ "count": 1 }));
    let stop_first = |json: &mut serde_json::Value| {
        with(json!({ "count": 1 }))(json);
        json["spec"]["strategy"]["rolling"]["order"] = "stop_first".into();
    };
    let well = fleet(1);
    let (mut shared, mut lost) = (fleet(1), fleet(1));
    hold(&mut shared, "gpu-0", GpuTaken::Memory(6 << 30));
    lose(&mut lost, "gpu-0");
    let mut none = fleet(1);
    lose(&mut none, "gpu-0");
    lose(&mut none, "gpu-1");
    #[rustfmt::skip]
    let table = [
        ("a share stays where it is",       &well,   release(1, share(6)), release(2, share(6)),   vec!["gpu-0"]),
        ("one that has grown moves",        &shared, release(1, share(6)), release(2, share(11)),  vec!["gpu-1"]),
        ("alone, where others have shares", &shared, release(1, share(6)), release(2, alone()),    vec!["gpu-1"]),
        ("starts first on another one",     &well,   release(1, alone()),  release(2, alone()),    vec!["gpu-1"]),
        ("stops first, and keeps its own",  &well,   release(1, alone()),  release(2, stop_first), vec!["gpu-0"]),
        ("the old one is lost",             &lost,   release(1, alone()),  release(2, stop_first), vec!["gpu-1"]),
        ("all are: nothing is touched",   &none,   release(1, alone()),  release(2, stop_first), vec!["gpu-0"]),
    ];
    for (case, fleet, before, to, want) in table {
        assert_eq!(deployed(fleet, &before, &to), want, "{case}");
    }
}
