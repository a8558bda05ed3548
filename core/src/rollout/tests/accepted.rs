//! Hosts accept each plan that was accepted: whichever slot is begun first, however far the others are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::midway::deploy;
use crate::Size;
use crate::capacity::{GpuTaken, Need, Taken};
use crate::fixture::{at, fleet, reference, release, steady};
use crate::fleet::Member;
use crate::host::{Gpu, GpuAccess, Limit};
use crate::id::HostId;
use crate::reconcile::room::{Capacity, fits};
use crate::release::{Release, Scale, Spec};
use crate::rollout::{Snapshot, State, place_only, start};
use crate::service::Slots;
use crate::slot::Slot;

const MIB: u64 = 1 << 20;
const PORT: u16 = 8080;

/// The share of neighbours in a host: MiB, a share of the first GPU in GiB (0 is all of it), and the fixed port.
type Others = (u64, Option<u64>, bool);
/// MiB, thousandths of a core, GPUs and GiB of each, and whether it wants the fixed port.
type Wish = (u64, u32, u32, Option<u64>, bool);

fn others() -> impl Strategy<Value = Others> {
    (prop_oneof![Just(0_u64), 0..800_u64], option::of(0..12_u64), prop::bool::weighted(0.2))
}

fn wish() -> impl Strategy<Value = Wish> {
    let cpu = prop_oneof![4 => Just(100_u32), 1 => Just(5000)];
    (16_u64..400, cpu, 0_u32..3, option::of(1_u64..14), prop::bool::weighted(0.2))
}

fn of_wish(counter: u64, (memory, cpu, gpus, share, port): Wish, edit: impl FnOnce(&mut Value)) -> Release {
    release(counter, |json| {
        let resources = &mut json["spec"]["resources"];
        resources["memory"] = format!("{memory}MiB").into();
        resources["cpu_millis"] = cpu.into();
        match (gpus, share) {
            (0, _) => {}
            (count, Some(gib)) => {
                resources["gpus"] = json!({ "count": count, "memory": format!("{gib}GiB") })
            }
            (count, None) => resources["gpus"] = json!({ "count": count }),
        }
        json["spec"]["ports"] = json!({ "http": { "container": 80 } });
        json["spec"]["main_port"] = "http".into();
        if port {
            json["spec"]["ports"]["http"]["host"] = PORT.into();
        }
        edit(json);
    })
}

fn strategy(n: usize) -> Value {
    let rolling = |order: &str| json!({ "rolling": { "batch": 1, "max_surge": 1, "max_unavailable": 1, "order": order, "min_ready": "5s" } });
    match n {
        0 => rolling("auto"),
        1 => rolling("stop_first"),
        2 => json!({ "recreate": { "min_ready": "5s" } }),
        _ => {
            json!({ "blue_green": { "steps": [1000], "watch": "20s", "keep_old": "5m", "min_ready": "5s" } })
        }
    }
}

fn fill(member: &mut Member, (memory, gpu, port): Others) {
    let share = |gib: u64| if gib == 0 { GpuTaken::Exclusively } else { GpuTaken::Memory(gib << 30) };
    member.taken = Taken {
        memory: memory * MIB,
        ports: port.then_some(PORT).into_iter().collect(),
        gpus: gpu.map(|gib| ("gpu-0".to_owned(), share(gib))).into_iter().collect(),
        ..Taken::default()
    };
}

/// The host's own answer to an instance of `spec` beside `others`.
fn host_accepts(member: &Member, others: &[Need], spec: &Spec, gpus: &[String]) -> Result<(), String> {
    let facts = &member.facts;
    let devices = facts.gpus.iter().map(|gpu: &Gpu| (gpu.uuid.clone(), gpu.clone())).collect();
    let capacity =
        Capacity { memory: facts.memory, gpus: devices, gpu_access: GpuAccess::Hook, ..Capacity::default() };
    let neighbours = Need { memory: member.taken.memory, gpus: member.taken.gpus.clone() };
    let all: Vec<Need> = std::iter::once(neighbours).chain(others.iter().cloned()).collect();
    if u64::from(spec.resources.cpu_millis) > facts.cpu_millis {
        return Err("cpu".to_owned());
    }
    let wanted = Need::of_release(spec, gpus);
    let count = spec.resources.gpus.map_or(0, |gpus| gpus.count as usize);
    if wanted.gpus.len() != count {
        return Err(format!("{} of {count} GPUs", wanted.gpus.len()));
    }
    fits(&capacity, &facts.policy, all.iter(), &wanted).map_err(|why| why.to_string())
}

fn port_of(spec: &Spec) -> Option<u16> {
    spec.ports.values().find_map(|port| port.host)
}

/// A service at the first of two releases, and what its deploy of the second came to.
struct Deployed {
    fleet: crate::fleet::FleetView,
    before: Slots,
    after: Slots,
    accepted: bool,
    reason: String,
}

fn deployed(hosts: &[Others], slots: u32, r1: &Release, r2: &Release) -> Option<Deployed> {
    let mut fleet = fleet(hosts.len());
    for (member, others) in fleet.members.values_mut().zip(hosts) {
        fill(member, *others);
        let facts = Arc::make_mut(&mut member.facts);
        facts.policy.max_memory = Limit::Bytes(Size::from_bytes(1024 * MIB));
    }
    let (service, mut before, mut releases) = steady(r1, slots, &mut fleet);
    // The hosts hold the first release.
    let mut taken: BTreeMap<HostId, Taken> =
        fleet.members.iter().map(|(host, member)| (host.clone(), member.taken.clone())).collect();
    for slot in before.values_mut() {
        let taken = taken.get_mut(slot.host()).unwrap();
        let gpus = taken.fit(&fleet.members[slot.host()].facts, &r1.spec).ok()?;
        taken.add_instance(&r1.spec, &gpus);
        slot.edit(|part| part.gpus = gpus);
    }
    releases.insert(reference(r2).digest, r2.clone());
    let (service, rollout, _) =
        start(&service, None, deploy(r2, false), "00000001".parse().unwrap(), at(100)).unwrap();
    let next = place_only(&Snapshot {
        service: &service,
        slots: &before,
        rollout: Some(&rollout),
        releases: &releases,
        fleet: &fleet,
        now: at(100),
    });
    let rollout = next.rollout.unwrap();
    let reason = rollout.reason.as_ref().map(ToString::to_string).unwrap_or_default();
    let accepted = rollout.state == State::Preparing;
    assert!(accepted || rollout.state == State::RollingBack, "{:?}: {:?}", rollout.state, next.waiting);
    Some(Deployed { fleet, before, after: next.slots, accepted, reason })
}

/// The most that the instances of a slot need at any moment of the rollout.
fn most(slot: &Slot, r1: &Release, r2: &Release, beside: bool) -> Need {
    let of = |digest, gpus: &[String]| {
        let release = if digest == reference(r1).digest { r1 } else { r2 };
        Need::of_release(&release.spec, gpus)
    };
    let target = of(slot.release(), &slot.target().gpus);
    let other = slot.other().map(|other| (of(other.release, &other.gpus), beside));
    Need::of_slot(std::iter::once((target, true)).chain(other))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_a_plan_accepts_its_hosts_accept(
        (hosts, slots) in (vec(others(), 1..4), 1_u32..5),
        (old, new) in (wish(), wish()),
        (n, per_host, pinned) in (0_usize..4, any::<bool>(), prop::bool::weighted(0.3)),
    ) {
        let slots = if per_host { u32::try_from(hosts.len()).unwrap() } else { slots };
        let beside = n == 3;
        // A release that stands beside the old one has no fixed port.
        let (old, new) = if beside { ((old.0, 100, old.2, old.3, false), (new.0, 100, new.2, new.3, false)) } else { (old, new) };
        let edit = |json: &mut Value| {
            json["spec"]["strategy"] = strategy(n);
            json["spec"]["scale"] = if per_host { "per_host".into() } else { json!({ "replicas": { "min": slots, "max": slots } }) };
            if pinned {
                json["spec"]["volumes"] = json!({ "data": { "mount": "/data", "shared": true } });
            }
        };
        let (r1, r2) = (of_wish(1, old, edit), of_wish(2, new, edit));
        let Some(Deployed { fleet, before, after, accepted, reason }) = deployed(&hosts, slots, &r1, &r2) else {
            return Ok(());
        };
        if !accepted {
            prop_assert!(!reason.is_empty());
            prop_assert_eq!(after, before, "a refusal touches nothing: {}", reason);
            return Ok(());
        }
        let to = reference(&r2).digest;
        for slot in after.values().filter(|slot| slot.release() == to) {
            let member = &fleet.members[slot.host()];
            let neighbours = after.values().filter(|other| other.host() == slot.host() && other.id() != slot.id());
            let mut others: Vec<Need> = neighbours.clone().map(|other| most(other, &r1, &r2, beside)).collect();
            if let Some(other) = slot.other().filter(|_| beside) {
                others.push(Need::of_release(&r1.spec, &other.gpus));
            }
            let answer = host_accepts(member, &others, &r2.spec, &slot.target().gpus);
            prop_assert_eq!(answer, Ok(()), "{} on {}", slot.id(), slot.host());
            if let Some(port) = port_of(&r2.spec) {
                prop_assert!(!member.taken.ports.contains(&port));
                let used: BTreeSet<_> = neighbours.flat_map(Slot::named).collect();
                let fixed = |release: &Release| used.contains(&reference(release).digest) && port_of(&release.spec) == Some(port);
                prop_assert!(!fixed(&r1) && !fixed(&r2), "port {} on {}", port, slot.host());
            }
        }
        if pinned {
            let moved = after.values().filter(|slot| !before.contains_key(slot.id())).count();
            let stayed = after.values().filter(|slot| slot.release() == to).count() - moved;
            prop_assert_eq!(stayed, before.len(), "nothing leaves its volume");
        }
        if r2.spec.scale == Scale::PerHost {
            let serving: BTreeSet<&HostId> = before.values().map(Slot::host).collect();
            let new: BTreeSet<&HostId> = after.values().filter(|slot| slot.release() == to).map(Slot::host).collect();
            prop_assert!(new.is_superset(&serving), "{:?} {:?}", serving, new);
        }
    }

    /// A deploy over one slot on the only host is accepted if and only if the host accepts it.
    #[test]
    fn what_the_only_host_accepts_its_plan_accepts(others in others(), old in wish(), new in wish()) {
        let edit = |json: &mut Value| {
            json["spec"]["strategy"] = strategy(1);
            json["spec"]["scale"] = json!({ "replicas": { "min": 1, "max": 1 } });
        };
        let (r1, r2) = (of_wish(1, old, edit), of_wish(2, new, edit));
        let Some(Deployed { fleet, accepted, reason, .. }) = deployed(&[others], 1, &r1, &r2) else {
            return Ok(());
        };
        let member = fleet.members.values().next().unwrap();
        let uuids = ["gpu-0", "gpu-1"].map(str::to_owned);
        let count = r2.spec.resources.gpus.map_or(0, |gpus| gpus.count as usize);
        let choices = (0..=2 - count).map(|from| &uuids[from..from + count]);
        let port = port_of(&r2.spec).is_some_and(|port| member.taken.ports.contains(&port));
        let takes = choices.into_iter().any(|gpus| host_accepts(member, &[], &r2.spec, gpus).is_ok()) && !port;
        prop_assert_eq!(accepted, takes, "{}", reason);
    }
}
