//! Reasons for which a service does not run, by the shipped programs on real engines: with a code, in words, as an event and
//! counted.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::{Busy, Fleet, FleetOptions, Lab, Service, http, wait};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(2);

/// The condition with a code that `status` shows of the service, once it passes a look.
#[track_caller]
fn condition(fleet: &Fleet, code: &str, look: impl Fn(&Value) -> bool) -> Value {
    wait::until(&format!("status shows {code}"), LIMIT, || {
        let status = fleet.status();
        let all = status["conditions"].as_array().into_iter().flatten();
        let found = all.filter(|condition| condition["code"] == code).find(|condition| look(condition));
        found.cloned().ok_or_else(|| status.to_string())
    })
}

/// Waits until `status` shows so many healthy instances in a state, and nothing that is wrong.
#[track_caller]
fn wait_until_well(fleet: &Fleet, healthy: u64) {
    wait::until("status shows nothing that is wrong", LIMIT, || {
        let status = fleet.status();
        let is_well = status["healthy"] == healthy
            && status["state"] == "steady"
            && status["conditions"].as_array().is_some_and(Vec::is_empty);
        if is_well { Ok(()) } else { Err(status.to_string()) }
    });
}

/// Insists that people read the same in the list, of the service, and of its host.
#[track_caller]
fn people_read(fleet: &Fleet, words: &str) {
    for command in [["status"].as_slice(), &["status", "web"], &["host", "show", "h1"]] {
        let said = fleet.cli.ok(command);
        assert!(said.stdout.contains(words), "`{words}` is not in {said}");
    }
}

/// Waits for an event of a kind; answers with it.
#[track_caller]
fn event(fleet: &Fleet, kind: &str) -> Value {
    wait::until(&format!("an event {kind}"), LIMIT, || {
        let all = fleet.cli.ok(&["events", "-o", "json"]);
        let found = all.lines().into_iter().rev().find(|event| event["kind"] == kind);
        found.ok_or(all.stdout)
    })
}

/// Waits until the coordinator's metrics have a line.
#[track_caller]
fn metric(fleet: &Fleet, line: &str) {
    let address = format!("{}:7480", fleet.lab.gateway());
    wait::until(&format!("metrics say {line}"), LIMIT, || {
        let all = http::get(&address, "/metrics", SOON).map_err(|error| format!("{error:#}"))?.body;
        let of_it = |text: &&str| text.starts_with("windlass_conditions") || text.contains("restarts");
        if all.lines().any(|found| found == line) {
            Ok(())
        } else {
            Err(all.lines().filter(of_it).collect::<Vec<_>>().join("\n"))
        }
    });
}

fn quick_probe() -> Value {
    json!({ "http": "/health/ready", "every": "500ms", "timeout": "1s", "failures": 3 })
}

#[test]
fn why_a_release_is_never_ready_names_the_probe() {
    let fleet = Fleet::start("why-ready", 1);
    let web = |tag: &str| {
        Service::web(&fleet.lab.image(tag), 1)
            .with("health", json!({ "readiness": quick_probe() }))
            .with("progress_deadline", "20s")
    };
    fleet.deploy_ok(&web("v1"), "r1");
    wait_until_well(&fleet, 1);

    fleet.deploy_detached(&web("v3"));
    let why = condition(&fleet, "not_ready", |why| why["not_ready"]["of"].as_u64() >= Some(2));
    let not_ready = &why["not_ready"];
    let asked = not_ready["asked"].as_str().unwrap();
    let port = asked.strip_prefix(&format!("readiness GET http://{}:", fleet.hosts[0].address));
    let port = port.and_then(|rest| rest.strip_suffix("/health/ready"));
    assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{why}");
    assert_eq!(not_ready["answer"], "HTTP 503", "{why}");
    let words = format!("{asked} → HTTP 503 (");
    people_read(&fleet, &words);
    let rollout = fleet.rollout();
    let waits = rollout["waiting"].to_string();
    assert!(
        waits.contains(&format!("not ready ({asked} → HTTP 503 since")) && waits.contains("rolls back at"),
        "{rollout}"
    );
    let explained = fleet.cli.ok(&["explain", "web"]);
    assert!(explained.stdout.contains("HTTP 503"), "{explained}");

    let rollout = fleet.wait_for_outcome("rolled_back");
    let message = rollout["failures"][0]["message"].as_str().unwrap();
    assert!(message.contains("/health/ready → HTTP 503 ("), "{rollout}");
    assert!(message.contains(" of "), "{rollout}");
    let shown = fleet.cli.ok(&["rollout", "show", "web"]);
    assert!(shown.stdout.contains("/health/ready → HTTP 503 ("), "{shown}");
    fleet.wait_until_serving("v1", 1, LIMIT);
}

#[test]
fn why_a_service_ends_again_and_again_is_a_crash_loop() {
    let fleet = Fleet::start("why-crash", 1);
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), 1), "r1");
    wait_until_well(&fleet, 1);
    let host = &fleet.hosts[0];
    for restarts in 1..=3_u64 {
        wait::until("it serves and was told to end", LIMIT, || {
            if fleet.status()["restarts"].as_u64() >= Some(restarts) {
                return Ok(());
            }
            let running = host.engine.running("web").map_err(|error| format!("{error:#}"))?;
            for port in running.iter().filter_map(|container| container.port) {
                let _ = http::get(&format!("{}:{port}", host.address), "/exit?code=101", SOON); // it hangs up
            }
            Err(fleet.status().to_string())
        });
    }
    let why = condition(&fleet, "crash_loop", |_| true);
    assert_eq!(why["last_exit"]["code"], 101, "{why}");
    let status = fleet.status();
    assert!(status["restarts"].as_u64() >= Some(3), "{status}");
    assert_eq!(status["instances"][0]["last_exit"]["code"], 101, "{status}");
    wait::until("it is degraded even where it is healthy", LIMIT, || {
        let status = fleet.status();
        if status["healthy"] == 1 && status["state"] == "degraded" { Ok(()) } else { Err(status.to_string()) }
    });
    people_read(&fleet, "last exit 101");
    let told = event(&fleet, "instance.crash_loop");
    assert!(told.to_string().contains("exit 101"), "{told}");
    metric(&fleet, r#"windlass_conditions{code="crash_loop"} 1"#);
}

#[test]
fn why_a_paused_or_unhealthy_container_is_not_healthy() {
    let fleet = Fleet::start("why-paused", 1);
    let bare = |tag: &str| Service::web(&fleet.lab.image(tag), 1).with("health", json!({}));
    fleet.deploy_ok(&bare("v1"), "r1");
    wait_until_well(&fleet, 1);
    let engine = &fleet.hosts[0].engine;
    let id = fleet.hosts[0].running_ids("web").remove(0);
    engine.ask("POST", &format!("/containers/{id}/pause"), "").unwrap();
    condition(&fleet, "paused", |why| why["not_ready"]["cause"] == "paused");
    let status = fleet.status();
    assert_eq!((&status["healthy"], &status["state"]), (&0.into(), &"degraded".into()), "{status}");
    people_read(&fleet, "the container is paused");
    event(&fleet, "instance.paused");
    metric(&fleet, r#"windlass_conditions{code="paused"} 1"#);
    engine.ask("POST", &format!("/containers/{id}/unpause"), "").unwrap();
    wait_until_well(&fleet, 1);
    event(&fleet, "instance.paused.over");
    assert_eq!(fleet.hosts[0].running_ids("web"), [id], "it is the same container");

    // No probe in the manifest: the image's own word counts.
    fleet.deploy_ok(&bare("checked"), "r2");
    let port = fleet.wait_for_release(&fleet.hosts[0], "r2");
    http::get(&format!("{}:{port}", fleet.hosts[0].address), "/be?live=0", SOON).unwrap();
    let why = condition(&fleet, "unready", |_| true);
    assert_eq!(why["not_ready"]["asked"], "image HEALTHCHECK", "{why}");
    assert_eq!(fleet.status()["healthy"], 0, "{}", fleet.status());
    people_read(&fleet, "image HEALTHCHECK");
    event(&fleet, "instance.unready");
}

#[test]
fn why_a_port_that_a_stranger_took_is_told_with_pauses() {
    let options = FleetOptions { policy: "host_ports = [8090]\n".into(), ..FleetOptions::default() };
    let mut fleet = Fleet::start_with(Lab::enter(), "why-port", 1, options);
    let image = fleet.lab.image("v1");
    let fixed = json!({ "http": { "container": 8080, "host": 8090 } });
    fleet.deploy_ok(&Service::web(&image, 1).with("ports", fixed), "r1");
    wait_until_well(&fleet, 1);
    let engine = fleet.hosts[0].engine.clone();
    let ours = fleet.hosts[0].running_ids("web").remove(0);
    fleet.agents[0].kill_9();
    engine.ask("POST", &format!("/containers/{ours}/kill"), "").unwrap();
    let stranger = wait::until("the stranger has the port", LIMIT, || {
        engine.run(&image, 8090, &json!({})).map_err(|error| format!("{error:#}"))
    });
    fleet.agents[0].start_again();

    let first = condition(&fleet, "port_taken", |why| why["message"].to_string().contains("8090"));
    people_read(&fleet, "8090");
    event(&fleet, "slot.port_taken");
    metric(&fleet, r#"windlass_conditions{code="port_taken"} 1"#);
    // It goes on trying, and says the same trouble all along.
    let later = condition(&fleet, "port_taken", |why| why["message"].to_string().contains("tried 3 times"));
    assert_eq!(later["since"], first["since"], "{first} {later}");
    let answer = http::get(&format!("{}:8090", fleet.hosts[0].address), "/version", SOON).unwrap();
    assert!(answer.body.contains("v1"), "the stranger serves: {answer:?}");
    engine.remove(&stranger).unwrap();
    wait_until_well(&fleet, 1);
    event(&fleet, "slot.port_taken.over");
}

#[test]
fn why_a_pull_fails_is_told_and_what_passes_is_waited_for() {
    let lab = Lab::enter();
    let front = format!("{}:5004", lab.gateway());
    let busy = Busy::before(&lab.registry(), &front);
    let options = FleetOptions { registries: vec![front.clone()], ..FleetOptions::default() };
    let fleet = Fleet::start_with(lab, "why-pull", 1, options);
    let web = |tag: &str| Service::web(&format!("{front}/web:{tag}"), 1);
    busy.refuse("503 Service Unavailable", u32::MAX);
    fleet.deploy_detached(&web("v1"));
    let why = condition(&fleet, "pull_failed", |_| true);
    assert!(why["message"].to_string().contains("503"), "{why}");
    people_read(&fleet, "cannot answer");
    let refused = busy.refused();
    wait::until("it asks again", LIMIT, || {
        let now = busy.refused();
        if now > refused { Ok(()) } else { Err(format!("{now} were refused")) }
    });
    busy.answer_all();
    fleet.wait_for_outcome("succeeded");
    wait_until_well(&fleet, 1);
    event(&fleet, "slot.pull_failed.over");

    // So is one that answers no more often than it allows, or has a fault.
    for (tag, status, words) in [
        ("v4", "429 Too Many Requests", "more often than it allows"),
        ("stubborn", "500 Internal Server Error", "cannot answer"),
    ] {
        busy.refuse(status, u32::MAX);
        fleet.deploy_detached(&web(tag));
        condition(&fleet, "pull_failed", |why| why["message"].to_string().contains(words));
        busy.answer_all();
        fleet.wait_for_outcome("succeeded");
        assert!(busy.refused() > 0, "{status}");
    }
    // Without the right to read, waiting does not help, and what runs stays.
    for status in ["401 Unauthorized", "403 Forbidden"] {
        busy.refuse(status, u32::MAX);
        let deploy = fleet.deploy(&web("v2").with("progress_deadline", "10m")).expect_code(1).to_string();
        assert!(deploy.contains("docker login"), "{status}: {deploy}");
        fleet.wait_until_serving("stubborn", 1, LIMIT);
    }

    // A missing image will not be there later either.
    busy.refuse("404 Not Found", u32::MAX);
    let deploy = fleet.deploy(&web("v2").with("progress_deadline", "10m")).expect_code(1);
    assert!(deploy.to_string().contains("HTTP 404"), "{deploy}");
    assert!(busy.refused() > 0);
    fleet.wait_until_serving("stubborn", 1, LIMIT);
}

/// Processes of `web job` in the service's containers.
fn jobs(fleet: &Fleet) -> usize {
    let engine = &fleet.hosts[0].engine;
    let running = engine.running("web").unwrap_or_default();
    let listed =
        running.iter().filter_map(|c| engine.ask("GET", &format!("/containers/{}/top", c.id), "").ok());
    let count = |list: Value| {
        list["Processes"]
            .as_array()
            .map_or(0, |all| all.iter().filter(|process| process.to_string().contains("web job")).count())
    };
    listed.map(count).sum()
}

#[test]
fn why_an_exec_that_hangs_is_told_and_only_one_runs() {
    let fleet = Fleet::start("why-hangs", 1);
    let hangs =
        json!({ "exec": ["/web", "job", "0", "600000"], "every": "500ms", "timeout": "1s", "failures": 3 });
    let web = Service::web(&fleet.lab.image("v1"), 1)
        .with("health", json!({ "readiness": hangs }))
        .with("progress_deadline", "12s");
    fleet.deploy_detached(&web);
    let (mut most, mut told) = (0, Value::Null);
    wait::until("the rollout has ended", LIMIT, || {
        most = most.max(jobs(&fleet));
        let status = fleet.status();
        assert_eq!(status["healthy"], 0, "{status}");
        let all = status["conditions"].as_array().into_iter().flatten();
        if let Some(found) = all.clone().find(|condition| condition["code"] == "not_ready") {
            told = found.clone();
        }
        let rollout = fleet.rollout();
        if rollout["outcome"].is_string() { Ok(()) } else { Err(rollout.to_string()) }
    });
    assert_eq!(most, 1, "at most one process of the probe at a time, and at least one was seen");
    assert_eq!(told["not_ready"]["asked"], "readiness exec /web job 0 600000", "{told}");
    assert!(told["not_ready"]["answer"].to_string().contains("timed out"), "{told}");
    let rollout = fleet.rollout();
    assert_eq!(rollout["outcome"], "failed", "{rollout}");
    assert!(rollout["failures"][0]["message"].to_string().contains("timed out"), "{rollout}");
}

#[test]
fn why_a_lost_host_was_left_out_is_in_the_last_line() {
    let fleet = Fleet::start("why-left", 2);
    let web = |tag: &str| Service::web(&fleet.lab.image(tag), 2).with("progress_deadline", "15s");
    fleet.deploy_ok(&web("v1"), "r1");
    fleet.lab.script("host.sh", &["partition", "h2"]);
    fleet.wait_for_host("h2", "lost");
    let end = fleet.deploy(&web("v2")).expect_code(0).last();
    assert_eq!((&end["outcome"], &end["stragglers"]), (&"succeeded".into(), &json!(["h2"])), "{end}");
    let file = web("v4").write(&fleet.folder, "v4.yaml");
    let said = fleet.cli.ok(&["deploy", "-f", file.to_str().unwrap(), "--timeout", "2m"]);
    let last = said.stdout.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    assert!(last.contains("not on h2, which gets it on return"), "{said}");
    fleet.lab.script("host.sh", &["heal", "h2"]);
    fleet.wait_until_serving("v4", 2, LIMIT);
}
