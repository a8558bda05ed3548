//! An instance ends, and a device is lost before or after: whose fault it was, and whether the same content starts again.

use windlass_core::Digest;
use windlass_core::host::{Gpu, GpuAccess};
use windlass_core::observation::{Fault, RefusalCode, SlotStatus};
use windlass_core::plan::{Phase, PlanSlot};
use windlass_core::release::{Gpus, Spec};

use crate::world::*;

/// Ends ten seconds after its start, and was never ready.
const ENDS: Behaviour = Behaviour { ready_after: None, exits: Some((secs(10), 1)), ..HEALTHY };

fn alone(spec: &mut Spec) {
    spec.resources.gpus = Some(Gpus { count: 1, memory: None });
}

fn on(uuid: &str, want: PlanSlot) -> PlanSlot {
    PlanSlot { gpus: vec![uuid.to_owned()], ..want }
}

/// r1 serves on `a`, and r2 starts on `b` now.
fn starting() -> (World, Digest, Digest) {
    let mut world = World::new();
    let known =
        |uuid: &str| (uuid.to_owned(), Gpu { uuid: uuid.to_owned(), memory: 8 << 30, ..Gpu::default() });
    world.observed.capacity.gpu_access = GpuAccess::Hook;
    world.observed.capacity.gpus = ["a", "b", "c", "d"].map(known).into();
    let (one, two) = (world.release(1, HEALTHY, alone), world.release(2, ENDS, alone));
    world.plan(vec![on("a", good(0, one))]);
    world.run(secs(30));
    world.plan(vec![on("b", replacing(0, two, one, Phase::Running))]);
    (world, one, two)
}

/// The fault that the host reports of the failed slot.
fn fault(world: &World, case: &str) -> Fault {
    match world.status(&slot(0)) {
        SlotStatus::Failed { evidence, .. } => evidence.fault,
        other => panic!("{case}: {other:?}"),
    }
}

#[test]
fn lost_device_decides_whether_content_is_quarantined() {
    #[rustfmt::skip]
    let table = [
        ("no device is lost",              None,            Fault::Release),
        ("it goes before the instance",    Some(("b", 5)),  Fault::Device),
        ("it is seen to be lost after",    Some(("b", 20)), Fault::Device),
        ("it is lost a minute later",      Some(("b", 90)), Fault::Release),
        ("another one is lost",            Some(("c", 20)), Fault::Release),
    ];
    for (case, lost, want) in table {
        let (mut world, one, two) = starting();
        let at = lost.map_or(0, |(_, at)| at);
        world.run(secs(at));
        if let Some((uuid, _)) = lost {
            world.observed.capacity.gpus.remove(uuid);
        }
        world.run(secs(150 - at));
        assert_eq!(fault(&world, case), want, "{case}: {:#?}", world.journal);
        let content = world.desired.releases[&two].content;
        let is_quarantined = world.memory.is_quarantined(&slot(0).service, &content);
        assert_eq!(is_quarantined, want.is_releases(), "{case}");
        assert!(world.up(&one), "{case}: the release before serves: {}", world.picture(&slot(0)));

        // The same content comes again, under another number and on a device that is well.
        let same = world.desired.releases[&two].release.spec.clone();
        let three = world.release(3, HEALTHY, |spec| *spec = same);
        assert_eq!(world.desired.releases[&three].content, content, "{case}");
        world.plan(vec![on("d", replacing(0, three, one, Phase::Running))]);
        world.run(secs(60));
        if want.is_releases() {
            let status = world.status(&slot(0));
            let refused = matches!(status, SlotStatus::Refused(why) if why.code == RefusalCode::Quarantined);
            assert!(refused && !world.up(&three), "{case}: {status:?}");
        } else {
            assert!(world.up(&three), "{case}: {} {:#?}", world.picture(&slot(0)), world.status(&slot(0)));
        }
    }
}
