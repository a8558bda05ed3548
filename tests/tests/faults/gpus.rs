//! A GPU is lost on a real engine, with doubles for NVIDIA's library and hook: what serves goes on or moves to the free one, and
//! no release is blamed for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::{Fleet, FleetOptions, Lab, Service, wait};

const SOON: Duration = Duration::from_secs(60);
const A: &str = "GPU-aaaaaaaa-0000-0000-0000-000000000001";
const B: &str = "GPU-bbbbbbbb-0000-0000-0000-000000000002";

/// The GPUs as a double sees them.
struct Gpus(PathBuf);

impl Gpus {
    fn say(&self, lost: &[&str]) {
        self.say_with(lost, &[]);
    }

    /// `errors` are GPUs whose driver reports one now, the oldest first.
    fn say_with(&self, lost: &[&str], errors: &[&str]) {
        let xid = |uuid: &&str| format!("xid gpu={} code=79\n", u8::from(**uuid == *B));
        let errors: String = errors.iter().map(xid).collect();
        let line = |uuid: &str| {
            let lost = if lost.contains(&uuid) { " lost=1" } else { "" };
            format!("gpu uuid={uuid} name=NVIDIA-L4 total=24576 reserved=500{lost}\n")
        };
        let beside = self.0.with_extension("new");
        fs::write(&beside, format!("driver 550.90.07\n{}{}{errors}", line(A), line(B))).unwrap();
        fs::rename(beside, &self.0).unwrap();
    }
}

/// The lines of a log of the doubles.
fn lines(folder: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The device of the container that was started last, as the hook was asked.
pub(super) fn last_device(folder: &Path) -> String {
    let line = lines(folder, "hook.log").pop().unwrap_or_default();
    line.rsplit_once("NVIDIA_VISIBLE_DEVICES=")
        .map(|(_, device)| device.split(' ').next().unwrap_or_default().to_owned())
        .unwrap_or(line)
}

pub(super) fn uuids(view: &Value, key: &str) -> Vec<String> {
    let all = view[key].as_array().into_iter().flatten();
    all.map(|gpu| gpu["uuid"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A folder with the double of the library in it.
pub(super) fn doubles(lab: &Lab, name: &str) -> (PathBuf, PathBuf) {
    let doubles = lab.scratch(name);
    let library = doubles.join("libnvidia-ml.so.1");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu/fake_nvml.c");
    let built =
        Command::new("gcc").args(["-std=c11", "-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.unwrap().success(), "gcc builds the double");
    (doubles, library)
}

#[test]
fn a_lost_gpu_harms_nobody() {
    let lab = Lab::enter();
    let (doubles, library) = doubles(&lab, "gpus-doubles");
    // The agent's library and the engine's hook see the same GPUs, until one of them shall see others.
    let (seen, given) = (Gpus(doubles.join("agent.state")), Gpus(doubles.join("engine.state")));
    let both = |lost: &[&str]| {
        seen.say(lost);
        given.say(lost);
    };
    both(&[]);
    let host = lab.host_with_gpus(1, &given.0, &doubles);
    let options = FleetOptions { more_hosts: vec![host.clone()], ..FleetOptions::default() };
    let mut fleet = Fleet::start_with(lab, "gpus", 0, options);
    fleet.agents[0].set("WINDLASS_NVML", library);
    fleet.agents[0].set("FAKE_NVML_STATE", seen.0.clone());
    fleet.agents[0].start_again();
    let well = fleet.wait_for_view(&host.name, "two GPUs", SOON, |view| {
        uuids(view, "gpus").len() == 2 && view["gpu_access"] == "hook" && view["state"] == "connected"
    });
    assert_eq!(well["gpu_driver"]["version"], "550.90.07", "{}", well["gpu_driver"]);
    assert_eq!(
        (&well["gpus"][0]["memory"], &well["gpus"][0]["reserved"]),
        (&json!(24_576_u64 << 20), &json!(500 << 20))
    );

    // The default runtime is NVIDIA's, and the container asks for all: nothing was signed, and it gets nothing.
    let images = ["v1", "v2"].map(|tag| fleet.lab.image(tag));
    let plain = Service::web(&images[0], 1).with("service", "plain");
    fleet.deploy_ok(&plain.with("env", json!({ "NVIDIA_VISIBLE_DEVICES": "all" })), "r1");
    let runtime = lines(&doubles, "runtime.log").pop().unwrap_or_default();
    assert!(runtime.ends_with("NVIDIA_VISIBLE_DEVICES=void"), "{runtime}");
    assert_eq!(lines(&doubles, "hook.log"), Vec::<String>::new());

    // One with a GPU of its own; the next release starts first, on the other one.
    let web = |tag: usize| {
        let service = Service::web(&images[tag], 1).with("resources.gpus", json!({ "count": 1 }));
        service.with("progress_deadline", "30s")
    };
    fleet.deploy_ok(&web(0), "r1");
    assert_eq!(last_device(&doubles), A);
    fleet.deploy_ok(&web(1), "r2");
    assert_eq!(last_device(&doubles), B, "start-first on the free one");
    fleet.wait_until_serving("v2", 1, SOON);
    let view = fleet.host_view(&host.name);
    assert_eq!(view["gpu_holders"][B][0]["slot"], "default/web/0", "{}", view["gpu_holders"]);

    // Its GPU falls off the bus: that is told, and the slot moves to the other one.
    both(&[B]);
    fleet.wait_for_view(&host.name, "that one is lost", SOON, |view| {
        let conditions = view["conditions"].as_array().cloned().unwrap_or_default();
        uuids(view, "gpus_lost") == [B]
            && uuids(view, "gpus") == [A]
            && conditions.iter().any(|c| c["code"] == "gpu_lost")
    });
    wait::until("the slot moves to the GPU that is left", SOON, || {
        let mut instances = fleet.status()["instances"].as_array().cloned().unwrap_or_default();
        instances.retain(|instance| instance["state"] != "standby");
        let moved =
            instances.len() == 1 && instances[0]["gpus"] == json!([A]) && instances[0]["state"] == "healthy";
        let device = last_device(&doubles);
        if moved && device == A && fleet.serving() == ["v2"] {
            Ok(())
        } else {
            Err(format!("{device}: {instances:?}"))
        }
    });
    wait::until("an event says so", SOON, || {
        let events = fleet.cli.ok(&["events"]).stdout;
        if events.contains("is lost: it has fallen off the bus") { Ok(()) } else { Err(events) }
    });

    // A deploy beside a dead GPU goes to the one that works, and waits for nobody.
    fleet.deploy_ok(&web(0), "r3");
    fleet.wait_until_serving("v1", 1, SOON);
    assert_eq!(last_device(&doubles), A);

    // The engine cannot give a GPU that the library still shows: the release is not blamed, and what served serves again.
    given.say(&[A, B]);
    let quick = web(1).with("progress_deadline", "20s");
    let failed = fleet.deploy(&quick);
    assert_ne!(failed.code, 0, "{}", failed.stdout);
    assert!(failed.stdout.contains("its GPU failed, not the release"), "{}", failed.stdout);
    both(&[B]);
    fleet.wait_until_serving("v1", 1, SOON);
    // The same content again, without a flag: no host has it in quarantine.
    fleet.deploy_ok(&quick, "r5");
    fleet.wait_until_serving("v2", 1, SOON);

    // It is there again, and can be had.
    both(&[]);
    fleet.wait_for_view(&host.name, "two GPUs again", SOON, |view| {
        uuids(view, "gpus").len() == 2 && uuids(view, "gpus_lost").is_empty()
    });
    fleet.deploy_ok(&web(0), "r6");
    assert_eq!(last_device(&doubles), B);
    fleet.wait_until_serving("v1", 1, SOON);
}

/// A service that fell back to its processor answers 200 and is not healthy; a card that reports an error while a release is on
/// trial brings the one before back.
#[test]
fn gpu_fallback_and_gpu_errors_bring_a_release_back() {
    let lab = Lab::enter();
    let (doubles, library) = doubles(&lab, "gpu-errors");
    let gpus = Gpus(doubles.join("gpus.state"));
    gpus.say(&[]);
    let host = lab.host_with_gpus(1, &gpus.0, &doubles);
    let options = FleetOptions { more_hosts: vec![host.clone()], ..FleetOptions::default() };
    let mut fleet = Fleet::start_with(lab, "gpuerrors", 0, options);
    fleet.agents[0].set("WINDLASS_NVML", library);
    fleet.agents[0].set("FAKE_NVML_STATE", gpus.0.clone());
    fleet.agents[0].start_again();
    fleet.wait_for_view(&host.name, "two GPUs", SOON, |view| {
        uuids(view, "gpus").len() == 2 && view["gpu_access"] == "hook" && view["state"] == "connected"
    });
    let images = ["v1", "v2"].map(|tag| fleet.lab.image(tag));
    let probe = json!({
        "http": "/health", "every": "500ms", "timeout": "2s", "failures": 10, "headers": { "Host": "ml.internal" },
        "expect": { "status": "200-299", "json": { "/status": "ok", "/gpu": true } },
    });
    let ml = |tag: usize, on_gpu: bool| {
        let service = Service::web(&images[tag], 1).with("resources.gpus", json!({ "count": 1 }));
        service
            .with("env", json!({ "HEALTH_EXTRA": format!("\"gpu\":{on_gpu}") }))
            .with("health", json!({ "startup": probe, "readiness": probe }))
    };
    fleet.deploy_ok(&ml(0, true), "r1");
    fleet.wait_until_serving("v1", 1, SOON);

    let end = fleet.deploy(&ml(1, false)).expect_code(3);
    assert_eq!(end.last()["outcome"], "rolled_back", "{end}");
    let explained = fleet.cli.ok(&["explain", "web"]).stdout;
    assert!(explained.contains("wanted /gpu = true, got false"), "{explained}");
    assert!(explained.contains(&format!("with {B}")), "the card that the new one held: {explained}");
    fleet.wait_until_serving("v1", 1, SOON);

    // It is good, and while it is watched the card that it holds reports an error.
    let watched = ml(1, true).with("rollback_on", json!({ "gpu_errors": 1 })).with("soak", "5m");
    let file = watched.write(&doubles, "watched.json");
    let planned = fleet.cli.run(&["plan", "-f", file.to_str().unwrap(), "-o", "json"]);
    let planned = planned.expect_code(10).json();
    assert_eq!(planned["slots"][0]["gpus"], json!([B]), "{planned}");
    fleet.deploy_detached(&watched);
    wait::until("the new one is watched on its card", SOON, || {
        let rollout = fleet.rollout();
        let seen = fleet.status()["instances"].as_array().cloned().unwrap_or_default();
        let holds = seen.iter().any(|of| of["gpus"] == json!([B]) && of["state"] == "healthy");
        if rollout["state"] == "soaking" && holds { Ok(()) } else { Err(format!("{rollout}\n{seen:?}")) }
    });
    gpus.say_with(&[], &[A, B]);
    fleet.wait_for_outcome("rolled_back");
    fleet.wait_until_serving("v1", 1, SOON);
    let explained = fleet.cli.ok(&["explain", "web"]).stdout;
    let words = "error of GPUs of instances of r3 in ";
    assert!(explained.contains(words) && explained.contains(&format!("{B} XID 79 at ")), "{explained}");
    let shown = fleet.cli.ok(&["host", "show", &host.name]).stdout;
    assert!(
        shown.contains("default/web/0 (alone)") && shown.contains("reported the error XID 79"),
        "{shown}"
    );
}
