//! The trial of `docker-compose.yml`, as somebody uses it who has just found it. It runs on the engine of a lab host, so
//! that its ports and networks are nobody else's; its own hosts are containers with an engine in each.
#![expect(clippy::unwrap_used, reason = "a scenario may")]

mod trial;

use std::time::Duration;

use windlass_tests::wait;

use trial::Trial;

#[test]
fn trial_serves_rolls_back_survives_down_and_leaves_no_trace() {
    let trial = Trial::new("compose");
    trial.images();
    trial.compose(&["up", "-d"]);
    trial.wait_for_hosts();
    trial.push_sample();
    let end = trial.operator(&["deploy", "-f", "/trial/web.yaml", "--timeout", "2m", "-o", "json"]);
    assert_eq!(end.expect_code(0).last()["outcome"], "succeeded");
    let before = trial.wait_until_serving("v1");
    assert_eq!(before.len(), 2, "one on each host");
    assert_ne!(before[0].0, before[1].0, "each has an address of its own");

    // The ingress of the first host leads to them, as the README says.
    let routed =
        "curl --silent --fail --max-time 5 --header Host:web.localhost http://127.0.0.1:8080/version";
    trial.wait_for_answer(routed, "v1");

    // A release that is never ready goes back by itself, and the old instances are the ones that were there.
    let bad = [
        "deploy",
        "-f",
        "/trial/web.yaml",
        "--set",
        "image=registry:5000/web:v3",
        "--timeout",
        "2m",
        "-o",
        "json",
    ];
    let end = trial.operator(&bad);
    assert_eq!(end.expect_code(3).last()["outcome"], "rolled_back");
    assert_eq!(trial.wait_until_serving("v1"), before, "nobody touched them");

    // Prometheus has read the coordinator, and goes on doing so.
    trial.wait_for_metric("windlass_hosts{state=\"connected\"}", 2);
    trial.wait_for_metric("windlass_agent_streams", 2);
    trial.wait_for_metric("count(windlass_ingress_unrouted_total)", 2);
    trial.compose(&["kill", "h2"]); // a power cut
    trial.wait_for_metric("windlass_agent_streams", 1);

    // Down: nothing runs any more and no port is taken; the fleet lies in its volumes.
    let volumes = trial.volumes();
    trial.compose(&["down"]);
    assert_eq!((trial.containers(), trial.networks()), (0, 0));
    assert!(trial.get("http://127.0.0.1:5000/v2/").is_err() && trial.get("http://127.0.0.1:9090/").is_err());
    assert_eq!(trial.volumes(), volumes);

    // Up again: the same hosts, and what ran runs. Nobody joins again, and nobody deploys.
    trial.compose(&["up", "-d"]);
    let after = trial.wait_until_serving("v1");
    assert_eq!(after, before, "the same slots, at the same addresses and ports");

    trial.compose(&["down", "--volumes", "--timeout", "20"]);
    assert_eq!((trial.containers(), trial.networks(), trial.volumes()), (0, 0, vec![]));
    wait::until("nothing of its hosts runs", Duration::from_secs(10), || trial.is_quiet());
}
