//! The queue against what it replaces.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixture::{fleet, release};
use crate::release::Release;

type Chosen = Result<Place, BTreeMap<HostId, Unfit>>;

/// Asks every host for each slot, and takes the best.
fn asking_everybody(
    candidates: &Candidates<'_>,
    taken: &mut BTreeMap<HostId, Taken>,
    own: &mut BTreeMap<HostId, u32>,
) -> Chosen {
    let spec = &candidates.release.spec;
    let (mut fitting, mut refused) = (Vec::new(), candidates.refused.clone());
    for (host, member) in &candidates.hosts {
        let taken = taken.entry((*host).clone()).or_insert_with(|| member.taken.clone());
        match taken.fit(&member.facts, spec) {
            Ok(gpus) => {
                let own = own.get(*host).copied().unwrap_or(0);
                let load = taken.memory * 1000 / memory_limit(&member.facts).max(1);
                fitting.push((own, load, (*host).clone(), gpus, taken.memory));
            }
            Err(why) => drop(refused.insert((*host).clone(), Unfit::NoRoom(why))),
        }
    }
    let best = match spec.placement.spread {
        Spread::Host => fitting.into_iter().min_by_key(|(own, load, host, ..)| (*own, *load, host.clone())),
        Spread::Pack => fitting
            .into_iter()
            .min_by_key(|(own, load, host, ..)| (Reverse(*own), Reverse(*load), host.clone())),
    };
    let (count, _, host, gpus, memory_reserved) = best.ok_or(refused)?;
    taken.entry(host.clone()).or_default().add_instance(spec, &gpus);
    *own.entry(host.clone()).or_insert(0) += 1;
    Ok(Place { host, gpus, own: count, memory_reserved })
}

fn wanted(spread: &str, gpu: bool) -> Release {
    release(1, |json| {
        json["spec"]["placement"]["spread"] = spread.into();
        if gpu {
            json["spec"]["resources"]["gpus"] = json!({ "count": 1, "memory": "6GiB" });
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_queue_chooses_as_if_every_host_were_asked_for_each_slot(
        hosts in vec((0_u64..1100, 0_u32..3), 1..8),
        spread in prop_oneof![Just("host"), Just("pack")],
        gpu in any::<bool>(),
    ) {
        let (mut fleet, release) = (fleet(hosts.len()), wanted(spread, gpu));
        let names: Vec<HostId> = fleet.members.keys().cloned().collect();
        let own = names.iter().cloned().zip(hosts.iter().map(|(_, own)| *own)).collect();
        // Of a host that has no slots of the service, what the fleet says counts.
        let mut taken = BTreeMap::new();
        for (name, (mib, own)) in names.into_iter().zip(&hosts) {
            let there = Taken { memory: mib << 20, ..Taken::default() };
            match own {
                0 => fleet.members.get_mut(&name).unwrap().taken = there,
                _ => drop(taken.insert(name, there)),
            }
        }
        let candidates = Candidates::of(&fleet, &release);
        let mut filling = candidates.fill(&taken, &own);
        let (mut taken, mut own): (_, BTreeMap<HostId, u32>) = (taken.clone(), own);
        // Until both say of every host why not, and once more.
        let mut full = 0;
        while full < 2 {
            let want = asking_everybody(&candidates, &mut taken, &mut own);
            full += u32::from(want.is_err());
            prop_assert_eq!(filling.next_place(), want);
        }
    }
}
