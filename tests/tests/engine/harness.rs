//! Tests of the tools of the tests: the watch sees faults, and a lab replaces the bridge of a lab that is gone.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;
use windlass_tests::{Lab, Watch, wait};

#[test]
fn watch_sees_silent_and_missing_instances() {
    let lab = Lab::enter();
    let hosts = lab.hosts(1);
    let engine = &hosts[0].engine;
    let labels =
        json!({ "windlass.service": "web", "windlass.release": "r1", "windlass.instance": "by-hand" });
    let first = engine.run(&lab.image("v1"), 8081, &labels).unwrap();
    engine.run(&lab.image("v2"), 8082, &labels).unwrap();
    wait::until_true("both answer", Duration::from_secs(10), || hosts[0].serving("web").len() == 2);

    let watch = Watch::begin("web", &hosts, &["v1"]);
    watch.wait_for_rounds(3);
    let calm = watch.end();
    assert_eq!((calm.fewest, calm.silent.len()), (1, 0), "only v1 was wanted: {calm:#?}");
    let said = calm.versions["r1"].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(said, ["v1", "v2"], "a release that says two versions is seen");

    let watch = Watch::begin("web", &hosts, &["v1"]);
    watch.wait_for_rounds(2);
    engine.freeze(&first).unwrap();
    watch.wait_for_rounds(2);
    let seen = watch.end();
    assert_eq!(seen.fewest, 0, "{seen:#?}");
    assert!(seen.silent.iter().all(|line| line.contains("by-hand on h1 (r1)")), "{seen:#?}");
    assert!(!seen.silent.is_empty(), "{seen:#?}");
    engine.remove(&first).unwrap();
}

#[test]
fn bridge_of_a_removed_lab_is_replaced() {
    let lab = Lab::enter();
    let (folder, net, bridge) = (lab.scratch("deserted"), "10.219.250", "wl0adbfa");
    let script = |folder: &Path, arguments: &[&str]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/host.sh");
        let mut command = Command::new(script);
        command.args(arguments).env("WINDLASS_LAB", folder).env("WINDLASS_LAB_NET", net).output().unwrap()
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let made = Command::new("ip").args(["link", "add", bridge, "type", "bridge"]).status().unwrap();
    assert!(made.success(), "a bridge without a folder, as a killed run leaves it");

    let (one, two) = (folder.join("one"), folder.join("two"));
    let up = script(&one, &["up", "h1", "1"]);
    let second = script(&two, &["up", "h2", "2"]);
    let down = script(&one, &["down-all"]);
    assert!(up.status.success() && said(&up).contains("removes bridge wl0adbfa"), "{up:?}");
    assert!(said(&second).contains("is used by a lab in another folder"), "{second:?}");
    assert!(down.status.success() && !Path::new("/sys/class/net").join(bridge).exists(), "{down:?}");
}
