//! `doctor` on a host with GPUs: whether its engine gives them to containers, before anything is deployed.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::Scene;

/// Answers as an engine that says this of itself.
async fn answer(mut stream: UnixStream, info: Value) -> std::io::Result<()> {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") && asked.len() < 4096 {
        match stream.read_u8().await {
            Ok(byte) => asked.push(byte),
            Err(_) => return Ok(()), // it only wanted to know who listens
        }
    }
    let version = json!({ "Version": "20.10.24", "ApiVersion": "1.41" });
    let body = if asked.starts_with(b"GET /version ") { version } else { info };
    stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes()).await
}

/// An engine of this process, so that its `PATH` is ours; dropped, it is gone.
fn engine(socket: &Path, info: Value) -> JoinSet<()> {
    let listener = UnixListener::bind(socket).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let info = info.clone();
            open.spawn(async move { drop(answer(stream, info).await) });
        }
    });
    tasks
}

/// The finding about GPUs.
async fn gpus(scene: &Scene, info: Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let _engine = engine(&folder.path().join("engine.sock"), info);
    let socket = format!("unix://{}", at("engine.sock"));
    let (data, policy) = (at("agent"), at("policy.toml"));
    let mut doctor = tokio::process::Command::new(&scene.program);
    doctor.args(["doctor", "-o", "json", "--data", &data, "--policy", &policy, "--engine", &socket]);
    let ended = doctor.output().await.unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let findings: Vec<Value> = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    findings.into_iter().find(|finding| finding["check"] == "gpu").unwrap()
}

#[tokio::test]
async fn doctor_says_whether_containers_get_the_gpus() {
    let path = std::env::var("PATH").unwrap_or_default();
    let hook = "nvidia-container-runtime-hook";
    if path.split(':').any(|folder| Path::new(folder).join(hook).exists()) {
        return eprintln!("LEFT OUT: an engine without NVIDIA's hook, which is on the PATH here");
    }
    let scene = Scene::new();
    let runtime = |program: &str| json!({ "Runtimes": { "nvidia": { "path": program } } });
    let devices = |name: &str| json!({ "DiscoveredDevices": [{ "Source": "cdi", "ID": name }], "CDISpecDirs": ["/etc/cdi"] });
    #[rustfmt::skip]
    let table = [
        ("nothing",                   json!({}),                         "warn", "neither NVIDIA's hook on its PATH, nor its runtime, nor CDI"),
        ("a runtime that has gone",   runtime("/no/such/program"),       "warn", "runtime `nvidia` is not there"),
        ("devices of somebody else",  devices("vendor.com/nic=0"),       "warn", "nor CDI devices in /etc/cdi"),
        ("the runtime",               runtime("/bin/sh"),                "ok",   "2 GPUs, by the runtime `nvidia`"),
        ("CDI",                       devices("nvidia.com/gpu=GPU-1"),   "ok",   "2 GPUs, by CDI specifications in /etc/cdi"),
    ];
    for (case, info, verdict, words) in table {
        let found = gpus(&scene, info).await;
        let detail = found["detail"].as_str().unwrap();
        assert_eq!(found["verdict"], verdict, "{case}: {found}");
        assert!(detail.contains(words), "{case}: {found}");
        if verdict == "warn" {
            assert!(detail.starts_with("2 GPUs, which no container gets: "), "{case}: {found}");
            assert!(found["hint"].as_str().unwrap().contains("NVIDIA Container Toolkit"), "{case}: {found}");
        }
    }
}
