//! Hanging calls of an agent beside its engine: the GPUs' library, so that not even SIGKILL ends the call, and a mount
//! whose server is gone. The host stays connected, what crashes is started again, rollouts go on, and what must never
//! run twice does not.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use windlass_tests::{Census, Fleet, FleetOptions, Host, Lab, Service, wait};

const SOON: Duration = Duration::from_secs(30);
/// When a child that does not answer at all has been killed for certain.
const KILLED: Duration = Duration::from_secs(100);

/// A mount whose server is gone. When it is dropped, all that hangs in it is let go.
struct DeadMount {
    server: Child,
    folder: PathBuf,
}

impl DeadMount {
    fn at(folder: &Path, built: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("stalls/dead_mount.c");
        gcc(&["-std=gnu11"], &source, built);
        let mut server =
            Command::new(built).arg(folder).stdout(Stdio::piped()).spawn().expect("it was built just now");
        let mut said = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "mounted", "/dev/fuse is there, and this is root");
        Self { server, folder: folder.to_owned() }
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        let _ = self.server.kill(); // with it goes the connection, and whoever hangs gets an error
        let _ = self.server.wait();
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

fn gcc(options: &[&str], source: &Path, built: &Path) {
    let built_it = Command::new("gcc").args(options).arg("-o").args([built, source]).status().unwrap();
    assert!(built_it.success(), "gcc builds {}", source.display());
}

/// Two GPUs in the stand-in's file, and what else it says.
fn say(state: &Path, more: &str) {
    let beside = state.with_extension("new");
    let two = "driver 550\ngpu uuid=GPU-1 name=L4 total=24576 util=37\ngpu uuid=GPU-2 name=L4 total=24576\n";
    fs::write(&beside, format!("{two}{more}\n")).unwrap();
    fs::rename(beside, state).unwrap();
}

fn says_silent(view: &Value, what: &str) -> bool {
    let problems = view["problems"].as_array().cloned().unwrap_or_default();
    problems.iter().any(|problem| problem["problem"] == "silent" && problem["what"] == what)
}

fn knows_gpus(view: &Value, silent: bool) -> bool {
    let two = view["gpus"].as_array().is_some_and(|gpus| gpus.len() == 2);
    two && view["state"] == "connected" && says_silent(view, "GPUs") == silent
}

/// Ends what runs of a service on a host, and waits until it runs again.
fn crash(fleet: &Fleet, host: &Host, service: &str) {
    let ids = host.running_ids(service);
    assert_eq!(ids.len(), 1, "{service} runs once on {}", host.name);
    let id = &ids[0];
    let started =
        || host.engine.inspect(id).map(|seen| seen["State"]["StartedAt"].clone()).unwrap_or_default();
    let before = started();
    host.engine.ask("POST", &format!("/containers/{id}/kill"), "").unwrap();
    wait::until(&format!("{service} runs again on {}", host.name), SOON, || {
        let running = host.running_ids(service);
        if running.len() == 1 && (&running[0] != id || started() != before) {
            Ok(())
        } else {
            Err(format!("{running:?}: {}", fleet.status()))
        }
    });
}

/// Processes of the agent that ask for GPUs, with their states.
fn probes(agent: u32) -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let child = stats.filter_map(|stat| {
        let pid = stat.split(' ').next()?.parse().ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, parent) = (fields.next()?.to_owned(), fields.next()?.parse::<u32>().ok()?);
        (parent == agent).then_some((pid, state))
    });
    child.collect()
}

#[test]
fn a_gpu_library_or_a_mount_that_hangs_stalls_nothing() {
    let lab = Lab::enter();
    let dead = lab.scratch("stalls-dead");
    let options =
        FleetOptions { policy: format!("mounts = [\"{}\"]\n", dead.display()), ..Default::default() };
    let mut fleet = Fleet::start_with(lab, "stalls", 2, options);
    let (state, library) = (fleet.folder.join("gpus.state"), fleet.folder.join("libnvidia-ml.so.1"));
    gcc(
        &["-std=c11", "-shared", "-fPIC"],
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu/fake_nvml.c"),
        &library,
    );
    say(&state, "");
    let images = ["v1", "v2", "v4"].map(|tag| (tag, fleet.lab.image(tag)));
    let web = move |tag: &str| {
        let (_, image) = images.iter().find(|(known, _)| *known == tag).unwrap();
        Service::web(image, 2).with("progress_deadline", "90s")
    };
    fleet.deploy_ok(&web("v1"), "r1");
    let lonely = Service::web(&fleet.lab.image("v1"), 1).with("service", "lonely").with("exclusive", true);
    let lonely = lonely.with("strategy.rolling.max_surge", 0).with("strategy.rolling.max_unavailable", 1);
    let lonely = lonely.with("stop_timeout", "1s").with("soak", "0s");
    let on_lost = serde_json::json!({ "replace_after": "8s", "stop_isolated_after": "6s" });
    fleet.deploy_ok(&lonely.with("on_lost", on_lost), "r1");
    let host = fleet.hosts.iter().find(|host| !host.running_ids("lonely").is_empty()).unwrap().clone();
    let index = fleet.hosts.iter().position(|other| other.name == host.name).unwrap();
    let only = host.running_ids("lonely");
    assert!(probes(fleet.agents[index].pid()).is_empty(), "without a library no process is kept for it");
    let census = Census::begin("lonely", &fleet.hosts);

    // With GPUs, and then with every call hung: what was known stands, and it is said since when.
    fleet.agents[index].set("WINDLASS_NVML", library);
    fleet.agents[index].set("FAKE_NVML_STATE", state.clone());
    fleet.agents[index].start_again();
    fleet.wait_for_view(&host.name, "two GPUs", SOON, |view| knows_gpus(view, false));
    say(&state, "hang * 3600");
    fleet.wait_for_view(&host.name, "that they are silent", SOON, |view| knows_gpus(view, true));
    crash(&fleet, &host, "web");
    fleet.deploy_ok(&web("v2"), "r2");
    fleet.wait_until_serving("v2", 2, SOON);

    // From the start on, so that not even SIGKILL ends it: the library lies on a mount whose server is gone.
    let mount = DeadMount::at(&dead, &fleet.folder.join("dead-mount"));
    fleet.agents[index].set("WINDLASS_NVML", dead.join("libnvidia-ml.so.1"));
    fleet.agents[index].start_again();
    fleet.wait_for_view(&host.name, "that they are silent from the start", SOON, |view| {
        knows_gpus(view, true)
    });
    let agent = fleet.agents[index].pid();
    // It waits so that a signal still reaches it, until the first one does: that is SIGKILL, after a minute.
    let hung = wait::until("the child hangs for good", KILLED, || {
        let probes = probes(agent);
        if probes.iter().any(|(_, state)| state == "D") { Ok(probes) } else { Err(format!("{probes:?}")) }
    });
    assert!(hung.len() <= 2, "one that was killed, and the next: {hung:?}");
    crash(&fleet, &host, "web");

    // A release wants to bind a path on that mount: it is refused, in words, and the next one is not.
    let binds = web("v4")
        .with("volumes", serde_json::json!({ "data": { "mount": "/data", "host_path": dead.join("x") } }));
    let refused = fleet.deploy(&binds);
    assert_ne!(refused.code, 0, "{}", refused.stdout);
    fleet.deploy_ok(&web("v4"), "r4");
    fleet.wait_until_serving("v4", 2, SOON);

    // All that time the host was connected, and what must never run twice did not.
    let counts = census.end();
    assert!(counts.iter().all(|count| count.running.len() <= 1), "never two: {counts:#?}");
    assert_eq!(host.running_ids("lonely"), only, "nor was it touched");
    let log = fleet.server.output();
    let lost = log.lines().filter(|line| line.contains(&host.name) && line.contains("lost")).count();
    assert_eq!(lost, 0, "{log}");
    drop(mount);
    wait::until("no dead child is left", SOON, || {
        let dead: Vec<_> = probes(agent).into_iter().filter(|(_, state)| state == "Z").collect();
        if dead.is_empty() { Ok(()) } else { Err(format!("{dead:?}")) }
    });
}
