//! Limits and options of a container, as its kernel and its engine have them: what held it back or killed it is seen everywhere.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::{Fleet, Service, http, wait};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(5);
/// Requests between two looks.
const REQUESTS: usize = 200;

/// The coordinator's metrics whose name begins so.
fn metrics(fleet: &Fleet, start: &str) -> Vec<String> {
    let text =
        http::get(&format!("{}:7480", fleet.lab.gateway()), "/metrics", SOON).map(|answer| answer.body);
    let text = text.unwrap_or_default();
    text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

/// The greatest value of a metric of instances of a release.
fn most(fleet: &Fleet, name: &str, release: &str) -> f64 {
    let all = metrics(fleet, &format!("{name}{{"));
    let mine = all.iter().filter(|line| line.contains(&format!("release=\"{release}\"")));
    mine.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(0.0, f64::max)
}

#[test]
fn throttling_is_seen_in_status_metrics_and_host() {
    let fleet = Fleet::start("throttled", 1);
    let small = json!({ "cpu": 0.05, "memory": "32MiB" });
    fleet.deploy_ok(&Service::web(&fleet.lab.image("v1"), 1).with("resources", small), "r1");
    let host = &fleet.hosts[0];
    let said = wait::until("status says that its limit holds it back", LIMIT, || {
        for port in host.engine.running("web").into_iter().flatten().filter_map(|one| one.port) {
            for _ in 0..REQUESTS {
                drop(http::get(&format!("{}:{port}", host.address), "/version", SOON));
            }
        }
        let said = fleet.cli.ok(&["status", "web"]).stdout;
        if said.contains("(throttled ") { Ok(said) } else { Err(said) }
    });
    assert!(said.contains("/32.00 MiB"), "{said}");
    let seen = wait::until("the host's figures count it", LIMIT, || {
        let view = fleet.host_view("h1");
        let one = view["stats"]["instances"][0].clone();
        let seconds = one["counters"]["throttled_seconds"].as_f64();
        if seconds > Some(0.0) { Ok(seconds.unwrap_or_default()) } else { Err(view.to_string()) }
    });
    wait::until("the metrics count it", LIMIT, || {
        let counted = most(&fleet, "windlass_instance_throttled_seconds_total", "r1");
        if counted >= seen { Ok(()) } else { Err(format!("{counted}, and {seen} of the host")) }
    });
}

#[test]
fn a_kill_for_memory_is_seen_in_explain_status_and_metrics() {
    let fleet = Fleet::start("out-of-memory", 1);
    let web = Service::web(&fleet.lab.image("v1"), 1);
    fleet.deploy_ok(&web, "r1");
    // One that takes too much before it is available comes back, and the reason is told.
    let greedy = web.clone().with("image", fleet.lab.image("oom")).with("strategy.rolling.min_ready", "5s");
    let end = fleet.deploy(&greedy).expect_code(3);
    assert!(
        end.to_string().contains("out of memory") || end.to_string().contains("killed for memory"),
        "{end}"
    );
    let explained = fleet.cli.ok(&["explain", "web"]).stdout;
    assert!(explained.contains("killed for memory"), "{explained}");
    fleet.wait_until_serving("v1", 1, LIMIT);

    // One that takes too much later is started again, and the kill stands in what is shown of it.
    let later = json!({ "HOG_MEMORY_MB": "256", "HOG_AFTER_MS": "25000" });
    fleet.deploy_ok(&web.with("env", later), "r3");
    let one = wait::until("status says that it was killed for memory", LIMIT, || {
        let status = fleet.status();
        let all = status["instances"].as_array().into_iter().flatten();
        let killed = all.clone().find(|one| one["release"] == "r3" && one["last_exit"]["oom_killed"] == true);
        killed.cloned().ok_or_else(|| status.to_string())
    });
    assert!(one["restarts"].as_u64() >= Some(1), "{one}");
    let said = fleet.cli.ok(&["status", "web"]).stdout;
    assert!(said.contains("killed for memory"), "{said}");
    wait::until("the metrics have the time of it", LIMIT, || {
        let at = most(&fleet, "windlass_instance_oom_exit_timestamp_seconds", "r3");
        let runs = most(&fleet, "windlass_instance_runs_total", "r3");
        if at > 1.7e9 && runs >= 2.0 { Ok(()) } else { Err(format!("at {at}, {runs} runs")) }
    });
}

/// The processes of `web job` in the service's containers.
fn jobs(fleet: &Fleet) -> BTreeSet<String> {
    let engine = &fleet.hosts[0].engine;
    let mut found = BTreeSet::new();
    for one in engine.running("web").unwrap_or_default() {
        let top = engine.ask("GET", &format!("/containers/{}/top", one.id), "").unwrap_or_default();
        let column =
            top["Titles"].as_array().and_then(|titles| titles.iter().position(|title| title == "PID"));
        let processes = top["Processes"].as_array().into_iter().flatten();
        let jobs = processes.filter(|of| of.to_string().contains("web job"));
        found.extend(jobs.filter_map(|of| Some(of[column?].as_str()?.to_owned())));
    }
    found
}

#[test]
fn options_of_a_container_are_those_of_its_kernel_and_engine() {
    let fleet = Fleet::start("options", 1);
    let hangs =
        json!({ "exec": ["/web", "job", "0", "600000"], "every": "1s", "timeout": "1s", "failures": 1000 });
    let web = Service::web(&fleet.lab.image("v1"), 1)
        .with("init", false)
        .with("shm_size", "16MiB")
        .with("stop_signal", "SIGQUIT")
        .with("ulimits", json!({ "nofile": { "soft": 512, "hard": 1024 }, "core": 0 }))
        .with("labels", json!({ "com.example.team": "shop" }))
        .with("resources", json!({ "cpu": 0.2, "memory": "64MiB" }))
        .with("security.user", "1234:1234")
        .with("health.liveness", hangs);
    fleet.deploy_ok(&web, "r1");
    let engine = &fleet.hosts[0].engine;
    let container = engine.running("web").unwrap().remove(0);
    let seen = engine.inspect(&container.id).unwrap();
    let host = &seen["HostConfig"];
    assert_eq!((&host["Init"], &host["ShmSize"]), (&json!(false), &json!(16 << 20)), "{host}");
    assert_eq!(seen["Config"]["StopSignal"], "SIGQUIT", "{seen}");
    assert_eq!(seen["Config"]["Labels"]["com.example.team"], "shop", "{seen}");
    assert_eq!(seen["Config"]["User"], "1234:1234", "{seen}");
    let limits: BTreeSet<String> = host["Ulimits"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|limit| format!("{} {} {}", limit["Name"], limit["Soft"], limit["Hard"]))
        .collect();
    assert_eq!(limits, ["\"core\" 0 0".to_owned(), "\"nofile\" 512 1024".to_owned()].into(), "{host}");

    // And in force: its first process is the program itself, with these limits and a shared memory of this size.
    let pid = seen["State"]["Pid"].as_u64().unwrap();
    let of = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    assert!(of("cmdline").starts_with("/web"), "{}", of("cmdline"));
    let files = of("limits").lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["512", "1024"], "{files}");
    let shm = of("mountinfo").lines().find(|line| line.contains(" /dev/shm ")).unwrap().to_owned();
    assert!(shm.ends_with("size=16384k") || shm.contains("size=16384k,"), "{shm}");

    // A command of a probe that hangs is killed, although its user is not the agent's.
    let mut all = BTreeSet::new();
    wait::until("a second command of the probe has begun", LIMIT, || {
        let now = jobs(&fleet);
        assert!(now.len() <= 1, "one at a time: {now:?}");
        all.extend(now);
        if all.len() >= 2 { Ok(()) } else { Err(format!("{all:?}")) }
    });
    let status: Value = fleet.status();
    assert_eq!(status["instances"][0]["release"], "r1", "{status}");
}
