//! Tables over what fits.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::digest::Digest;
use crate::fixture::{member, reference, release, want};
use crate::id::SlotId;
use crate::plan::Previous;
use crate::plan::{Order, Phase, PlanSlot};
use crate::release::Release;

const GIB: u64 = 1 << 30;

fn with(resources: serde_json::Value) -> Release {
    release(1, |json| {
        for (key, value) in resources.as_object().unwrap() {
            json["spec"]["resources"][key] = value.clone();
        }
    })
}

fn gpus(list: &[(&str, Option<u64>)]) -> Taken {
    let taken = |(uuid, gib): &(&str, Option<u64>)| {
        ((*uuid).to_owned(), gib.map_or(GpuTaken::Exclusively, |gib| GpuTaken::Memory(gib * GIB)))
    };
    Taken { gpus: list.iter().map(taken).collect(), ..Taken::default() }
}

/// The fixture's host has 1 GiB for releases, 4 cores and two GPUs of 16 GiB.
#[test]
fn what_fits() {
    let alone = || json!({ "gpus": { "count": 1 } });
    let both = || json!({ "gpus": { "count": 2 } });
    let share = |size: &str| json!({ "gpus": { "count": 1, "memory": size } });
    let memory = |memory| Taken { memory, ..Taken::default() };
    #[rustfmt::skip]
    let table = [
        ("all of the memory",        memory(0), json!({ "memory": "1GiB" }), Ok(vec![])),
        ("what is left of it",       memory(GIB / 2), json!({ "memory": "512MiB" }), Ok(vec![])),
        ("a byte too much",          memory(GIB / 2 + 1), json!({ "memory": "512MiB" }),
            Err("memory: 512 MiB needed, 511.9 MiB of 1 GiB free")),
        ("cpu only orders hosts",    Taken { cpu_millis: 9999, ..memory(0) }, json!({ "cpu_millis": 4000 }), Ok(vec![])),
        ("but there must be so many", memory(0), json!({ "cpu_millis": 4001 }),
            Err("cpu: 4.001 cores needed, the host has 4")),
        ("the first free device",    gpus(&[]), alone(), Ok(vec!["gpu-0"])),
        ("the other one",            gpus(&[("gpu-0", None)]), alone(), Ok(vec!["gpu-1"])),
        ("not a shared one",         gpus(&[("gpu-0", Some(1))]), alone(), Ok(vec!["gpu-1"])),
        ("two, one is held",         gpus(&[("gpu-0", Some(1))]), both(), Err("gpu: 2 needed, 1 free (gpu-0: held by slots, stopped standbys included)")),
        ("a share beside a share",   gpus(&[("gpu-0", Some(10))]), share("6GiB"), Ok(vec!["gpu-0"])),
        ("a share where shares are",  gpus(&[("gpu-1", Some(1))]), share("6GiB"), Ok(vec!["gpu-1"])),
        ("the fullest that has room", gpus(&[("gpu-0", Some(4)), ("gpu-1", Some(9))]), share("6GiB"), Ok(vec!["gpu-1"])),
        ("a share too much there",   gpus(&[("gpu-0", Some(10))]), share("7GiB"), Ok(vec!["gpu-1"])),
        ("never beside an exclusive", gpus(&[("gpu-0", None), ("gpu-1", None)]), share("1GiB"),
            Err("gpu: 1 needed, 0 free (gpu-0, gpu-1: held by slots, stopped standbys included)")),
        ("more than a device has",   gpus(&[]), share("17GiB"),
            Err("gpu: 1 needed, 0 free (gpu-0, gpu-1: 17 GiB of its memory needed, 16 GiB free)")),
    ];
    for (case, taken, resources, want) in table {
        let got = taken.fit(&member().facts, &with(resources).spec).map_err(|why| why.to_string());
        let want = want
            .map(|gpus: Vec<&str>| gpus.into_iter().map(str::to_owned).collect::<Vec<_>>())
            .map_err(str::to_owned);
        assert_eq!(got, want, "{case}");
    }
}

#[test]
fn devices_that_report_errors_come_last_and_bad_ones_never() {
    use crate::host::GpuHealth::{Defective, Errors, Well};
    let alone = with(json!({ "gpus": { "count": 1 } })).spec;
    let share = with(json!({ "gpus": { "count": 1, "memory": "2GiB" } })).spec;
    let (none, shared) = (gpus(&[]), gpus(&[("gpu-0", Some(4))]));
    #[rustfmt::skip]
    let table = [
        ("the well one",                    &alone, &none,   [Errors, Well],      vec![], Ok("gpu-1")),
        ("the other one, if all is taken",  &alone, &gpus(&[("gpu-1", None)]), [Errors, Well], vec![], Ok("gpu-0")),
        ("a share goes to the well one",    &share, &shared, [Errors, Well],      vec![], Ok("gpu-1")),
        ("a slot leaves its own",           &alone, &none,   [Errors, Well],      vec!["gpu-0"], Ok("gpu-1")),
        ("bad memory is given to nobody",   &alone, &none,   [Defective, Defective], vec![],
            Err("gpu: 1 needed, 0 free (gpu-0, gpu-1: its memory is bad, which a restart or another card mends)")),
        ("but a slot may stay on it",       &alone, &none,   [Defective, Defective], vec!["gpu-1"], Ok("gpu-1")),
    ];
    for (case, spec, taken, health, has, want) in table {
        let mut facts = HostFacts::clone(&member().facts);
        facts.gpus.iter_mut().zip(health).for_each(|(gpu, health)| gpu.health = health);
        let has: Vec<String> = has.into_iter().map(str::to_owned).collect();
        let got = taken.fit_gpus(&facts, spec, &has).map(|gpus| gpus.concat()).map_err(|why| why.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), want, "{case}");
    }
}

#[test]
fn why_a_device_is_not_free_is_said() {
    let share = with(json!({ "gpus": { "count": 1, "memory": "2GiB" } })).spec;
    let alone = with(json!({ "gpus": { "count": 1 } })).spec;
    let said = |spec: &Spec, taken: &Taken, edit: fn(&mut HostFacts)| {
        let mut facts = HostFacts::clone(&member().facts);
        edit(&mut facts);
        taken.fit(&facts, spec).unwrap_err().to_string()
    };
    let unknown = said(&share, &gpus(&[]), |facts| facts.gpus.iter_mut().for_each(|gpu| gpu.memory = 0));
    assert_eq!(
        unknown,
        "gpu: 1 needed, 0 free (gpu-0, gpu-1: its memory is unknown, so that it has no shares)"
    );
    let policy = said(&alone, &gpus(&[("gpu-0", None)]), |facts| facts.policy.gpus = Some(1));
    let held = "gpu-0: held by slots, stopped standbys included";
    assert_eq!(policy, format!("gpu: 1 needed, 0 free ({held}; `gpus = 1` in the host's policy, 1 in use)"));
    let mixed = said(&alone, &gpus(&[("gpu-0", None)]), |facts| facts.gpus[1].strangers = 3 << 30);
    assert_eq!(mixed, format!("gpu: 1 needed, 0 free ({held}; gpu-1: other processes hold 3 GiB of it)"));
    let lost = said(&alone, &gpus(&[("gpu-0", None)]), |facts| {
        let uuid = facts.gpus.pop().unwrap().uuid;
        facts.gpus_lost = vec![crate::host::GpuLost { uuid, ..Default::default() }];
    });
    assert_eq!(lost, format!("gpu: 1 needed, 0 free ({held}; gpu-1: lost)"));
}

#[test]
fn a_fixed_port_is_one_slots() {
    let fixed =
        release(1, |json| json["spec"]["ports"] = json!({ "http": { "container": 80, "host": 8080 } }));
    let mut taken = Taken::default();
    assert!(taken.fit(&member().facts, &fixed.spec).is_ok());
    taken.add_instance(&fixed.spec, &[]);
    assert_eq!(taken.fit(&member().facts, &fixed.spec), Err(NoRoom::Port(8080)));
}

/// The need of a slot while one of its instances replaces the other: `(order, phase of the new, of the old)`.
#[test]
fn a_slot_takes_both_only_while_both_run() {
    let (new, old) = (with(json!({ "memory": "300MiB" })), with(json!({ "memory": "200MiB" })));
    let (new_ref, old_ref) = (reference(&new), reference(&old));
    let releases = Releases::from([(new_ref.digest, new), (old_ref.digest, old)]);
    use {Order::*, Phase::*};
    #[rustfmt::skip]
    let table = [
        ("both run",                     StartFirst, Running, Running,  500),
        ("the old one drains",           StartFirst, Running, Draining, 500),
        ("a standby keeps its place",    StartFirst, Running, Standby,  300),
        ("nothing new was started",      StartFirst, Pulled,  Running,  300),
        ("one after the other",          StopFirst,  Running, Standby,  300),
    ];
    for (case, order, phase, previous, mib) in table {
        let mut taken = Taken::default();
        taken.add(&assignment(new_ref.digest, order, phase, old_ref.digest, previous, &[]), &releases);
        assert_eq!(taken.memory >> 20, mib, "{case}");
    }
}

fn assignment(
    release: Digest,
    order: Order,
    phase: Phase,
    old: Digest,
    old_phase: Phase,
    gpus: &[&str],
) -> Slot {
    let slot: SlotId = "production/web/0".parse().unwrap();
    let previous = Some(Previous { release: old, phase: old_phase });
    let gpus = gpus.iter().map(|uuid| (*uuid).to_owned()).collect();
    let want = PlanSlot { order, phase, previous, gpus, ..want(&slot, release) };
    Slot::adopted("h0000".parse().unwrap(), want)
}

#[test]
fn a_device_is_held_as_the_hungrier_of_both_instances_holds_it() {
    let share = |gib: u64| json!({ "gpus": { "count": 1, "memory": format!("{gib}GiB") } });
    let alone = || json!({ "gpus": { "count": 1 } });
    #[rustfmt::skip]
    let table = [
        ("both shares while both run",  share(3), share(4), Phase::Running, GpuTaken::Memory(7 * GIB)),
        ("the larger for a standby",    share(3), share(4), Phase::Standby, GpuTaken::Memory(4 * GIB)),
        ("exclusive if the old one was", share(3), alone(), Phase::Standby, GpuTaken::Exclusively),
        ("exclusive if the new one is", alone(), share(4), Phase::Standby, GpuTaken::Exclusively),
        ("the old one had none",        share(3), json!({}), Phase::Running, GpuTaken::Memory(3 * GIB)),
    ];
    for (case, new, old, phase, want) in table {
        let (new, old) = (with(new), with(old));
        let (new_ref, old_ref) = (reference(&new), reference(&old));
        let releases = Releases::from([(new_ref.digest, new), (old_ref.digest, old)]);
        let slot =
            assignment(new_ref.digest, Order::StartFirst, Phase::Running, old_ref.digest, phase, &["gpu-0"]);
        let mut taken = Taken::default();
        taken.add(&slot, &releases);
        assert_eq!(taken.gpus["gpu-0"], want, "{case}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes: a share takes the fullest shared device that has room, an empty one only if none has, and is refused
    /// only if no device has.
    #[test]
    fn shares_leave_devices_whole(shares in vec(1_u64..=16, 1..40)) {
        let mut facts = HostFacts::clone(&member().facts);
        let gpu = |n| Gpu { uuid: format!("gpu-{n}"), memory: 16 * GIB, ..Gpu::default() };
        facts.gpus = (0..8).map(gpu).collect();
        facts.policy.max_memory = crate::host::Limit::Bytes(Size::from_bytes(64 * GIB));
        facts.memory = 64 * GIB;
        let mut taken = Taken::default();
        for gib in shares {
            let spec = with(json!({ "gpus": { "count": 1, "memory": format!("{gib}GiB") } })).spec;
            let used = |gpu: &Gpu| match taken.gpus.get(&gpu.uuid) {
                Some(GpuTaken::Memory(used)) => used / GIB,
                Some(GpuTaken::Exclusively) => 16,
                None => 0,
            };
            let room: Vec<u64> = facts.gpus.iter().map(used).filter(|used| used + gib <= 16).collect();
            match taken.fit(&facts, &spec) {
                Ok(given) => {
                    let chosen = facts.gpus.iter().find(|gpu| given == [gpu.uuid.clone()]).map(used);
                    prop_assert_eq!(chosen, room.iter().max().copied(), "{} GiB on {:?}", gib, given);
                    taken.add_instance(&spec, &given);
                }
                Err(why) => prop_assert!(room.is_empty(), "{}: {} GiB fit beside {:?}", why, gib, room),
            }
        }
    }
}
