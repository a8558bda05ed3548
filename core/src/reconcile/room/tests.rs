//! The room of a host: every slot that a coordinator places there fits.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::capacity::{GpuTaken, Taken};
use crate::fixture::{member, reference, release, want};
use crate::host::{Gpu, GpuAccess, HostFacts, Limit};
use crate::placement;
use crate::plan::{Order, Phase, PlanSlot};
use crate::reconcile::{ContainerState, GpuClaim, Likeness, RestartPolicy};
use crate::release::Release;
use crate::service::Releases;
use crate::slot::Slot;
use crate::units::Size;

const GIB: u64 = 1 << 30;

fn claim(memory: u64, gpus: &[(&str, Option<u64>)]) -> Need {
    let gpus = gpus.iter().map(|(uuid, memory)| ((*uuid).to_owned(), GpuTaken::of(*memory)));
    Need { memory, gpus: gpus.collect() }
}

fn two() -> Capacity {
    let gpu = |uuid: &str| Gpu { uuid: uuid.to_owned(), memory: 8 * GIB, ..Gpu::default() };
    let gpus = ["a", "b"].map(|uuid| (uuid.to_owned(), gpu(uuid))).into();
    Capacity { memory: 10 * GIB, gpus, gpu_access: GpuAccess::Hook, ..Capacity::default() }
}

fn said(capacity: &Capacity, policy: &HostPolicy, others: &[Need], wanted: &Need) -> String {
    fits(capacity, policy, others.iter(), wanted).err().map(|e| e.to_string()).unwrap_or_default()
}

#[test]
fn what_fits() {
    let (capacity, policy) = (two(), HostPolicy::default());
    let others = [claim(4 * GIB, &[("a", Some(6 * GIB))]), claim(GIB, &[("b", None)])];
    #[rustfmt::skip]
    let table = [
        ("memory left", claim(4 * GIB, &[]), ""),
        ("90 % of 10 GiB, 5 taken", claim(4 * GIB + (1 << 20), &[]), "memory"),
        ("shares a device", claim(1, &[("a", Some(2 * GIB))]), ""),
        ("shares too much", claim(1, &[("a", Some(2 * GIB + 1))]), "free"),
        ("wants a shared device alone", claim(1, &[("a", None)]), "taken"),
        ("wants a share of one that is held", claim(1, &[("b", Some(1))]), "taken"),
        ("unknown device", claim(1, &[("c", None)]), "no `c`"),
    ];
    for (case, wanted, want) in table {
        let got = said(&capacity, &policy, &others, &wanted);
        assert_eq!(got.is_empty(), want.is_empty(), "{case}: {got}");
        assert!(got.contains(want), "{case}: {got}");
    }
    let limit = Limit::Bytes(Size::from_bytes(6 * GIB));
    let policy = HostPolicy { max_memory: limit, ..policy };
    assert!(fits(&capacity, &policy, others.iter(), &claim(2 * GIB, &[])).is_err());
}

#[test]
fn a_device_is_given_only_if_it_is_known_to_work() {
    let (alone, share) = (claim(0, &[("a", None)]), claim(0, &[("a", Some(6 * GIB))]));
    let policy = HostPolicy::default();
    let with = |change: fn(&mut Gpu)| {
        let mut capacity = two();
        capacity.gpus.values_mut().for_each(change);
        capacity
    };
    let no = Capacity { gpu_access: GpuAccess::No("no hook".to_owned()), ..two() };
    let silent = Capacity { gpus_silent: Some("it hangs".to_owned()), ..two() };
    let stranger = with(|gpu| gpu.strangers = 3 * GIB);
    let unknown = with(|gpu| gpu.memory = 0);
    let reserve = HostPolicy { gpu_reserve: Size::from_bytes(3 * GIB), ..policy.clone() };
    let one = HostPolicy { gpus: Some(1), ..policy.clone() };
    let beside = [claim(0, &[("b", None)])];
    #[rustfmt::skip]
    let table = [
        ("well", &two(), &policy, &alone, ""),
        ("no hook", &no, &policy, &alone, "no hook"),
        ("nobody answers", &silent, &policy, &alone, "it hangs"),
        ("a stranger has some", &stranger, &policy, &share, "5120 MiB free, 6144 MiB are needed"),
        ("a stranger is no neighbour", &stranger, &policy, &alone, "hold 3072 MiB"),
        ("unless so much is left to it", &stranger, &reserve, &alone, ""),
        ("the driver has some", &with(|gpu| gpu.reserved = 3 * GIB), &policy, &share, "5120 MiB free"),
        ("the host keeps some", &two(), &reserve, &share, "5120 MiB free"),
        ("memory is not known", &unknown, &policy, &share, "does not tell"),
        ("which hinders nobody who wants it all", &unknown, &policy, &alone, ""),
        ("the host gives one", &two(), &one, &alone, "would hold 2 GPUs"),
    ];
    for (case, capacity, policy, wanted, want) in table {
        let got = said(capacity, policy, &beside, wanted);
        assert!(got.contains(want) && got.is_empty() == want.is_empty(), "{case}: {got}");
    }
    let same = claim(0, &[("b", Some(GIB))]);
    assert_eq!(said(&two(), &one, &[claim(0, &[("b", Some(GIB))])], &same), "", "it counts devices");
    assert_eq!(said(&silent, &policy, &[], &claim(GIB, &[])), "", "who wants none is not held up");
}

#[test]
fn the_disk_keeps_a_reserve() {
    let capacity = Capacity { disk_total: 100 * GIB, disk_free: 10 * GIB, ..Capacity::default() };
    assert!(disk_fits(&capacity, 4 * GIB).is_ok());
    assert!(disk_fits(&capacity, 6 * GIB).is_err());
    assert!(disk_fits(&Capacity::default(), u64::MAX).is_ok(), "unknown is not full");
}

/// A service: memory in MiB, GPUs, GiB of each (alone if none), and the same of the release after it, if there is one.
type Wish = (u64, u32, Option<u64>);

fn wishes() -> impl Strategy<Value = Vec<(Wish, Option<Wish>)>> {
    let wish = || (16_u64..200, 0_u32..3, proptest::option::of(1_u64..14));
    vec((wish(), proptest::option::of(wish())), 40)
}

/// Eight GPUs, of which some have less memory than others, are used by strangers, or do not tell their memory.
fn host() -> impl Strategy<Value = HostFacts> {
    let gpu = (prop_oneof![Just(0_u64), Just(8), Just(16), Just(24)], 0_u64..2, 0_u64..4);
    (vec(gpu, 8), proptest::option::of(0_u32..8), 0_u64..3, 1_u64..8).prop_map(
        |(gpus, most, reserve, memory)| {
            let mut facts = HostFacts::clone(&member().facts);
            let gpu = |(n, (memory, reserved, strangers)): (usize, &(u64, u64, u64))| Gpu {
                uuid: format!("gpu-{n}"),
                memory: memory * GIB,
                reserved: reserved << 29,
                strangers: strangers << 29,
                ..Gpu::default()
            };
            facts.gpus = gpus.iter().enumerate().map(gpu).collect();
            (facts.policy.gpus, facts.policy.gpu_reserve) = (most, Size::from_bytes(reserve * GIB));
            facts.memory = memory * GIB;
            facts.policy.max_memory = Limit::Percent(90);
            facts
        },
    )
}

fn of_wish(counter: u64, (memory, count, share): Wish) -> Release {
    release(counter, |json| {
        json["spec"]["resources"]["memory"] = format!("{memory}MiB").into();
        json["spec"]["resources"]["gpus"] = match (count, share) {
            (0, _) => return,
            (count, Some(gib)) => json!({ "count": count, "memory": format!("{gib}GiB") }),
            (count, None) => json!({ "count": count }),
        };
    })
}

/// The containers that a host makes of a slot.
fn containers(slot: &Slot, releases: &Releases) -> Vec<Container> {
    let occupants = [Some(slot.target()), slot.other()].into_iter().flatten();
    let container = |occupant: &crate::slot::Occupant| {
        let release = &releases[&occupant.release];
        let need = Need::of_release(&release.spec, &occupant.gpus);
        let share = release.spec.resources.gpus.and_then(|gpus| gpus.memory).map(Size::bytes);
        Container {
            id: format!("c{}", release.counter),
            instance: format!("web.{}", release.counter),
            slot: slot.id().clone(),
            release: occupant.release,
            content: occupant.release,
            counter: release.counter,
            generation: 0,
            side: 0,
            ports: BTreeMap::new(),
            memory: need.memory,
            gpus: need.gpus.keys().map(|uuid| GpuClaim { uuid: uuid.clone(), memory: share }).collect(),
            created_at: crate::Timestamp::ZERO,
            state: match occupant.run {
                Phase::Running => ContainerState::Running { started_at: crate::Timestamp::ZERO },
                Phase::Pulled | Phase::Draining | Phase::Standby | Phase::Absent => ContainerState::Created,
            },
            policy: RestartPolicy::No,
            restarts: 0,
            last_exit: None,
            health: None,
            answers: Default::default(),
            plan: None,
            name: String::new(),
            likeness: Likeness::Same,
        }
    };
    occupants.map(container).collect()
}

fn part(slot: &crate::SlotId, release: crate::Digest, gpus: Vec<String>) -> PlanSlot {
    PlanSlot { gpus, ..want(slot, release) }
}

/// Nothing is given twice, and no more than there is.
fn check(facts: &HostFacts, slots: &[Slot], releases: &Releases) {
    let mut all = Need::default();
    for slot in slots {
        let seen = containers(slot, releases);
        all.add(&of_slot(&seen.iter().collect::<Vec<_>>(), None));
    }
    assert!(all.memory <= facts.policy.max_memory.of(facts.memory), "{} bytes", all.memory);
    let up = slots.iter().flat_map(|slot| containers(slot, releases)).filter(|seen| seen.state.is_up());
    let up: Vec<GpuClaim> = up.flat_map(|seen| seen.gpus).collect();
    let given: BTreeSet<&String> = up.iter().map(|held| &held.uuid).collect();
    assert!(given.len() <= facts.policy.gpus.map_or(8, |most| most as usize), "{given:?}");
    for gpu in &facts.gpus {
        // An instance that has a device alone has nobody beside it, not even its own predecessor while that runs.
        let held: Vec<&GpuClaim> = up.iter().filter(|held| held.uuid == gpu.uuid).collect();
        let alone = held.iter().any(|held| held.memory.is_none());
        assert!(!alone || held.len() == 1, "{}: {held:?}", gpu.uuid);
        if let Some(GpuTaken::Memory(used)) = all.gpus.get(&gpu.uuid) {
            let room = gpu
                .for_shares(facts.policy.gpu_reserve.bytes())
                .expect("one that has shares tells its memory");
            assert!(*used <= room, "{}: {used} of {room}", gpu.uuid);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_a_coordinator_places_no_host_refuses(facts in host(), wishes in wishes()) {
        let gpus = facts.gpus.iter().map(|gpu| (gpu.uuid.clone(), gpu.clone())).collect();
        let capacity = Capacity { memory: facts.memory, gpus, ..Capacity::default() };
        let facts_of = crate::fleet::Member { facts: std::sync::Arc::new(facts.clone()), ..member() };
        let (mut slots, mut releases): (Vec<Slot>, Releases) = (Vec::new(), Releases::new());
        // The host's answer to one more instance of `to` with `devices`, beside all slots but those at `but`.
        let host = |slots: &[Slot], releases: &Releases, but: usize, beside: &[Container], to: &Release, devices: &[String]| {
            let others = slots.iter().enumerate().filter(|(at, _)| *at != but).map(|(_, slot)| {
                of_slot(&containers(slot, releases).iter().collect::<Vec<_>>(), None)
            });
            let mut all: Vec<Need> = others.collect();
            all.extend(beside.iter().map(need));
            fits(&capacity, &facts.policy, all.iter(), &Need::of_release(&to.spec, devices))
        };
        let taken = |slots: &[Slot], releases: &Releases, but: usize| {
            let mut taken = Taken::default();
            slots.iter().enumerate().filter(|(at, _)| *at != but).for_each(|(_, slot)| taken.add(slot, releases));
            taken
        };
        for (counter, (first, second)) in (1_u64..).zip(wishes) {
            let old = of_wish(2 * counter, first);
            let (digest, at) = (reference(&old).digest, slots.len());
            let id = crate::SlotId::new(old.service_id(), u32::try_from(counter).unwrap());
            let Ok(gpus) = taken(&slots, &releases, at).fit(&facts, &old.spec) else { continue };
            prop_assert_eq!(host(&slots, &releases, at, &[], &old, &gpus), Ok(()));
            releases.insert(digest, old);
            slots.push(Slot::adopted("h0000".parse().unwrap(), part(&id, digest, gpus.clone())));
            check(&facts, &slots, &releases);
            // Its next release, as a rollout would have it: beside the old one, or after it.
            let Some(new) = second.map(|wish| of_wish(2 * counter + 1, wish)) else { continue };
            let others = taken(&slots, &releases, at);
            let mut beside = others.clone();
            beside.add_instance(&releases[&digest].spec, &gpus);
            let Ok(devices) = placement::devices(&new.spec, &facts, (&beside, &others), &gpus) else { continue };
            let first = placement::start_first(&new.spec, Some(&facts_of), &beside, &devices).is_ok();
            if !first && (others.fit_on_devices(&facts, &new.spec, &devices).is_err() || others.fit_processes(&facts, &new.spec).is_err()) {
                continue;
            }
            let runs = containers(&slots[at], &releases);
            prop_assert_eq!(host(&slots, &releases, at, if first { &runs } else { &[] }, &new, &devices), Ok(()));
            let mut next = part(&id, reference(&new).digest, devices);
            next.order = if first { Order::StartFirst } else { Order::StopFirst };
            let phase = if first { Phase::Running } else { Phase::Standby };
            // An instance that stands by would come back in the stead of the other one.
            let old = Slot::adopted("h0000".parse().unwrap(), part(&id, digest, gpus));
            releases.insert(next.release, new);
            let prepared = crate::slot::apply(Some(&old), &crate::slot::Transition::Prepare {
                release: next.release, incumbent: Some(digest), good: true, fallback: None, retry: false,
                gpus: next.gpus.clone(), stopped: false,
            });
            let start = crate::slot::Transition::Start {
                order: next.order,
                generation: 0,
                makes_way: false,
                keeps_older: false,
            };
            slots[at] = crate::slot::apply(Some(&prepared.unwrap()), &start).unwrap();
            prop_assert_eq!(slots[at].other().map(|other| other.run), Some(phase));
            check(&facts, &slots, &releases);
        }
    }
}
