//! Room on the host, and what is done when there is none.

use windlass_core::host::{Gpu, GpuAccess};
use windlass_core::observation::{RefusalCode, SlotStatus};
use windlass_core::plan::{Order, Phase, PlanSlot};
use windlass_core::reconcile::room::Capacity;
use windlass_core::release::{Gpus, Spec};
use windlass_core::{Digest, Size, SlotId};

use crate::world::*;

fn memory(gib: u64) -> impl Fn(&mut Spec) {
    move |spec| spec.resources.memory = Size::from_bytes(gib << 30)
}

fn is_refused(world: &World, slot: &SlotId, what: &str) -> bool {
    matches!(world.status(slot), SlotStatus::Refused(r) if r.code == RefusalCode::NoRoom && r.detail.contains(what))
}

#[test]
fn memory_is_first_come_first_served() {
    let mut world = World::new(); // 8 GiB, of which 90 % may be taken
    let one = world.release(1, HEALTHY, memory(3));
    let two = world.release(2, HEALTHY, memory(3));
    world.plan(vec![good(0, one), good(1, one), good(2, one)]);
    world.run(secs(30));
    assert_eq!(world.observed.containers.len(), 2);
    assert!(is_refused(&world, &slot(2), "memory"));
    // Both at once do not fit, one after the other does.
    world.plan(vec![replacing(0, two, one, Phase::Running), good(1, one)]);
    world.run(secs(30));
    assert!(is_refused(&world, &slot(0), "memory"));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    let stop_first = PlanSlot { order: Order::StopFirst, ..replacing(0, two, one, Phase::Standby) };
    world.plan(vec![stop_first, good(1, one)]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby");
}

#[test]
fn what_no_plan_names_makes_room() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, memory(5)), world.release(2, HEALTHY, memory(5)));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![good(0, two)]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+");
}

#[test]
fn a_full_disk_refuses_new_work_and_still_removes() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one), good(1, one)]);
    world.run(secs(30));
    let full = Capacity { disk_total: 100 << 30, disk_free: 1 << 30, ..world.observed.capacity.clone() };
    world.observed.capacity = full;
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    assert!(is_refused(&world, &slot(0), "disk"));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(world.picture(&slot(1)), "");
}

#[test]
fn images_go_when_the_disk_is_full_and_nobody_needs_them() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    let nearly = Capacity { disk_total: 100 << 30, disk_free: 10 << 30, ..world.observed.capacity.clone() };
    world.observed.capacity = nearly;
    world.run(secs(30));
    assert_eq!(world.observed.images.len(), 2, "the fallback's image stays");
    world.plan(vec![good(0, two)]);
    world.run(secs(30));
    world.desired.releases.remove(&one);
    world.run(secs(30));
    assert_eq!(world.observed.images.len(), 1);
    assert_eq!(world.memory.pulled.len(), 1);
}

#[test]
fn image_stays_below_the_mark_or_with_a_release_unknown() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![good(0, two)]);
    world.run(secs(30));
    let disk = |free: u64| Capacity { disk_total: 100 << 30, disk_free: free << 30, ..Capacity::default() };
    let forgotten = world.desired.releases.remove(&one).unwrap();
    world.observed.capacity = Capacity { memory: 8 << 30, ..disk(21) };
    world.run(secs(30));
    assert_eq!(world.observed.images.len(), 2, "79 % is not full");
    world.observed.capacity = Capacity { memory: 8 << 30, ..disk(10) };
    world.plan(vec![replacing(0, two, one, Phase::Standby)]);
    world.run(secs(30));
    assert_eq!(world.observed.images.len(), 2, "the plan names it, and nobody can say which image it has");
    world.desired.releases.insert(one, forgotten);
    world.run(secs(30));
    assert_eq!(world.observed.images.len(), 2, "it is the fallback's");
    world.plan(vec![good(0, two)]);
    world.desired.releases.remove(&one);
    world.run(secs(30));
    assert_eq!(world.observed.images.len(), 1);
}

#[test]
fn gpus_are_given_once() {
    let mut world = World::new();
    let gpu = |memory: Option<u64>| {
        move |spec: &mut Spec| {
            spec.resources.gpus = Some(Gpus { count: 1, memory: memory.map(Size::from_bytes) })
        }
    };
    let (alone, shared) =
        (world.release(1, HEALTHY, gpu(None)), world.release(2, HEALTHY, gpu(Some(4 << 30))));
    let on = |index, release, gpus: &[&str]| PlanSlot {
        gpus: gpus.iter().map(|uuid| (*uuid).to_owned()).collect(),
        ..good(index, release)
    };
    world.observed.capacity.gpu_access = GpuAccess::No("the engine has no hook".to_owned());
    world.plan(vec![on(0, alone, &["a"])]);
    world.run(secs(30));
    assert!(is_refused(&world, &slot(0), "no hook"));
    world.observed.capacity.gpu_access = GpuAccess::Hook;
    let known = |uuid: &str| Gpu { uuid: uuid.to_owned(), memory: 8 << 30, ..Gpu::default() };
    world.observed.capacity.gpus = ["a", "b"].map(|uuid| (uuid.to_owned(), known(uuid))).into();
    world.plan(vec![
        on(0, alone, &["a"]),
        on(1, alone, &["a"]),
        on(2, shared, &["b"]),
        on(3, shared, &["b"]),
        on(4, shared, &["b"]),
        on(5, alone, &["c"]),
        on(6, alone, &[]),
    ]);
    world.run(secs(30));
    assert!(is_refused(&world, &slot(1), "taken"));
    assert!(is_refused(&world, &slot(4), "free"));
    assert!(is_refused(&world, &slot(5), "no `c`"));
    assert!(is_refused(&world, &slot(6), "asks for 1"));
    for index in [0, 2, 3] {
        assert_eq!(*world.status(&slot(index)), SlotStatus::Settled, "{index}");
    }
}

/// The devices of the instance of `release` that runs.
fn devices(world: &World, release: &Digest) -> Vec<String> {
    let running = world.observed.containers.iter().filter(|seen| &seen.release == release);
    let running = running.filter(|seen| seen.state.is_up());
    running.flat_map(|seen| seen.gpus.iter().map(|gpu| gpu.uuid.clone())).collect()
}

#[test]
fn fallback_is_made_again_on_its_own_devices() {
    let known = |uuid: &str| Gpu { uuid: uuid.to_owned(), memory: 8 << 30, ..Gpu::default() };
    let alone = |spec: &mut Spec| spec.resources.gpus = Some(Gpus { count: 1, memory: None });
    let on = |want: PlanSlot, uuid: &str| PlanSlot { gpus: vec![uuid.to_owned()], ..want };
    let crash = Behaviour { ready_after: None, exits: Some((secs(10), 1)), ..HEALTHY };
    #[rustfmt::skip]
    let table = [
        ("its own device is free",        false, false, "a"),
        ("somebody else has its own now", true,  false, "b"),
        ("its own is gone",               false, true,  "b"),
    ];
    for (case, is_taken, is_gone, device) in table {
        let mut world = World::new();
        world.observed.capacity.gpu_access = GpuAccess::Hook;
        world.observed.capacity.gpus = ["a", "b"].map(|uuid| (uuid.to_owned(), known(uuid))).into();
        let (one, two) = (world.release(1, HEALTHY, alone), world.release(2, crash, alone));
        world.plan(vec![on(good(1, one), "a")]);
        world.run(secs(30));
        assert_eq!(devices(&world, &one), ["a"], "{case}");
        // The image of the other service is there before the device is free.
        let other = world.release(3, HEALTHY, alone);
        let mut slots = vec![on(replacing(1, two, one, Phase::Running), "b")];
        if is_taken {
            slots.insert(0, PlanSlot { phase: Phase::Pulled, ..on(good(0, other), "a") });
        }
        world.plan(slots);
        world.run(secs(5));
        assert_eq!(
            (devices(&world, &one), devices(&world, &two)),
            (vec!["a".to_owned()], vec!["b".to_owned()])
        );
        // Somebody removes the old instance by hand while the new one starts.
        world.observed.containers.retain(|seen| seen.release != one);
        if is_gone {
            world.observed.capacity.gpus.remove("a");
        }
        if is_taken {
            world.plan(vec![on(good(0, other), "a"), on(replacing(1, two, one, Phase::Running), "b")]);
        }
        world.run(secs(60));
        assert_eq!(devices(&world, &one), [device], "{case}: {:#?}", world.journal);
    }
}
