//! The agent dies at each of its steps while a service is deployed, rolled back, and cleaned up after.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use windlass_tests::crash::{self, Points};
use windlass_tests::fleet::path;
use windlass_tests::{Fleet, FleetOptions, Host, Lab, Service, Watch, wait};

/// Passed while a good release replaces another, the old one serving until the new one does. The number says which
/// pass: the journal is written when a plan is taken, before each step, and when an instance has proven itself.
pub(crate) const POINTS: &[&str] = &[
    // The first three images are not on the host yet.
    "agent.engine.pull.before",
    "agent.engine.pull.after",
    "agent.release.begun",
    "agent.release.written",
    "agent.release.synced",
    "agent.release.placed",
    "agent.release.done",
    "agent.journal.begun",
    "agent.journal.written:2",
    "agent.journal.synced:3",
    "agent.journal.placed",
    "agent.journal.done:2",
    "agent.journal.placed:3",
    "agent.engine.lay_down.before",
    "agent.engine.lay_down.after",
    "agent.engine.create.before",
    "agent.engine.create.after",
    "agent.engine.start.before",
    "agent.engine.start.after",
    "agent.engine.keep_running.before",
    "agent.engine.keep_running.after",
    "agent.engine.stop.before",
    "agent.engine.stop.after",
    "agent.engine.remove.before",
    "agent.engine.remove.after",
    "agent.engine.take_away.before",
    "agent.engine.take_away.after",
    "agent.receipt.before",
    "agent.receipt.after",
    "agent.status.before",
    "agent.status.after:2",
];

/// Those of them at which it dies again as soon as it is back.
const TWICE: &[&str] = &["agent.journal.begun", "agent.engine.create.before", "agent.engine.stop.before"];

/// Passed while a release that does not work is tried, the old one stopped first, and the old one restored.
pub(crate) const BAD_RELEASE: &[&str] = &[
    "agent.journal.synced:4",
    "agent.engine.stop.after",
    "agent.engine.create.after",
    "agent.journal.placed:5",
    "agent.engine.start.before:2",
    "agent.engine.start.after:2",
];

/// Passed when the disk is full.
pub(crate) const COLLECTION: &[&str] =
    &["agent.engine.remove_image.before", "agent.engine.remove_image.after"];

/// Good images: each is new to a host once, and then it is there.
const TAGS: &[&str] = &["v1", "v2", "v4"];
const SOON: Duration = Duration::from_secs(20);

struct Scene {
    fleet: Fleet,
    points: Points,
    seq: u64,
}

impl Scene {
    fn start(name: &str) -> Self {
        let options = FleetOptions { crash_points: true, ..FleetOptions::default() };
        Self::with(Fleet::start_with(Lab::enter(), name, 1, options))
    }

    fn with(fleet: Fleet) -> Self {
        let points = Points::of(&fleet.folder);
        Self { fleet, points, seq: 0 }
    }

    fn host(&self) -> &Host {
        &self.fleet.hosts[0]
    }

    fn web(&self, tag: &str) -> Service {
        let service = Service::web(&self.fleet.lab.image(tag), 1)
            .with("strategy.rolling.min_ready", "200ms")
            .with("soak", "200ms")
            .with("files", serde_json::json!({ "/config": { "content": format!("for {tag}") } }));
        ["startup", "readiness"]
            .iter()
            .fold(service, |service, probe| service.with(&format!("health.{probe}.every"), "200ms"))
    }

    /// Deploys, has the agent die at `point`, starts it again, and waits for the end of the rollout.
    #[track_caller]
    fn die_at(&mut self, point: &str, service: &Service) -> Value {
        let file = service.write(&self.fleet.folder, "web.yaml");
        self.points.arm(&mut self.fleet.agents[0], point);
        let command = ["deploy", "-f", file.to_str().unwrap(), "--timeout", "1m", "-o", "json"];
        let deploy = self.fleet.cli.start(&command);
        self.points.expect_death(&mut self.fleet.agents[0], point);
        if TWICE.contains(&point) {
            self.points.arm(&mut self.fleet.agents[0], point);
            self.points.expect_death(&mut self.fleet.agents[0], point);
        }
        self.fleet.agents[0].start_again();
        deploy.wait().last()
    }

    /// Checks the state after every death: one instance of `release` runs, beside it at most what the plan keeps
    /// stands still, nothing is half done in the agent's folder, and its plan's number never fell.
    #[track_caller]
    fn check(&mut self, point: &str, release: &str, kept: &[&str]) {
        let data = self.fleet.data_of(self.host());
        wait::until(&format!("all is well after a death at {point}"), SOON, || {
            let all = self.host().engine.containers("web").map_err(|error| format!("{error:#}"))?;
            let state = |up: bool| all.iter().filter(move |seen| (seen.state == "running") == up);
            let up: Vec<_> = state(true).map(|seen| seen.label("release")).collect();
            let down: Vec<_> =
                state(false).map(|seen| (seen.label("release"), seen.state.as_str())).collect();
            let seen = format!("{up:?} run, {down:?} do not");
            if up != [release]
                || !down.iter().all(|(release, state)| kept.contains(release) && *state == "exited")
            {
                return Err(seen);
            }
            let instances: BTreeSet<_> = all.iter().map(|seen| seen.label("instance").to_owned()).collect();
            if crash::laid_down(&data) != instances {
                return Err(format!("files of {:?}, containers {instances:?}", crash::laid_down(&data)));
            }
            let unfinished = crash::unfinished(&data);
            if unfinished.is_empty() { Ok(()) } else { Err(format!("{unfinished:?} are left")) }
        });
        let seq = crash::seq(&data);
        assert!(seq >= self.seq, "the host's plan fell from {} to {seq} after a death at {point}", self.seq);
        self.seq = seq;
    }

    /// The audit log holds, and the store can be read.
    #[track_caller]
    fn end(mut self) {
        assert_eq!(self.fleet.cli.json(&["audit", "verify"])["sound"], true);
        assert!(self.fleet.server.stop(Duration::from_secs(10)).success(), "{}", self.fleet.server.tail(20));
        crate::coordinator::check_store(&self.fleet);
    }
}

#[test]
fn agent_death_at_any_step_of_a_deploy_is_finished() {
    let mut scene = Scene::start("crash-agent");
    scene.fleet.deploy_ok(&scene.web("v4"), "r1");
    let watch = Watch::begin("web", &scene.fleet.hosts, TAGS);
    for (n, point) in POINTS.iter().enumerate() {
        let end = scene.die_at(point, &scene.web(TAGS[n % TAGS.len()]));
        assert_eq!(end["outcome"], "succeeded", "{point}: {end}");
        let (release, before) = (format!("r{}", n + 2), format!("r{}", n + 1));
        assert_eq!(end["release"], release.as_str(), "{point}: {end}");
        scene.check(point, &release, &[&before]);
    }
    let seen = watch.end();
    assert!(seen.fewest >= 1 && seen.silent.is_empty(), "one served all along: {seen:#?}");
    assert!(seen.versions.values().all(|said| said.len() == 1), "{seen:#?}");
    scene.end();
}

#[test]
fn agent_death_at_any_step_of_a_local_rollback_restores() {
    let mut scene = Scene::start("crash-rollback");
    let in_turn = |service: Service| {
        service
            .with("strategy.rolling.order", "stop_first")
            .with("strategy.rolling.max_surge", 0)
            .with("strategy.rolling.max_unavailable", 1)
    };
    scene.fleet.deploy_ok(&in_turn(scene.web("v1")), "r1");
    for (n, point) in BAD_RELEASE.iter().enumerate() {
        // Other content each time, or it would be refused as quarantined.
        let bad = in_turn(scene.web("crash")).with("env", serde_json::json!({ "TRY": n.to_string() }));
        let end = scene.die_at(point, &bad);
        assert_eq!(end["outcome"], "rolled_back", "{point}: {end}");
        scene.check(point, "r1", &[&format!("r{}", n + 2)]);
        scene.fleet.wait_until_serving("v1", 1, SOON);
        let evidence = &scene.fleet.rollout()["failures"][0]["evidence"];
        assert_eq!(
            evidence["exit_code"], 1,
            "{point}: the evidence is of the release, not of our death: {evidence}"
        );
    }
    // A death is never taken for a failure: the next good one goes through.
    scene.fleet.deploy_ok(&in_turn(scene.web("v2")), &format!("r{}", BAD_RELEASE.len() + 2));
    scene.end();
}

/// A small file system of its own, so that a test can fill it. Dropping it takes it down, after the engine in it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(folder: PathBuf, mebibytes: u32) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let disk = Self(folder); // from here on it is taken down
        run(&["mount", "-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "crash-points", path(&disk.0)]);
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["--lazy", path(&self.0)]).status());
    }
}

#[track_caller]
fn run(command: &[&str]) {
    let status = Command::new(command[0]).args(&command[1..]).status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?}");
}

#[test]
fn agent_death_while_making_room_removes_only_unneeded() {
    let lab = Lab::enter();
    let disk = SmallDisk::new(lab.scratch("crash-disk"), 256);
    let small = lab.host_with(1, &serde_json::json!({ "data-root": path(&disk.0) }));
    let options = FleetOptions { crash_points: true, more_hosts: vec![small], ..FleetOptions::default() };
    let mut scene = Scene::with(Fleet::start_with(lab, "crash-room", 0, options));
    let images = |scene: &Scene| -> BTreeSet<String> {
        let list = scene.host().engine.ask("GET", "/images/json", "").unwrap();
        list.as_array().unwrap().iter().map(|image| image["RepoDigests"][0].to_string()).collect()
    };
    for (n, tag) in ["v1", "v2", "v4"].into_iter().enumerate() {
        scene.fleet.deploy_ok(&scene.web(tag), &format!("r{}", n + 1));
    }
    assert_eq!(images(&scene).len(), 3);
    run(&["fallocate", "-l", "215m", path(&disk.0.join("ballast"))]);
    for (n, point) in COLLECTION.iter().enumerate() {
        scene.points.arm(&mut scene.fleet.agents[0], point);
        scene.points.expect_death(&mut scene.fleet.agents[0], point);
        assert_eq!(images(&scene).len(), if n == 0 { 3 } else { 2 }, "{point}");
    }
    scene.fleet.agents[0].start_again();
    scene.fleet.wait_for_host("h1", "connected");
    scene.check("remove_image", "r3", &["r2"]);
    std::fs::remove_file(disk.0.join("ballast")).unwrap();
    // The running instance and its fallback are still there.
    let back =
        scene.fleet.cli.run(&["rollback", "web", "--timeout", "1m", "-o", "json"]).expect_code(0).last();
    assert_eq!((&back["outcome"], &back["release"]), (&"succeeded".into(), &"r2".into()), "{back}");
    scene.end();
    drop(disk);
}
