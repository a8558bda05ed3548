//! Hooks of a release: run once on a host, whatever dies, and decide the rollout. Files that have to be in a volume.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::engine::Container;
use windlass_tests::rogue::scene::{events, moment};
use windlass_tests::{Fleet, Service, wait};

const SOON: Duration = Duration::from_secs(60);

/// A hook that runs for so long and exits with `code`.
fn hook(name: &str, code: u32, millis: u32) -> Value {
    let run = ["/web".to_owned(), "job".to_owned(), code.to_string(), millis.to_string()];
    json!({ "name": name, "run": run, "timeout": "2m" })
}

fn web(fleet: &Fleet, tag: &str) -> Service {
    let volume = json!({ "models": { "mount": "/models" } });
    Service::web(&fleet.lab.image(tag), 2).with("volumes", volume)
}

/// Containers of instances, or of hooks, by the engine's id.
fn containers(fleet: &Fleet, hooks: bool) -> Vec<(usize, Container)> {
    let all = fleet.hosts.iter().enumerate().flat_map(|(at, host)| {
        host.engine.containers("web").unwrap().into_iter().map(move |seen| (at, seen))
    });
    all.filter(|(_, seen)| seen.label("instance").contains(".hook.") == hooks).collect()
}

fn instances(fleet: &Fleet) -> BTreeSet<String> {
    containers(fleet, false).into_iter().map(|(_, seen)| seen.id).collect()
}

/// Waits until a hook runs; the host that it runs on.
fn wait_for_hook(fleet: &Fleet) -> usize {
    let mut at = None;
    wait::until_true("a hook runs", SOON, || {
        at = containers(fleet, true).into_iter().find(|(_, seen)| seen.state == "running").map(|(at, _)| at);
        at.is_some()
    });
    at.unwrap()
}

/// The number of times that the engines started a hook since then.
fn starts(fleet: &Fleet, since: &str) -> usize {
    let all = fleet.hosts.iter().flat_map(|host| events(&host.engine, since).unwrap());
    all.filter(|event| event.starts_with("container start") && event.contains(".hook.")).count()
}

fn write_model(fleet: &Fleet, name: &str) {
    for host in &fleet.hosts {
        let volumes = host.engine.ask("GET", "/volumes", "").unwrap();
        let all = volumes["Volumes"].as_array().unwrap();
        let models =
            all.iter().find(|volume| volume["Name"].as_str().unwrap().ends_with(".web.models")).unwrap();
        std::fs::write(Path::new(models["Mountpoint"].as_str().unwrap()).join(name), "weights").unwrap();
    }
}

#[test]
fn hooks_run_once_and_decide() {
    let mut fleet = Fleet::start("hooks", 2);
    let hooks = json!({ "before": [hook("check", 0, 300)], "after": [hook("announce", 0, 0)] });
    let first = fleet.deploy(&web(&fleet, "v1").with("hooks", hooks)).expect_code(0).last();
    let told: Vec<_> =
        first["hooks"].as_array().unwrap().iter().map(|hook| (&hook["hook"], &hook["outcome"])).collect();
    let (done, check, announce) = (json!("succeeded"), json!("check"), json!("announce"));
    assert_eq!(told, [(&check, &done), (&announce, &done)], "{first}");
    assert_eq!(first["hooks"][0]["log"][0], "web: job runs for 300 ms, then exits 0", "{first}");
    wait::until_true("the containers of the hooks go", SOON, || containers(&fleet, true).is_empty());

    // One that fails before the first step leaves everything as it is.
    let before = instances(&fleet);
    let failing = web(&fleet, "v2").with("hooks", json!({ "before": [hook("check", 3, 100)] }));
    let end = fleet.deploy(&failing);
    assert!([1, 3].contains(&end.code), "{end}");
    let end = end.last();
    assert_eq!((&end["outcome"], &end["changed"]), (&json!("failed"), &json!(false)), "{end}");
    assert!(end["reason"].as_str().unwrap().contains("exited with code 3: web: job runs for"), "{end}");
    assert_eq!(instances(&fleet), before, "no container was made, stopped or removed");
    let shown = fleet.cli.ok(&["rollout", "show", "web"]).stdout;
    assert!(shown.contains("exit code     3") && shown.contains("job runs for 100 ms"), "{shown}");
    let explained = fleet.cli.ok(&["explain", "web"]).stdout;
    assert!(
        explained.contains("hook check begins on h") && explained.contains("exited with code 3"),
        "{explained}"
    );

    // Files are looked for in the volume of the service, on every host.
    let files = json!([{ "name": "models", "files_exist": { "volume": "models", "paths": ["bert.bin", "gpt/weights.onnx"] } }]);
    write_model(&fleet, "bert.bin");
    let end = fleet.deploy(&web(&fleet, "v2").with("checks", files));
    assert!([1, 3].contains(&end.code), "{end}");
    let refused = fleet.rollout()["failures"][0]["refused"].clone();
    assert_eq!(
        refused["detail"], "models (files in volume models): gpt/weights.onnx is missing",
        "{refused}"
    );
    assert_eq!(instances(&fleet), before);

    // Agent and coordinator die while it runs; it is not begun again, and the rollout goes on.
    let files = json!([{ "files_exist": { "volume": "models", "paths": ["bert.bin"] } }]);
    let slow =
        web(&fleet, "v2").with("checks", files).with("hooks", json!({ "before": [hook("slow", 0, 6_000)] }));
    let since = moment();
    fleet.deploy_detached(&slow);
    let at = wait_for_hook(&fleet);
    fleet.agents[at].kill_9();
    fleet.server.kill_9();
    fleet.agents[at].start_again();
    fleet.server.start_again();
    fleet.wait_for_server();
    let end = fleet.wait_for_outcome("succeeded");
    assert_eq!(end["hooks"].as_array().unwrap().len(), 1, "{end}");
    assert_eq!((&end["hooks"][0]["outcome"], starts(&fleet, &since)), (&json!("succeeded"), 1), "{end}");
    fleet.wait_until_serving("v2", 2, SOON);

    // An abort stops it.
    fleet.deploy_detached(&web(&fleet, "v4").with("hooks", json!({ "before": [hook("long", 0, 100_000)] })));
    wait_for_hook(&fleet);
    fleet.cli.ok(&["rollout", "abort", "web", "--yes"]);
    let end = fleet.wait_for_outcome("aborted");
    assert_eq!(end["hooks"][0]["outcome"], "stopped", "{end}");
    wait::until_true("its container goes", SOON, || containers(&fleet, true).is_empty());

    // One that fails after the last step brings the release before back.
    let end = fleet.deploy(&web(&fleet, "v4").with("hooks", json!({ "after": [hook("announce", 5, 0)] })));
    let end = end.expect_code(3).last();
    assert_eq!(end["outcome"], "rolled_back", "{end}");
    assert!(end["reason"].as_str().unwrap().starts_with("hook announce on h"), "{end}");
    fleet.wait_until_serving("v2", 2, SOON);
}
