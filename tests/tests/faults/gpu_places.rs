//! GPUs of two hosts on real engines, with doubles for NVIDIA's library and hook: shares come together, nothing is given twice, and
//! what the hosts have really free counts.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::fleet::{environment, program};
use windlass_tests::{Fleet, FleetOptions, Host, Lab, Process, Service, wait};

use super::gpus::{doubles, last_device, uuids};

const SOON: Duration = Duration::from_secs(60);
const A: &str = "GPU-aaaaaaaa-0000-0000-0000-000000000001";
const B: &str = "GPU-bbbbbbbb-0000-0000-0000-000000000002";
/// On the other host: one that strangers use, and one that is divided in two.
const C: &str = "GPU-cccccccc-0000-0000-0000-000000000003";
const D: &str = "GPU-dddddddd-0000-0000-0000-000000000004";
const PARTS: [&str; 2] =
    ["MIG-eeeeeeee-0000-0000-0000-000000000005", "MIG-ffffffff-0000-0000-0000-000000000006"];

/// A service with GPUs, on one host or wherever they are.
fn with_gpus(name: &str, image: &str, gpus: Value, host: Option<&str>) -> Service {
    let service =
        Service::web(image, 1).with("service", name).with("resources.gpus", gpus).with("soak", "0s");
    match host {
        Some(host) => service.with("placement", json!({ "hosts": [host] })),
        None => service,
    }
}

/// The host and the devices of the only instance that runs of a service.
fn place(fleet: &Fleet, name: &str) -> (String, Value) {
    let status = fleet.cli.json(&["status", name]);
    let all = status["instances"].as_array().cloned().unwrap_or_default();
    let runs: Vec<&Value> = all.iter().filter(|of| of["state"] == "healthy").collect();
    assert_eq!(runs.len(), 1, "{status}");
    (runs[0]["host"].as_str().unwrap().to_owned(), runs[0]["gpus"].clone())
}

/// The answer of `plan` to a service that fits nowhere.
fn refused(fleet: &Fleet, service: &Service) -> String {
    let file = service.write(&fleet.folder, "refused.json");
    let planned = fleet.cli.run(&["plan", "-f", file.to_str().unwrap(), "-o", "json"]);
    assert_ne!(planned.code, 0, "it fits: {}", planned.stdout);
    planned.stdout
}

/// Removes a service, and waits until nobody has its device.
fn remove(fleet: &Fleet, name: &str, (host, device): (&str, &str)) {
    fleet.cli.ok(&["rm", name, "--yes"]);
    fleet.wait_for_view(host, "that its device is free", SOON, |view| view["gpu_holders"][device].is_null());
}

/// Starts the script for real GPUs on a host where an agent runs: it stops the agent's probe, and the agent has to go on.
fn real_script(fleet: &Fleet, host: &Host, library: &Path, state: &Path) -> Process {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu");
    let mut path = folder.clone().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let command = vec![folder.join("real.sh").into(), program("windlass-agent")];
    let more: [(&str, OsString); 5] = [
        ("PATH", path),
        ("WINDLASS_NVML", library.into()),
        ("FAKE_NVML_STATE", state.into()),
        ("WINDLASS_POLICY", fleet.folder.join(format!("policy-{}.toml", host.name)).into()),
        ("WINDLASS_DATA", fleet.data_of(host).into()),
    ];
    let mut variables = environment(&fleet.folder);
    variables.retain(|(name, _)| name != "PATH");
    variables.extend(more.map(|(name, value)| (name.into(), value)));
    Process::start("real.sh", command, variables, &fleet.folder.join("real.log"))
}

fn gib(count: u64) -> Value {
    json!({ "count": 1, "memory": format!("{count}GiB") })
}

#[test]
fn gpus_of_two_hosts_are_filled_within_bounds() {
    let lab = Lab::enter();
    let (one, library) = doubles(&lab, "places-one");
    let (two, _) = doubles(&lab, "places-two");
    let states: [PathBuf; 2] = [one.join("gpus.state"), two.join("gpus.state")];
    let l4 =
        |uuid: &str, more: &str| format!("gpu uuid={uuid} name=NVIDIA-L4 total=24576 reserved=500{more}\n");
    fs::write(&states[0], format!("driver 550.90.07\n{}{}", l4(A, ""), l4(B, ""))).unwrap();
    // Process 1 is in no container.
    let parts = PARTS.map(|uuid| format!("mig gpu=1 uuid={uuid} total=5952\n")).concat();
    let strange = format!("{}proc gpu=0 pid=1 used=18000\n", l4(C, " used=18500"));
    fs::write(&states[1], format!("driver 550.90.07\n{strange}{}{parts}", l4(D, " mig=1"))).unwrap();
    let hosts = [(1, &states[0], &one), (2, &states[1], &two)];
    let hosts = hosts.map(|(index, state, log)| lab.host_with_gpus(index, state, log));
    let options = FleetOptions {
        more_hosts: hosts.to_vec(),
        policy: "gpus = 2\n".to_owned(),
        ..FleetOptions::default()
    };
    let mut fleet = Fleet::start_with(lab, "places", 0, options);
    for (agent, state) in fleet.agents.iter_mut().zip(&states) {
        agent.set("WINDLASS_NVML", library.clone());
        agent.set("FAKE_NVML_STATE", state.clone());
        agent.start_again();
    }
    let [first, second] = hosts.each_ref().map(|host| host.name.as_str());
    fleet.wait_for_view(first, "two GPUs", SOON, |view| uuids(view, "gpus") == [A, B]);
    // What follows is on the other host alone; meanwhile the probe of this one is stopped, and replaced.
    let mut script = real_script(&fleet, &hosts[0], &library, &states[0]);
    // The parent of instances is not offered, and what strangers hold is told.
    fleet.wait_for_view(second, "a GPU and two instances of another", SOON, |view| {
        uuids(view, "gpus") == [C, PARTS[0], PARTS[1]]
            && view["gpus"][0]["strangers"].as_u64().is_some_and(|bytes| bytes >= 18_000 << 20)
    });
    let image = fleet.lab.image("v1");
    let web = |name: &str, gpus: Value, host: Option<&str>| with_gpus(name, &image, gpus, host);

    // Instances of a divided one are devices; the policy's two are of the whole host.
    fleet.deploy_ok(&web("mig-a", json!({ "count": 1 }), Some(second)), "r1");
    assert_eq!(place(&fleet, "mig-a").1, json!([PARTS[0]]));
    assert_eq!(last_device(&two), PARTS[0]);
    fleet.deploy_ok(&web("mig-b", json!({ "count": 1 }), Some(second)), "r1");
    assert_eq!(place(&fleet, "mig-b").1, json!([PARTS[1]]));
    let third = web("third", gib(2), Some(second));
    let said = refused(&fleet, &third);
    assert!(said.contains("gpu: 1 needed, 0 free"), "{said}");
    remove(&fleet, "mig-b", (second, PARTS[1]));
    fleet.deploy_ok(&third, "r1");
    assert_eq!(place(&fleet, "third").1, json!([C]), "beside what strangers hold");
    remove(&fleet, "third", (second, C));

    let ended = wait::until("the script has ended", Duration::from_secs(150), || {
        script.ended().ok_or_else(|| script.tail(5))
    });
    let said = script.output();
    assert!(ended.success(), "{said}");
    for line in ["the agent notices", "the probe is replaced", "it is right again"] {
        assert!(said.contains(&format!("ok     hang: {line}")), "{line}: {said}");
    }

    // Shares come together, so that the other one stays whole.
    fleet.deploy_ok(&web("a", gib(6), Some(first)), "r1");
    fleet.deploy_ok(&web("b", gib(6), Some(first)), "r1");
    assert_eq!((place(&fleet, "a").1, place(&fleet, "b").1), (json!([A]), json!([A])));
    fleet.deploy_ok(&web("alone", json!({ "count": 1 }), Some(first)), "r1");
    assert_eq!(place(&fleet, "alone").1, json!([B]));

    // Memory that strangers hold, and memory promised to others, count: 12 GiB are nowhere, and `plan` says so before.
    let said = refused(&fleet, &web("large", gib(12), None));
    assert!(said.contains("gpu: 1 needed, 0 free"), "{said}");
    fleet.deploy_ok(&web("c", gib(6), None), "r1");
    assert_eq!(place(&fleet, "c"), (first.to_owned(), json!([A])), "on the other host there is too little");

    // A share that wants its device alone from now on gets another one.
    remove(&fleet, "alone", (first, B));
    fleet.deploy_ok(&web("a", json!({ "count": 1 }), Some(first)), "r2");
    assert_eq!(place(&fleet, "a").1, json!([B]));
    assert_eq!(last_device(&one), B);
    let holders = fleet.host_view(first)["gpu_holders"].clone();
    assert_eq!(holders[B], json!([{ "slot": "default/a/0" }]), "alone: {holders}");
    // The release before of `a` may stand by there, and keeps its place.
    let of_a: Vec<&str> =
        holders[A].as_array().unwrap().iter().filter_map(|of| of["slot"].as_str()).collect();
    assert!(["default/b/0", "default/c/0"].iter().all(|slot| of_a.contains(slot)), "{holders}");
}
