//! The boards of `deploy/grafana`, asked of a real Prometheus that scrapes a fleet.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{get_of, measured};
use crate::fleet::LIMIT;

/// Panels that have nothing to show of this fleet, with which nothing is wrong, and whose GPU cannot tell its power.
const EMPTY: [&str; 8] = [
    "windlass_rollout_active == 1",
    "windlass_rollout_step",
    "windlass_rollout_waits",
    "windlass_service_conditions",
    "> 0",
    "rolled_back|failed",
    "windlass_instance_throttled_ratio",
    "windlass_gpu_power_watts",
];

/// A Prometheus, which is killed at the end of the test.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Prometheus {
    /// One that scrapes the coordinator at `target` and the ingress at `edge` every second, and the instances that it names.
    async fn start(target: SocketAddr, edge: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/windlass.rules.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\nscrape_configs:\n  - job_name: windlass\n    static_configs: [{{ targets: [\"{target}\"] }}]\n  - job_name: windlass-ingress\n    static_configs: [{{ targets: [\"{edge}\"] }}]\n  - job_name: services\n    http_sd_configs: [{{ url: \"http://{target}/v1/sd\", refresh_interval: 1s }}]\n",
            rules.display()
        );
        std::fs::write(&config, text).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`prometheus` is installed: `tests/lab/install.sh` does that");
        Self { child, address, _folder: folder }
    }

    async fn api(&self, path: &str) -> Value {
        let text = get_of(self.address, path, "*/*").await.unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn query(&self, query: &str) -> Value {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        self.api(&format!("/api/v1/query?query={escaped}")).await
    }
}

/// The address of an ingress' metrics: the text that a test of the agent holds to be what one writes.
async fn edge(tasks: &mut JoinSet<()>) -> SocketAddr {
    let path = "../agent/src/ingress/snapshots/windlass_agent__ingress__metrics__tests__metrics.snap";
    let held = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let text = held.splitn(3, "---\n").nth(2).expect("a text below its head").to_owned();
    assert!(text.contains("windlass_ingress_requests_total{"), "{text}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            drop(tcp.read(&mut asked).await);
            drop(tcp.write_all(format!("{head}{text}").as_bytes()).await);
            drop(tcp.shutdown().await);
        }
    });
    address
}

/// Every query of a board: those of its panels, and those of its marks.
fn queries(board: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let panels = list(&board["panels"]).into_iter().flat_map(|panel| list(&panel["targets"]));
    let all = panels.chain(list(&board["annotations"]["list"]));
    all.map(|target| {
        let expr = target["expr"].as_str().expect("a query").to_owned();
        ["$environment", "$service", "$host"].into_iter().fold(expr, |expr, name| expr.replace(name, ".*"))
    })
    .collect()
}

#[tokio::test]
async fn each_query_of_the_boards_is_answered() {
    let (fleet, _players) = measured(|_| {}).await;
    let mut tasks = JoinSet::new();
    let prometheus = Prometheus::start(fleet.http_addr, edge(&mut tasks).await).await;
    let began = Instant::now();
    // A rate needs two samples.
    let names = [
        "windlass_instance_memory_bytes",
        "windlass_ingress_requests_total",
        "windlass:host_cpu:ratio_rate1m",
        "windlass:service_5xx:ratio_rate1m",
    ];
    for name in names {
        let twice = format!("count_over_time({name}[1m]) >= 3");
        while prometheus.query(&twice).await["data"]["result"].as_array().is_none_or(Vec::is_empty) {
            assert!(began.elapsed() < LIMIT * 3, "no samples: {}", prometheus.query("up").await);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana/dashboards");
    let (mut asked, mut nothing) = (0, Vec::new());
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let board: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for query in queries(&board) {
            let answer = prometheus.query(&query).await;
            assert_eq!(answer["status"], "success", "{}: {query}: {answer}", path.display());
            let some = answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty());
            let may_be_empty = EMPTY.iter().any(|part| query.contains(part));
            if !some && !may_be_empty {
                nothing.push(query);
            }
            asked += 1;
        }
    }
    assert!(nothing.is_empty(), "nothing to show: {nothing:#?}");
    assert!(asked > 40, "{asked} queries");
    let found = prometheus.api("/api/v1/targets").await;
    assert!(found["data"]["activeTargets"].as_array().is_some_and(|all| !all.is_empty()), "{found}");
}
