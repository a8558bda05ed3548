//! The sequence that the operator's guide shows, on one machine with one engine and no network namespace.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use windlass_tests::engine::Engine;
use windlass_tests::fleet::{environment, path, program};
use windlass_tests::process::{Process, words};
use windlass_tests::{Cli, Lab, http, wait};

const MANIFEST: &str = "
service: web
image: REGISTRY/web:v1
replicas: 2
ports: { http: 8080 }
health:
  readiness: { http: /health/ready, every: 500ms }
strategy:
  rolling: { batch: 1, max_surge: 1, min_ready: 1s }
soak: 1s
";

#[test]
fn a_fleet_is_made_by_hand_deploys_twice_and_goes_back() {
    let lab = Lab::enter();
    let socket = lab.script("engine.sh", &["up"]);
    let [port, http_port, registry_port] = free_ports();
    let at_port = |port: u16| format!("127.0.0.1:{port}");
    let (server_address, http_address, registry) =
        (at_port(port), at_port(http_port), at_port(registry_port));
    let registry_port = registry_port.to_string();
    let _down = Down(&lab, registry_port.clone());
    let socket = socket.lines().find_map(|line| line.strip_prefix("DOCKER_SOCKET=")).unwrap().to_owned();
    lab.script("registry.sh", &["up", "--listen", "127.0.0.1", "--port", &registry_port]);
    lab.script("images.sh", &["--registry", &registry]);
    let engine = Engine::new(Path::new(&socket));
    let folder = lab.scratch("by-hand");
    let at = |name: &str| folder.join(name).display().to_string();
    let environment = environment(&folder);
    let cli = Cli::new(program("windlass"), environment.clone());
    let start = |name: &str, command: &[&str]| {
        let mut all: Vec<OsString> = words(command);
        all[0] = program(command[0]);
        Process::start(name, all, environment.clone(), &folder.join(format!("{name}.log")))
    };

    cli.ok(&["init", "--fleet", "demo", "--server", &server_address, "--server-dir", &at("server")]);
    let mut server = start(
        "server",
        &["windlass-server", "--data", &at("server"), "--listen", &server_address, "--http", &http_address],
    );
    wait::until("the coordinator is ready", Duration::from_secs(15), || {
        assert!(server.ended().is_none(), "{}", server.tail(20));
        http::get(&http_address, "/readyz", Duration::from_secs(1))
            .map_err(|error| error.to_string())
            .and_then(|answer| if answer.status == 200 { Ok(()) } else { Err(answer.body) })
    });
    let token = cli.ok(&["host", "token", "web-1", "--label", "role=app"]).stdout;
    assert_eq!(token.lines().count(), 1, "the token alone: {token}");
    let (data, policy) = (at("agent-1"), at("policy.toml"));
    #[rustfmt::skip]
    let mut join = start("join", &[
        "windlass-agent", "join", "--server", &server_address, "--token", token.trim(), "--data", &data,
        "--address", "127.0.0.1", "--registry", &registry, "--policy", &policy,
    ]);
    let joined =
        wait::until("the agent has joined", Duration::from_secs(15), || join.ended().ok_or(join.output()));
    assert!(joined.success(), "{}", join.output());
    let url = engine.url();
    let agent =
        start("agent", &["windlass-agent", "run", "--data", &data, "--engine", &url, "--policy", &policy]);

    wait::until("the host is connected", Duration::from_secs(15), || {
        let hosts = cli.json(&["host", "ls"]);
        let good = hosts[0]["name"] == "web-1" && hosts[0]["state"] == "connected";
        if good && hosts[0]["labels"]["role"] == "app" {
            Ok(())
        } else {
            Err(format!("{hosts}\n{}", agent.tail(10)))
        }
    });
    std::fs::write(folder.join("web.yaml"), MANIFEST.replace("REGISTRY", &registry)).unwrap();
    let manifest = at("web.yaml");
    let manifest = path(Path::new(&manifest));
    let end = cli.run(&["deploy", "-f", manifest, "--timeout", "2m", "-o", "json"]).expect_code(0).last();
    assert_eq!((&end["release"], &end["outcome"]), (&"r1".into(), &"succeeded".into()), "{end}");
    let set = format!("image={registry}/web:v2");
    cli.ok(&["deploy", "-f", manifest, "--set", &set, "--timeout", "2m"]);
    assert_eq!(versions(&cli), ["v2", "v2"]);
    cli.ok(&["rollback", "web"]);
    assert_eq!(versions(&cli), ["v1", "v1"]);
    assert_eq!(cli.json(&["status", "web"])["release"], "r1");
}

/// Ports of the loopback that nobody has now. They are all taken before any is given back, so they differ.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// What the endpoints that `status` names answer.
fn versions(cli: &Cli) -> Vec<String> {
    let status = cli.json(&["status", "web"]);
    let healthy =
        status["instances"].as_array().unwrap().iter().filter(|instance| instance["state"] == "healthy");
    let ask = |instance: &serde_json::Value| {
        let endpoint =
            instance["endpoints"]["http"].as_str().unwrap_or_else(|| panic!("no endpoint: {instance}"));
        windlass_tests::watch::version_of(
            &http::get(endpoint, "/version", Duration::from_secs(2)).unwrap().body,
        )
    };
    healthy.map(ask).collect()
}

/// Takes down what is not a host of the lab.
struct Down<'a>(&'a Lab, String);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.script("registry.sh", &["down", "--port", &self.1]);
        self.0.script("engine.sh", &["down"]);
    }
}
