//! Measurements of hosts and instances: as agents send them, as the coordinator keeps them, as Prometheus reads them.

mod boards;
mod format;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use windlass_proto::pb;
use windlass_server::config::Detail;
use windlass_testkit::promtool::promtool;

use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, LIMIT, until};
use crate::release::release;
use crate::rollouts::{deploy, request, status};
use crate::routes::{Ingress, routed};
use format::Families;

/// The metrics that a scraper gets which asks for this type.
async fn metrics(fleet: &Fleet, accept: &str) -> String {
    get(fleet, "/metrics", accept).await
}

async fn get(fleet: &Fleet, path: &str, accept: &str) -> String {
    get_of(fleet.http_addr, path, accept).await.expect("an answer")
}

/// The body of an answer, or the reason why there is none.
async fn get_of(address: SocketAddr, path: &str, accept: &str) -> std::io::Result<String> {
    let mut tcp = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nAccept: {accept}\r\n\r\n");
    tcp.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    timeout(LIMIT, tcp.read_to_string(&mut text)).await.expect("an answer in time")?;
    Ok(text.split_once("\r\n\r\n").expect("a head and a body").1.to_owned())
}

/// A fleet with a host that says how it does, and a service on it.
async fn measured(tweak: fn(&mut windlass_server::Config)) -> (Fleet, Players) {
    let fleet = Fleet::start_with(true, tweak).await;
    let mut players = Players::default();
    let mut agent = Agent::joined(&fleet, "web-1").await;
    (agent.is_measured, agent.has_gpu, agent.publishes) = (true, true, true);
    agent.ingress = Some(Ingress::default());
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "connected").await;
    assert_eq!(deploy(&fleet, &routed(1, "one", "web.example.com")).await, "succeeded");
    (fleet, players)
}

#[tokio::test]
async fn an_operator_sees_what_instances_use_and_used() {
    let (fleet, _players) = measured(|_| {}).await;
    let first = async || status(&fleet).await["instances"][0].clone();
    until("an instance with its usage", async || first().await["memory_used"].is_u64()).await;
    let instance = first().await;
    assert_eq!(instance["cpu_percent"], 40.0);
    assert_eq!((&instance["memory_used"], &instance["memory_limit"]), (&75.into(), &100.into()));
    let mut control = fleet.control("viewer/*").await;
    let request = pb::GetHostRequest { host: "web-1".to_owned() };
    let host = control.get_host(request).await.unwrap().into_inner().view;
    let host: Value = serde_json::from_slice(&host).unwrap();
    assert!(host["stats"]["told_at"].is_string(), "{host}");
    for wanted in [("web-1", ""), ("", "default/web")] {
        let request = || pb::GetHistoryRequest { host: wanted.0.to_owned(), service: wanted.1.to_owned() };
        let mut asking = fleet.control("viewer/*").await;
        let mut get = async || asking.get_history(request()).await.unwrap().into_inner().view;
        let mut last = Value::Null;
        let began = std::time::Instant::now();
        // A figure comes every 10 s.
        while last["fine"]["columns"]["memory_bytes"]
            .as_array()
            .is_none_or(|all| all.iter().all(Value::is_null))
        {
            assert!(began.elapsed() < LIMIT * 2, "no figure of {wanted:?}: {last}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            last = serde_json::from_slice(&get().await).unwrap_or_default();
        }
        assert_eq!(last["fine"]["every_seconds"], 10);
    }
    let unknown = pb::GetHistoryRequest { host: "web-9".to_owned(), ..Default::default() };
    assert_eq!(control.get_history(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
    let none = control.get_history(pb::GetHistoryRequest::default()).await.unwrap_err();
    assert_eq!(none.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn prometheus_reads_everything_in_both_formats() {
    let (fleet, _players) = measured(|_| {}).await;
    let figure = r#"windlass_instance_memory_bytes{environment="default",service="web",release="r1",host="web-1",slot="0""#;
    until("the memory of an instance", async || metrics(&fleet, "*/*").await.contains(figure)).await;
    let classic = metrics(&fleet, "text/plain;version=0.0.4").await;
    let families = Families::parse(&classic);
    for (name, kind) in [
        ("windlass_host_up", "gauge"),
        ("windlass_host_disk_size_bytes", "gauge"),
        ("windlass_host_network_receive_bytes_total", "counter"),
        ("windlass_service_healthy_instances", "gauge"),
        ("windlass_service_minimum_instances", "gauge"),
        ("windlass_rollout_duration_seconds", "gauge"),
        ("windlass_rollout_triggered", "gauge"),
        ("windlass_instance_cpu_seconds_total", "counter"),
        ("windlass_instance_gpu_memory_used_bytes", "gauge"),
        ("windlass_instance_gpu_memory_limit_bytes", "gauge"),
        ("windlass_instance_oom_exit_timestamp_seconds", "gauge"),
        ("windlass_instance_probe_success", "gauge"),
        ("windlass_instance_probe_duration_seconds", "gauge"),
        ("windlass_instance_probe_answers_total", "counter"),
        ("windlass_instance_probe_failures_total", "counter"),
        ("windlass_gpu_info", "gauge"),
        ("windlass_gpu_driver_info", "gauge"),
        ("windlass_gpu_busy_ratio", "gauge"),
        ("windlass_gpu_clock_hertz", "gauge"),
        ("windlass_gpu_power_limit_watts", "gauge"),
        ("windlass_gpu_ecc_corrected_errors_total", "counter"),
        ("windlass_gpu_ecc_uncorrected_errors_total", "counter"),
        ("windlass_gpu_xid_errors_total", "counter"),
        ("windlass_trust_expiry_timestamp_seconds", "gauge"),
        ("windlass_certificate_expiry_timestamp_seconds", "gauge"),
        ("windlass_tls_handshakes_total", "counter"),
        ("windlass_engine_step_seconds", "histogram"),
        ("process_cpu_seconds_total", "counter"),
    ] {
        assert!(families.has_samples(name, kind), "{name} is no {kind} with samples in\n{classic}");
    }
    assert!(
        classic
            .contains(r#"windlass_rollout_state{environment="default",service="web",state="succeeded"} 1"#)
    );
    for line in [
        r#"windlass_host_conditions{host="web-1",code="gpu_throttled"} 1"#,
        r#"windlass_gpu_throttle_reason{host="web-1",gpu="GPU-web-1",reason="thermal"} 1"#,
        r#"windlass_gpu_throttle_reason{host="web-1",gpu="GPU-web-1",reason="power_cap"} 1"#,
        r#"windlass_gpu_process_memory_bytes{host="web-1",gpu="GPU-web-1",pid="4711"} 9663676416"#,
        r#"windlass_gpu_driver_info{host="web-1",driver_version="550.90.07",cuda_version="12.4"} 1"#,
        r#"windlass_gpu_xid_errors_total{host="web-1",gpu="GPU-web-1",cause="device"} 2"#,
        r#"windlass_gpu_xid_errors_total{host="web-1",gpu="GPU-web-1",cause="program"} 1"#,
        r#"windlass_gpu_xid_errors_total{host="web-1",gpu="GPU-lost",cause="device"} 1"#,
    ] {
        assert!(classic.contains(line), "{line} is not in {classic}");
    }
    // As many series as the guide says.
    let series = |parts: &[&str], without: &str| {
        let lines = classic.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        lines.filter(|line| !line.starts_with('#') && (without.is_empty() || !line.contains(without))).count()
    };
    let of_host = series(&["windlass_host_"], "mount=") - series(&["windlass_host_conditions{"], "");
    assert!((30..=40).contains(&of_host), "{of_host} of a host in {classic}");
    assert_eq!(series(&["windlass_host_", "mount="], ""), 4);
    let of_gpu = series(&["gpu=\"GPU-web-1\""], "pid=") - series(&["windlass_gpu_throttle_reason{"], "");
    assert!((14..=17).contains(&of_gpu), "{of_gpu} of a GPU in {classic}");
    let of_instance = series(&["windlass_instance_", "slot=\"0\""], "");
    assert!((18..=22).contains(&of_instance), "{of_instance} of an instance in {classic}");
    assert!(!classic.contains("pid=\"4712\""), "a process of which the driver tells nothing has no figure");
    assert!(!classic.contains("windlass_gpu_power_watts{"), "it cannot tell its power: {classic}");
    assert!(!classic.contains("# EOF"));
    let open = metrics(&fleet, "application/openmetrics-text; version=1.0.0").await;
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE windlass_tls_handshakes counter"));
    promtool(&["check", "metrics"], &classic);
}

#[tokio::test]
async fn metrics_name_what_their_detail_says() {
    let (fleet, _players) = measured(|config| config.metrics = Detail::Fleet).await;
    let text = metrics(&fleet, "*/*").await;
    assert!(text.contains("windlass_trust_version 1"), "{text}");
    assert!(!text.contains("web-1") && !text.contains("service=\"web\""), "{text}");
    let (fleet, _players) = measured(|config| config.metrics = Detail::Services).await;
    let text = metrics(&fleet, "*/*").await;
    assert!(text.contains("windlass_service_wanted_instances{"), "{text}");
    assert!(!text.contains("windlass_instance_healthy{"), "{text}");
}

#[tokio::test]
async fn prometheus_finds_instances_with_metrics_of_their_own() {
    let fleet = Fleet::start().await;
    let mut players = Players::default();
    let mut agent = Agent::joined(&fleet, "web-1").await;
    agent.publishes = true;
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "connected").await;
    let none: Value = serde_json::from_str(&get(&fleet, "/v1/sd", "*/*").await).unwrap();
    assert_eq!(none, Value::Array(Vec::new()));
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    until("both instances are listed", async || {
        let groups: Value = serde_json::from_str(&get(&fleet, "/v1/sd", "*/*").await).unwrap();
        groups.as_array().is_some_and(|groups| groups.len() == 2)
    })
    .await;
    let groups: Value = serde_json::from_str(&get(&fleet, "/v1/sd", "*/*").await).unwrap();
    assert_eq!(groups[0]["targets"][0], "127.0.0.1:21001", "{groups:#}");
    let labels = &groups[0]["labels"];
    for (name, value) in
        [("environment", "default"), ("service", "web"), ("release", "r1"), ("host", "web-1")]
    {
        assert_eq!(labels[format!("__meta_windlass_{name}")], value, "{groups:#}");
    }
}

#[tokio::test]
async fn prometheus_reads_what_a_rollout_waits_for() {
    let (fleet, players) = measured(|_| {}).await;
    assert!(!metrics(&fleet, "*/*").await.contains("windlass_rollout_waits{"), "no rollout is under way");
    drop(players);
    let submitted = request(&fleet, &routed(2, "two", "web.example.com"));
    fleet.control("deployer/default").await.submit_release(submitted).await.unwrap();
    let waits = r#"windlass_rollout_waits{environment="default",service="web",kind="host"} 1"#;
    until("it waits for its host", async || metrics(&fleet, "*/*").await.contains(waits)).await;
    assert!(
        metrics(&fleet, "*/*")
            .await
            .contains("windlass_rollout_active{environment=\"default\",service=\"web\"} 1")
    );
}

#[tokio::test]
async fn rules_and_boards_name_only_metrics_that_exist() {
    let (fleet, _players) = measured(|_| {}).await;
    let families = Families::parse(&metrics(&fleet, "*/*").await);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (rules, guide) = (read("deploy/prometheus/windlass.rules.yml"), read("docs/guide.md"));
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = rules.split(|c| !is_part(c)).filter(|word| word.starts_with("windlass_"));
    let named: BTreeSet<&str> = words.collect();
    assert!(named.len() > 20, "{named:?}");
    // Requests are counted by ingresses, in metrics of their own.
    let held = "agent/src/ingress/snapshots/windlass_agent__ingress__metrics__tests__metrics.snap";
    let held = read(held);
    let ingress = Families::parse(held.splitn(3, "---\n").nth(2).unwrap());
    let exists = |name: &str| families.has(name) || ingress.has(name.strip_suffix("_bucket").unwrap_or(name));
    for name in named {
        assert!(exists(name), "a rule names {name}, which is no metric");
    }
    let headings: BTreeSet<String> =
        guide.lines().filter_map(|line| line.strip_prefix("#### ")).map(str::to_lowercase).collect();
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        let anchor = alert.to_lowercase();
        assert!(rules.contains(&format!("runbook: docs/guide.md#{anchor}\n")), "{alert} has no runbook");
        assert!(headings.contains(&anchor), "the guide has no heading `#### {alert}`");
    }
    let mut records: BTreeMap<&str, bool> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .map(|name| (name, false))
        .collect();
    for file in std::fs::read_dir(root.join("deploy/grafana/dashboards")).unwrap() {
        let board = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for name in board.split(|c| !is_part(c)).filter(|word| word.starts_with("windlass_")) {
            assert!(exists(name), "a board names {name}, which is no metric");
        }
        let figures = board.split(|c| !is_part(c) && c != ':').filter(|word| word.starts_with("windlass:"));
        for name in figures {
            let is_used = records.get_mut(name);
            *is_used.unwrap_or_else(|| panic!("a board names {name}, which no rule records")) = true;
        }
    }
    assert!(
        !records.is_empty() && records.values().all(|is_used| *is_used),
        "no board shows it: {records:?}"
    );
    let folder = root.join("deploy/prometheus");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    promtool(&["check", "config", &path("prometheus.yml")], "");
    promtool(&["test", "rules", &path("windlass.test.yml")], "");
    let examples = read("deploy/prometheus/examples.rules.yml");
    for name in examples.split(|c| !is_part(c)).filter(|word| word.starts_with("windlass_")) {
        assert!(exists(name), "an example names {name}, which is no metric");
    }
    promtool(&["check", "rules", &path("windlass.rules.yml"), &path("examples.rules.yml")], "");
    promtool(&["test", "rules", &path("examples.test.yml")], "");
}
