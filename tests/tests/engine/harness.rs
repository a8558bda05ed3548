//! The watch itself: a scenario that trusts it must know that it sees what it is there to see.

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
