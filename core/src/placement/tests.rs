//! Tables over which host, and which instance first.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::capacity::GpuTaken;
use crate::fixture::{fleet, member, release};

fn host(name: &str) -> HostId {
    name.parse().unwrap()
}

/// Three hosts; `taken` in MiB and slots of the service for each.
fn chosen(spread: &str, taken: [(u64, u32); 3]) -> Result<String, String> {
    let release = release(1, |json| json["spec"]["placement"]["spread"] = spread.into());
    let names = ["h0000", "h0001", "h0002"].map(host);
    let reserved = names
        .iter()
        .zip(taken)
        .map(|(name, (mib, _))| (name.clone(), Taken { memory: mib << 20, ..Taken::default() }));
    let own = names.iter().zip(taken).map(|(name, (_, count))| (name.clone(), count));
    choose(&fleet(3), &release, &reserved.collect(), &own.collect())
        .map(|(host, _)| host.to_string())
        .map_err(|refused| {
            refused.into_iter().map(|(host, why)| format!("{host}: {why}")).collect::<Vec<_>>().join("; ")
        })
}

#[test]
fn spread_and_pack() {
    #[rustfmt::skip]
    let table = [
        ("the first of equals",              "host", [(0, 0), (0, 0), (0, 0)],       "h0000"),
        ("the one with the fewest of us",    "host", [(0, 2), (900, 1), (0, 2)],     "h0001"),
        ("then the one with the least load", "host", [(600, 1), (500, 1), (700, 1)], "h0001"),
        ("a full one is not asked",          "host", [(1000, 0), (0, 1), (0, 1)],    "h0001"),
        ("packed: where most of us are",     "pack", [(0, 1), (0, 3), (0, 2)],       "h0001"),
        ("packed: then the fullest",         "pack", [(100, 0), (300, 0), (200, 0)], "h0001"),
        ("packed: while there is room",      "pack", [(500, 1), (961, 9), (0, 0)],   "h0000"),
    ];
    for (case, spread, taken, want) in table {
        assert_eq!(chosen(spread, taken), Ok(want.to_owned()), "{case}");
    }
}

type Change = fn(&mut Member);

#[test]
fn every_refusal_says_why() {
    let release = release(1, |json| json["spec"]["placement"]["require"] = json!({ "role": "app" }));
    #[rustfmt::skip]
    let table: [(&str, Change); 7] = [
        ("its labels do not match the placement: `role=app` is required, it has no label `role`", |m| Arc::make_mut(&mut m.facts).labels.clear()),
        ("its platform is linux/arm64, the image's is linux/amd64", |m| Arc::make_mut(&mut m.facts).platform = "linux/arm64".into()),
        ("host policy: registries: `registry.lab:5000/web` is under none of the allowed prefixes (policy.toml allows none)",
            |m| Arc::make_mut(&mut m.facts).policy.registries.clear()),
        ("the host is cordoned", |m| m.scheduling = Scheduling::Cordoned),
        ("the host is draining", |m| m.scheduling = Scheduling::Draining),
        ("the host is lost", |m| m.liveness = Liveness::Lost),
        ("no room: memory: 64 MiB needed, 0 B of 0 B free",
            |m| Arc::make_mut(&mut m.facts).policy.max_memory = crate::host::Limit::Bytes(crate::Size::from_bytes(0))),
    ];
    for (want, change) in table {
        let mut fleet = fleet(1);
        let member = fleet.members.get_mut(&host("h0000")).unwrap();
        Arc::make_mut(&mut member.facts).labels = [("role".to_owned(), "app".to_owned())].into();
        change(member);
        // Memory over the policy's bound is its own refusal, before room is asked for.
        let got = choose(&fleet, &release, &BTreeMap::new(), &BTreeMap::new()).unwrap_err();
        let got = got[&host("h0000")].to_string();
        assert!(got == want || want.starts_with("no room") && got.contains("max_memory"), "{got}");
    }
}

#[test]
fn a_label_that_differs_is_named_with_both_values() {
    let release = release(1, |json| json["spec"]["placement"]["require"] = json!({ "role": "ap" }));
    let mut fleet = fleet(1);
    let member = fleet.members.get_mut(&host("h0000")).unwrap();
    Arc::make_mut(&mut member.facts).labels = [("role".to_owned(), "db".to_owned())].into();
    let got = choose(&fleet, &release, &BTreeMap::new(), &BTreeMap::new()).unwrap_err();
    let want = "its labels do not match the placement: `role=ap` is required, it has `role=db`";
    assert_eq!(got[&host("h0000")].to_string(), want);
}

#[test]
fn a_named_volume_keeps_a_second_slot_off_its_host() {
    let fleet = fleet(2);
    let with = |volume: Value| release(1, move |json| json["spec"]["volumes"] = json!({ "data": volume }));
    let places = |release: &Release, again: bool| {
        let candidates = Candidates::of(&fleet, release);
        let own = BTreeMap::from([(host("h0000"), 1)]);
        let mut filling = match again {
            true => candidates.fill_again(&BTreeMap::new(), &own),
            false => candidates.fill(&BTreeMap::new(), &own),
        };
        std::iter::from_fn(|| Some(filling.next_place().map(|place| place.host.to_string())))
            .take(2)
            .collect::<Vec<_>>()
    };
    let alone = with(json!({ "mount": "/data" }));
    let got = places(&alone, false);
    assert_eq!(got[0].as_deref(), Ok("h0001"));
    let refused = got[1].as_ref().unwrap_err();
    assert_eq!(refused.len(), 2);
    let words = refused[&host("h0000")].to_string();
    assert!(words.contains("alone writes into volume `data`") && words.contains("`shared: true`"), "{words}");
    assert!(places(&alone, true)[1].is_ok(), "a rollback goes back to what there was");
    for volume in
        [json!({ "mount": "/data", "shared": true }), json!({ "mount": "/data", "read_only": true })]
    {
        assert!(places(&with(volume.clone()), false)[1].is_ok(), "{volume}");
    }
}

#[test]
fn a_release_that_calls_services_needs_an_ingress() {
    let mut release = release(1, |_| {});
    release.spec.uses = vec!["api".parse().unwrap()];
    let mut fleet = fleet(2);
    let chosen = |fleet: &crate::fleet::FleetView| {
        choose(fleet, &release, &BTreeMap::new(), &BTreeMap::new()).map(|(host, _)| host.to_string())
    };
    assert_eq!(chosen(&fleet).unwrap_err()[&host("h0001")], Unfit::NoIngress);
    fleet.members.get_mut(&host("h0001")).unwrap().has_ingress = true;
    assert_eq!(chosen(&fleet), Ok("h0001".to_owned()));
}

#[test]
fn a_host_that_may_still_come_leaves_it_undecided() {
    let release = release(1, |_| {});
    for (liveness, want) in [
        (Liveness::Connected, false),
        (Liveness::Unknown, true),
        (Liveness::Suspect, true),
        (Liveness::Lost, false),
    ] {
        let mut fleet = fleet(2);
        fleet.members.get_mut(&host("h0001")).unwrap().liveness = liveness;
        assert_eq!(Candidates::of(&fleet, &release).are_undecided(), want, "{liveness:?}");
    }
}

/// On the fixture's host: 1 GiB of memory, two GPUs of 16 GiB. The slot holds `gpu-0`.
#[test]
fn which_instance_goes_first() {
    let rolling = |key: &str, value: Value| {
        let key = key.to_owned();
        move |json: &mut Value| json["spec"]["strategy"]["rolling"][key] = value
    };
    let none = Taken::default;
    let memory = |mib: u64| Taken { memory: mib << 20, ..none() };
    let gpu = |gib: u64| Taken { gpus: [("gpu-0".to_owned(), GpuTaken::Memory(gib << 30))].into(), ..none() };
    let share =
        |json: &mut Value| json["spec"]["resources"]["gpus"] = json!({ "count": 1, "memory": "6GiB" });
    let volume = |read_only: bool| {
        move |json: &mut Value| {
            json["spec"]["volumes"] = json!({ "data": { "mount": "/data", "read_only": read_only } });
        }
    };
    type Edit = Box<dyn FnOnce(&mut Value)>;
    #[rustfmt::skip]
    let table: Vec<(&str, Edit, Taken, Option<&str>)> = vec![
        ("room for both",          Box::new(|_| {}), memory(960), None),
        ("no room",                Box::new(|_| {}), memory(961),
            Some("no room for both: memory: 64 MiB needed, 63 MiB of 1 GiB free")),
        ("asked to stop first",    Box::new(rolling("order", "stop_first".into())), none(), Some("the manifest says so")),
        ("asked to start first",   Box::new(rolling("order", "start_first".into())), memory(1024), None),
        ("no surge, counted",      Box::new(rolling("max_surge", 0.into())), none(), Some("max_surge is 0")),
        ("no surge, as a share",   Box::new(rolling("max_surge", "0%".into())), none(), Some("max_surge is 0")),
        ("a surge of a percent",   Box::new(rolling("max_surge", "1%".into())), none(), None),
        ("recreate",               Box::new(|json| json["spec"]["strategy"] = json!({ "recreate": { "min_ready": "1s" } })),
            none(), Some("the strategy is recreate")),
        ("a fixed port",           Box::new(|json| json["spec"]["ports"] = json!({ "http": { "container": 80, "host": 8080 } })),
            none(), Some("port 8080 of the host is fixed")),
        ("a volume to write to",   Box::new(volume(false)), none(), Some("volume `data` can only be written by one")),
        ("a volume to read from",  Box::new(volume(true)), none(), None),
        ("exclusive GPUs",         Box::new(|json| json["spec"]["resources"]["gpus"] = json!({ "count": 1 })),
            Taken { gpus: [("gpu-0".to_owned(), GpuTaken::Exclusively)].into(), ..none() }, Some("its GPUs are exclusive, and no others are free")),
        ("exclusive GPUs that are free", Box::new(|json| json["spec"]["resources"]["gpus"] = json!({ "count": 1 })),
            Taken { gpus: [("gpu-1".to_owned(), GpuTaken::Exclusively)].into(), ..none() }, None),
        ("two shares that fit",    Box::new(share), gpu(10), None),
        ("two shares that do not", Box::new(share), gpu(11), Some("no room for both: gpu: 1 needed, 0 free (gpu-0: 6 GiB of its memory needed, 5 GiB free)")),
        ("no share can be forced", Box::new(move |json| { share(json); json["spec"]["strategy"]["rolling"]["order"] = "start_first".into() }),
            gpu(11), Some("no room for both: gpu: 1 needed, 0 free (gpu-0: 6 GiB of its memory needed, 5 GiB free)")),
    ];
    for (case, edit, taken, want) in table {
        let spec = release(1, edit).spec;
        let devices = if spec.resources.gpus.is_some() { vec!["gpu-0".to_owned()] } else { Vec::new() };
        let got = start_first(&spec, Some(&member()), &taken, &devices).err().map(|why| why.to_string());
        assert_eq!(got.as_deref(), want, "{case}");
    }
}

#[test]
fn a_new_release_leaves_devices_that_report_errors() {
    use crate::host::GpuHealth;
    let mut ill = crate::host::HostFacts::clone(&member().facts);
    ill.gpus[0].health = GpuHealth::Errors;
    let mut both = ill.clone();
    both.gpus[1].health = GpuHealth::Errors;
    let wish = |gpus: serde_json::Value, order: &'static str| {
        release(1, move |json| {
            json["spec"]["resources"]["gpus"] = gpus;
            json["spec"]["strategy"]["rolling"]["order"] = order.into();
        })
        .spec
    };
    let (alone, share) = (json!({ "count": 1 }), json!({ "count": 1, "memory": "1GiB" }));
    let held = ["gpu-0".to_owned()];
    for (case, gpus, order, facts, want) in [
        ("a share", &share, "auto", &ill, "gpu-1"),
        ("stop first", &alone, "stop_first", &ill, "gpu-1"),
        ("a share that has no better one", &share, "auto", &both, "gpu-0"),
        ("stop first without a better one", &alone, "stop_first", &both, "gpu-0"),
    ] {
        let spec = wish(gpus.clone(), order);
        let mut beside = Taken::default();
        beside.add_instance(&spec, &held);
        let got = devices(&spec, facts, (&beside, &Taken::default()), &held).unwrap();
        assert_eq!(got, [want], "{case}");
    }
    // A host whose devices are well comes before one that is emptier.
    let mut fleet = fleet(2);
    let first = fleet.members.values_mut().next().unwrap();
    let facts = std::sync::Arc::make_mut(&mut first.facts);
    facts.gpus.iter_mut().for_each(|gpu| gpu.health = GpuHealth::Errors);
    fleet.members.values_mut().nth(1).unwrap().taken.memory = 512 << 20;
    let with_gpu = release(1, |json| json["spec"]["resources"]["gpus"] = json!({ "count": 1 }));
    let (host, _) = choose(&fleet, &with_gpu, &BTreeMap::new(), &BTreeMap::new()).unwrap();
    assert_eq!(host.as_str(), "h0001");
}
