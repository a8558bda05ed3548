//! Clients and servers that nobody here wrote, through a real ingress before real containers, while releases change: curl,
//! wrk, h2load, grpcio, websockets, and Python's own HTTP server.
#![expect(clippy::print_stdout, reason = "the figures of a run are told")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windlass_core::Digest;
use windlass_tests::fleet::{environment, path};
use windlass_tests::process::words;
use windlass_tests::{Fleet, Output, Process, Service, ingress, wait};

const LONG: Duration = Duration::from_secs(180);
const MIB: u64 = 1 << 20;

/// Runs a program to its end, which must be a good one.
#[track_caller]
fn run(command: &[&str]) -> String {
    let done = Command::new(command[0]).args(&command[1..]).output();
    let done = done.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{command:?}: {}{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

/// The folder of these clients and servers.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign")
}

/// A certificate for every name of the scenario: its folder and file.
fn certify(fleet: &Fleet) -> (PathBuf, PathBuf) {
    let certs = fleet.folder.join("certs");
    fs::create_dir_all(&certs).unwrap();
    let (key, certificate) = (certs.join("lab.key"), certs.join("lab.crt"));
    let names = "subjectAltName=DNS:web.lab,DNS:http.lab,DNS:grpc.lab,DNS:ws.lab";
    let mut make = vec!["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    make.extend(["-nodes", "-days", "2", "-subj", "/CN=lab", "-addext", names]);
    make.extend(["-keyout", path(&key), "-out", path(&certificate)]);
    run(&make);
    (certs, certificate)
}

/// An ingress with both listeners.
fn start_ingress(fleet: &Fleet, certs: &Path, log: &str) -> Process {
    let host = &fleet.hosts[0];
    let https = format!("{}:443", host.address);
    let more = ["--https", https.as_str(), "--certs", path(certs), "--drain", "5s", "--drain-tunnels", "10s"];
    ingress::start_with(fleet, host, log, &more)
}

/// A virtual environment with grpcio and websockets; `None` if there are none to be had.
fn python(folder: &Path) -> Option<PathBuf> {
    let venv = folder.join("venv");
    // Not the first one of the caller's path, which may be anybody's.
    run(&["/usr/bin/python3", "-m", "venv", path(&venv)]);
    let pip = venv.join("bin/pip");
    let mut install = Command::new(pip);
    install.args(["install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "20"]);
    let done = install.args(["grpcio", "websockets>=13"]).output().unwrap();
    if !done.status.success() {
        println!(
            "LEFT OUT: gRPC and WebSockets of others, because PyPI cannot be reached: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        return None;
    }
    Some(venv)
}

/// The service whose servers are Python's.
fn python_service(fleet: &Fleet, version: &str) -> Service {
    let image = fleet.lab.image("foreign");
    let service = Service::web(&image, 2).with("service", "foreign").with("soak", "0s");
    let service = service.with("command", vec!["/app/python", "/app/server.py"]).with("env.VERSION", version);
    let service = service.with("env.PYTHONPATH", "/app/site").with("env.PYTHONDONTWRITEBYTECODE", "1");
    let service = service.with("resources", json!({ "cpu": 1, "memory": "256MiB" }));
    let probe =
        |failures: u32| json!({ "http": "/health", "every": "1s", "timeout": "5s", "failures": failures });
    let service = service.with("health", json!({ "startup": probe(60), "readiness": probe(10) }));
    let service = service.with("progress_deadline", "3m").with("drain_timeout", "3m");
    let rpc = json!({ "container": 9000, "protocol": "grpc" });
    let ports = json!({ "http": 8080, "ws": 8081, "rpc": rpc });
    let route = |name: &str, port: &str| json!({ "host": format!("{name}.lab"), "port": port });
    let routes = vec![route("http", "http"), route("ws", "ws"), route("grpc", "rpc")];
    service.with("ports", ports).with("route", routes)
}

fn deploy(fleet: &Fleet, service: &Service, name: &str) -> Output {
    let file = service.write(&fleet.folder, name);
    let end = fleet.cli.run(&["deploy", "-f", path(&file), "--timeout", "4m", "-o", "json"]);
    end.expect_code(0)
}

/// curl, again and again until it is told to end: how it asked, and what of it failed.
struct Curls {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(u64, Vec<String>)>,
}

impl Curls {
    fn begin(address: &str, certificate: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, certificate, told) =
            (address.to_owned(), path(certificate).to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut asked, mut failed) = (0, Vec::new());
            let ways = [
                ("--http1.1", "http://web.lab/version", "1.1 200"),
                ("--http2-prior-knowledge", "http://web.lab/version", "2 200"),
                ("--http1.1", "https://web.lab/version", "1.1 200"),
                ("--http2", "https://web.lab/version", "2 200"),
                ("--http2", "https://web.lab/slow?ms=1500", "2 200"),
                ("--http1.1", "http://web.lab/slow?ms=1500", "1.1 200"),
            ];
            while !told.load(Ordering::Relaxed) {
                for (how, url, wanted) in ways {
                    let said = curl(&address, &certificate, &[how, url]);
                    asked += 1;
                    if !said.ends_with(wanted) {
                        failed.push(format!("{how} {url}: {said}"));
                    }
                }
            }
            (asked, failed)
        });
        Self { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (asked, failed) = self.thread.join().unwrap();
        println!("curl: {asked} requests, {} failed", failed.len());
        assert!(asked >= 6 && failed.is_empty(), "{failed:#?}");
    }
}

/// The output of curl for one request, its version of HTTP and the status last.
fn curl(address: &str, certificate: &str, arguments: &[&str]) -> String {
    let all = format!("::{address}:"); // any name, at its own port
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "120", "--connect-to", &all]);
    command.args(["--cacert", certificate, "--write-out", " %{http_version} %{http_code}"]).args(arguments);
    let done = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&done.stderr), text(&done.stdout))
}

/// Bodies of 32 MiB, both ways: every byte as it was. `bodies_and_tunnels_outlast_a_switch` sends one of 100 MiB.
fn bodies(fleet: &Fleet, address: &str, certificate: &Path) {
    let (down, back) = (fleet.folder.join("down"), fleet.folder.join("back"));
    let certificate = path(certificate);
    for (how, scheme, down) in [("--http1.1", "http", &down), ("--http2", "https", &back)] {
        let url = format!("{scheme}://http.lab/bytes?32");
        let said = curl(address, certificate, &[how, "--output", path(down), &url]);
        assert!(said.ends_with(" 200"), "{said}");
        let bytes = fs::read(down).unwrap();
        assert_eq!(bytes.len() as u64, 32 * MIB);
        let url = format!("{scheme}://http.lab/");
        let said = curl(address, certificate, &[how, "--upload-file", path(down), &url]);
        // Each block says which one it is by its own digest: a byte that is lost or doubled shows at the other end.
        assert!(said.starts_with(&Digest::of(&bytes).to_hex()) && said.ends_with(" 200"), "{said}");
    }
    assert!(fs::read(&down).unwrap() == fs::read(&back).unwrap(), "both are the same");
}

/// A client of Python's, which prints JSON when the file that it looks for is there.
fn client(fleet: &Fleet, venv: &Path, kind: &str, address: &str, certificate: Option<&Path>) -> Process {
    let script = folder().join("clients.py");
    let (python, stop) = (venv.join("bin/python3"), fleet.folder.join("stop"));
    let mut command = words([python.as_os_str(), script.as_os_str(), kind.as_ref(), address.as_ref()]);
    command.push(stop.into());
    command.extend(certificate.map(|certificate| certificate.into()));
    let name = format!("{kind}-{}", if certificate.is_some() { "tls" } else { "plain" });
    Process::start(&name, command, environment(&fleet.folder), &fleet.folder.join(format!("{name}.log")))
}

/// The last words of a client in Python: it saw both releases, and nothing failed.
fn expect_good(mut client: Process) -> Value {
    let ended = wait::until("a client has ended", LONG, || client.ended().ok_or_else(|| client.tail(3)));
    let said = client.output();
    assert!(ended.success(), "{said}");
    let said: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap();
    println!("{said}");
    assert_eq!(said["failures"], json!([]), "{said}");
    let answers = said["answers"].as_object().unwrap();
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["one", "two"], "{said}");
    said
}

/// A WebSocket over HTTPS outlives its ingress by `--drain-tunnels`; the next one is with the successor, which this answers with.
fn take_over(fleet: &Fleet, certs: &Path, mut proxy: Process, mut held: Process) -> Process {
    wait::until("the WebSocket stands", LONG, || {
        if held.output().contains("stands") { Ok(()) } else { Err(held.tail(3)) }
    });
    let begun_at = Instant::now();
    let successor = start_ingress(fleet, certs, "ingress-2.log");
    wait::until("the client has ended", LONG, || held.ended().ok_or_else(|| held.tail(3)));
    let stood = begun_at.elapsed();
    let said: Value = serde_json::from_str(held.output().lines().last().unwrap_or_default()).unwrap();
    println!("{said}");
    assert_eq!((&said["failures"], &said["next"]), (&json!([]), &json!("two")), "{said}");
    assert_eq!(said["code"], 1012, "its server starts again: {said}");
    assert!(stood >= Duration::from_secs(10), "it was cut {stood:?} after the successor began: {said}");
    wait::until("the first ingress has ended", LONG, || proxy.ended().ok_or_else(|| proxy.tail(5)));
    successor
}

/// Makes the image whose servers are Python's, and pushes it. Answers with the virtual environment for the clients.
fn python_image(fleet: &Fleet) -> Option<PathBuf> {
    let venv = python(&fleet.folder)?;
    let (tree, script) = (fleet.folder.join("tree"), folder().join("tree.sh"));
    run(&[path(&script), path(&venv), path(&folder().join("server.py")), path(&tree)]);
    let image = format!("foreign={}", path(&tree));
    fleet.lab.script("images.sh", &["--registry", &fleet.lab.registry(), "--tree", &image]);
    Some(venv)
}

/// A release comes while wrk, h2load and curl ask for it.
fn loads(fleet: &Fleet, certificate: &Path) {
    let address = &fleet.hosts[0].address;
    let (http, https) = (format!("{address}:80"), format!("{address}:443"));
    let web = |tag: &str| {
        let web = Service::web(&fleet.lab.image(tag), 2).with("soak", "0s").with("strategy.rolling.batch", 2);
        let web = web.with("strategy.rolling.max_surge", 2);
        web.with("route", json!({ "host": "web.lab", "port": "http" })).with("drain_timeout", "10s")
    };
    deploy(fleet, &web("v1"), "web.yaml");
    ingress::wait_until_answered(&http, "web.lab", "/version", "v1");

    let load = |name: &str, command: &[&str]| {
        let log = fleet.folder.join(format!("{name}.log"));
        Process::start(name, words(command), environment(&fleet.folder), &log)
    };
    let (plain, to) = (format!("http://{http}/version"), format!("--connect-to={http}"));
    let (h2, to_tls) = ("http://web.lab/version", format!("--connect-to={https}"));
    let mut loads = [
        load("wrk", &["wrk", "-t1", "-c8", "-d10s", "--timeout", "30s", "-H", "Host: web.lab", &plain]),
        load("h2load-plain", &["h2load", "-c4", "-m8", "-n4000", "--rps=100", &to, h2]),
        load(
            "h2load-tls",
            &["h2load", "-c4", "-m8", "-n4000", "--rps=100", &to_tls, "https://web.lab/version"],
        ),
    ];
    // curl keeps the port of the URL.
    let curls = Curls::begin(address, certificate);
    deploy(fleet, &web("v2"), "web.yaml");
    ingress::wait_until_answered(&http, "web.lab", "/version", "v2");
    curls.end();
    for load in &mut loads {
        let ended = wait::until("a load has ended", LONG, || load.ended().ok_or_else(|| load.tail(3)));
        let said = load.output();
        println!("{}", load.tail(12));
        assert!(ended.success(), "{said}");
        assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
        let whole = said.contains("4000 succeeded, 0 failed, 0 errored, 0 timeout");
        let classes = said.contains("status codes: 4000 2xx, 0 3xx, 0 4xx, 0 5xx");
        assert!(said.contains("requests in") || (whole && classes), "{said}");
    }
}

#[test]
fn clients_of_others_lose_nothing_while_a_release_changes() {
    let fleet = Fleet::start("foreign", 1);
    let host = fleet.hosts[0].clone();
    let (certs, certificate) = certify(&fleet);
    let proxy = start_ingress(&fleet, &certs, "ingress-1.log");
    let venv = std::thread::scope(|scope| {
        // It takes as long as the loads.
        let made = scope.spawn(|| python_image(&fleet));
        loads(&fleet, &certificate);
        made.join().expect("the image is made")
    });
    let Some(venv) = venv else { return };
    let (http, https) = (format!("{}:80", host.address), format!("{}:443", host.address));
    deploy(&fleet, &python_service(&fleet, "one"), "foreign.yaml");
    ingress::wait_until_answered(&http, "http.lab", "/version", "one");
    let certificate = certificate.as_path();
    let clients = [
        client(&fleet, &venv, "grpc", &http, None),
        client(&fleet, &venv, "grpc", &https, Some(certificate)),
        client(&fleet, &venv, "websocket", &http, None),
        client(&fleet, &venv, "websocket", &https, Some(certificate)),
    ];
    bodies(&fleet, &host.address, certificate);
    deploy(&fleet, &python_service(&fleet, "two"), "foreign.yaml");
    ingress::wait_until_answered(&http, "http.lab", "/version", "two");
    let up = |port: &str| ingress::answers(&http, port, "/version").map(|body| body.contains("two"));
    assert_eq!(up("http.lab"), Ok(true));
    fs::write(fleet.folder.join("stop"), "").unwrap();
    for client in clients {
        let said = expect_good(client);
        let whole = [json!(100_000), json!(10_000)].contains(&said["messages"]);
        assert!(whole || said["cut"] == 0, "{said}");
    }
    let held = client(&fleet, &venv, "held", &https, Some(certificate));
    let mut successor = take_over(&fleet, &certs, proxy, held);
    successor.stop(Duration::from_secs(40));
}
