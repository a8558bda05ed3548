//! A fleet on the lab: coordinator on the bridge, one agent inside each host, an operator's folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::cli::{Cli, Output};
use crate::crash;
use crate::host::Host;
use crate::http;
use crate::lab::Lab;
use crate::process::{Process, words};
use crate::service::Service;
use crate::wait;

const PORT: u16 = 7443;
const HTTP_PORT: u16 = 7480;
const CONNECTED: Duration = Duration::from_secs(20);
/// A host counts as lost sooner than by default, so that a scenario need not wait half a minute.
const QUICK_LIVENESS: &str =
    "\n[liveness]\nheartbeat = \"1s\"\nsuspect = \"3s\"\nlost = \"6s\"\nunknown = \"10s\"\n";

/// The parts of a fleet, where they are not the usual.
#[derive(Debug, Clone, Default)]
pub struct FleetOptions {
    /// Lines added to every host's policy.
    pub policy: String,
    /// More registries that hosts may pull from.
    pub registries: Vec<String>,
    /// Hosts that were already started, besides h1 to hN.
    pub more_hosts: Vec<Host>,
    /// A host, and the label that it has in the place of `role=app`, or beside it where the key is another one.
    pub label: Option<(&'static str, &'static str)>,
    /// Lines added to the coordinator's settings.
    pub settings: String,
    /// Agent and coordinator are those with crash points, see [`crate::crash`].
    pub crash_points: bool,
}

/// A fleet. Dropping it ends every process; dropping the lab in it takes the hosts down.
#[derive(Debug)]
pub struct Fleet {
    /// The operator's command line.
    pub cli: Cli,
    /// The hosts, h1 first.
    pub hosts: Vec<Host>,
    /// The coordinator.
    pub server: Process,
    /// The agents, in the order of the hosts.
    pub agents: Vec<Process>,
    /// The scenario's folder.
    pub folder: PathBuf,
    /// The lab it stands in.
    pub lab: Lab,
    programs: Programs,
}

/// Coordinator and agent.
#[derive(Debug)]
struct Programs {
    server: OsString,
    agent: OsString,
}

impl Programs {
    #[track_caller]
    fn of(options: &FleetOptions) -> Self {
        if options.crash_points {
            Self { server: crash::program("crash-server"), agent: crash::program("crash-agent") }
        } else {
            Self { server: program("windlass-server"), agent: program("windlass-agent") }
        }
    }
}

impl Fleet {
    /// Starts a fleet of so many hosts and waits until all are connected.
    #[track_caller]
    pub fn start(name: &str, hosts: usize) -> Self {
        Self::start_with(Lab::enter(), name, hosts, FleetOptions::default())
    }

    /// The same, with options.
    #[track_caller]
    pub fn start_with(lab: Lab, name: &str, count: usize, options: FleetOptions) -> Self {
        let folder = lab.scratch(name);
        let mut hosts = lab.hosts(count);
        hosts.extend(options.more_hosts.iter().cloned());
        let mut registries = vec![lab.registry()];
        registries.extend(options.registries.iter().cloned());
        let mut environment = environment(&folder);
        if options.crash_points {
            environment.push((crash::LOG.into(), folder.join(crash::LOG_FILE).into()));
        }
        let cli = Cli::new(program("windlass"), environment.clone());
        let address = format!("{}:{PORT}", lab.gateway());
        let server_dir = folder.join("server");
        let mut init =
            vec!["init", "--fleet", "lab", "--server", &address, "--server-dir", path(&server_dir)];
        init.extend(registries.iter().flat_map(|registry| ["--insecure-registry", registry]));
        cli.ok(&init);
        append(&server_dir.join("server.toml"), &format!("{QUICK_LIVENESS}{}", options.settings));
        let http_address = format!("{}:{HTTP_PORT}", lab.gateway());
        let programs = Programs::of(&options);
        let command = [programs.server.clone(), "--data".into(), server_dir.into()].into_iter();
        let command = command.chain(words(["--listen", &address, "--http", &http_address])).collect();
        let server =
            Process::start("windlass-server", command, environment.clone(), &folder.join("server.log"));
        let (hosts_up, agents) = (Vec::new(), Vec::new());
        let mut fleet = Self { cli, hosts: hosts_up, server, agents, folder, lab, programs };
        fleet.wait_for_server();
        for host in hosts {
            fleet.join(&host, &address, &registries, &options);
            let agent = fleet.agent_of(&host, &environment);
            fleet.agents.push(agent);
            fleet.hosts.push(host);
        }
        for host in &fleet.hosts {
            fleet.wait_for_host(&host.name, "connected");
        }
        fleet
    }

    /// Joins a host (again), as its operator does; its agent is started by somebody else.
    #[track_caller]
    pub fn join_again(&self, host: &Host) {
        self.join(
            host,
            &format!("{}:{PORT}", self.lab.gateway()),
            &[self.lab.registry()],
            &FleetOptions::default(),
        );
    }

    /// The output of `host show` for a host.
    #[track_caller]
    pub fn host_view(&self, name: &str) -> Value {
        self.cli.json(&["host", "show", name])
    }

    /// Waits until `host show` of a host passes a look.
    #[track_caller]
    pub fn wait_for_view(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        look: impl Fn(&Value) -> bool,
    ) -> Value {
        wait::until(&format!("host show {name} says {what}"), limit, || {
            let view = self.host_view(name);
            if look(&view) { Ok(view) } else { Err(view.to_string()) }
        })
    }

    /// Starts a deploy and leaves it alone.
    #[track_caller]
    pub fn deploy_detached(&self, service: &Service) {
        let file = service.write(&self.folder, "web.yaml");
        self.cli.ok(&["deploy", "-f", path(&file), "--detach"]);
    }

    /// Follows the newest rollout to its end, which must be `outcome`; answers with what `rollout show` says then.
    #[track_caller]
    pub fn wait_for_outcome(&self, outcome: &str) -> Value {
        let end = self.cli.run(&["rollout", "watch", "web", "--timeout", "2m", "-o", "json"]);
        let said = end.last();
        assert_eq!(said["outcome"], outcome, "{said}: {}", self.rollout());
        self.rollout()
    }

    /// Waits until a host runs a container of a release; answers with its port.
    #[track_caller]
    pub fn wait_for_release(&self, host: &Host, release: &str) -> u16 {
        wait::until(&format!("{} runs a container of {release}", host.name), Duration::from_secs(40), || {
            let running = host.engine.running("web").map_err(|error| format!("{error:#}"))?;
            let found = running.iter().find(|container| container.label("release") == release);
            found.and_then(|found| found.port).ok_or_else(|| format!("{} others run", running.len()))
        })
    }

    fn join(&self, host: &Host, server: &str, registries: &[String], options: &FleetOptions) {
        let own = options.label.filter(|(name, _)| *name == host.name).map(|(_, label)| label);
        let usual = Some("role=app").filter(|_| !own.is_some_and(|label| label.starts_with("role=")));
        let labels = usual.into_iter().chain(own).flat_map(|label| ["--label", label]);
        let command: Vec<&str> = ["host", "token", &host.name].into_iter().chain(labels).collect();
        let token = self.cli.ok(&command).stdout;
        let policy = &options.policy;
        let list = serde_json::to_string(registries).expect("text is JSON");
        let file = self.policy_of(host);
        fs::write(&file, format!("registries = {list}\ninsecure_registries = {list}\n{policy}"))
            .expect("the scenario's folder can be written");
        let mut command = vec![self.programs.agent.clone(), "join".into()];
        command.extend(words(["--server", server, "--token", token.trim(), "--address", &host.address]));
        command.extend(["--data".into(), self.data_of(host).into(), "--policy".into(), file.into()]);
        let log = self.folder.join(format!("join-{}.log", host.name));
        let mut join = Process::start("join", host.on(command), environment(&self.folder), &log);
        let ended = wait::until(&format!("{} has joined", host.name), CONNECTED, || {
            join.ended().ok_or_else(|| join.output())
        });
        assert!(ended.success(), "{} did not join: {}", host.name, join.output());
    }

    fn agent_of(&self, host: &Host, environment: &[(OsString, OsString)]) -> Process {
        let mut command = words(["setpriv".to_owned(), bounding_set()]);
        command.extend([self.programs.agent.clone(), "run".into(), "--data".into()]);
        command.push(self.data_of(host).into());
        command.extend(words(["--engine", &host.engine.url()]));
        command.extend(["--policy".into(), self.policy_of(host).into()]);
        let log = self.folder.join(format!("agent-{}.log", host.name));
        Process::start(&format!("agent of {}", host.name), host.on(command), environment.to_vec(), &log)
    }

    /// The folder of a host's agent.
    pub fn data_of(&self, host: &Host) -> PathBuf {
        self.folder.join(format!("agent-{}", host.name))
    }

    /// The coordinator's folder.
    pub fn server_data(&self) -> PathBuf {
        self.folder.join("server")
    }

    fn policy_of(&self, host: &Host) -> PathBuf {
        self.folder.join(format!("policy-{}.toml", host.name))
    }

    /// Waits until the coordinator says that it is ready.
    #[track_caller]
    pub fn wait_for_server(&mut self) {
        let address = format!("{}:{HTTP_PORT}", self.lab.gateway());
        wait::until("the coordinator is ready", Duration::from_secs(15), || {
            if let Some(status) = self.server.ended() {
                panic!("the coordinator ended with {status}: {}", self.server.tail(20));
            }
            let answer =
                http::get(&address, "/readyz", Duration::from_secs(1)).map_err(|e| format!("{e:#}"))?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.body)) }
        });
    }

    /// Waits until `host ls` shows a host in a state.
    #[track_caller]
    pub fn wait_for_host(&self, name: &str, state: &str) {
        wait::until(&format!("{name} is {state}"), CONNECTED, || {
            let found = self.host_state(name);
            if found == state { Ok(()) } else { Err(found) }
        });
    }

    /// A host's state in `host ls`.
    #[track_caller]
    pub fn host_state(&self, name: &str) -> String {
        let hosts = self.cli.json(&["host", "ls"]);
        let found = hosts.as_array().into_iter().flatten().find(|host| host["name"] == name);
        found.and_then(|host| host["state"].as_str()).unwrap_or("not listed").to_owned()
    }

    /// `deploy -f` of a manifest, followed to its end.
    #[track_caller]
    pub fn deploy(&self, service: &Service) -> Output {
        let file = service.write(&self.folder, "web.yaml");
        self.cli.run(&["deploy", "-f", path(&file), "--timeout", "2m", "-o", "json"])
    }

    /// A deploy that must succeed as release `release`.
    #[track_caller]
    pub fn deploy_ok(&self, service: &Service, release: &str) {
        let end = self.deploy(service).expect_code(0).last();
        assert_eq!((&end["outcome"], &end["release"]), (&"succeeded".into(), &release.into()), "{end}");
    }

    /// The output of `status web`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.cli.json(&["status", "web"])
    }

    /// The output of `rollout show web` for the newest rollout.
    #[track_caller]
    pub fn rollout(&self) -> Value {
        self.cli.json(&["rollout", "show", "web"])
    }

    /// Versions that answer on all hosts, sorted, asked without the coordinator.
    pub fn serving(&self) -> Vec<String> {
        let mut all: Vec<String> = self.hosts.iter().flat_map(|host| host.serving("web")).collect();
        for answer in &mut all {
            *answer = crate::watch::version_of(answer);
        }
        all.sort();
        all
    }

    /// Waits until exactly so many instances of one version answer, and nothing else.
    #[track_caller]
    pub fn wait_until_serving(&self, version: &str, count: usize, limit: Duration) {
        wait::until(&format!("{count} instances serve {version} and nothing else does"), limit, || {
            let serving = self.serving();
            if serving == vec![version; count] { Ok(()) } else { Err(format!("{serving:?}")) }
        });
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report(self);
        }
        self.agents.clear();
        self.server.kill_9();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder); // the next scenario of this name clears it too
        }
    }
}

/// The report of a failed scenario for a person; its folder is kept.
#[expect(clippy::print_stderr, reason = "the test runner captures it and shows it with the failure")]
fn report(fleet: &Fleet) {
    eprintln!("{}", fleet.server.tail(40));
    for agent in &fleet.agents {
        eprintln!("{}", agent.tail(40));
    }
    eprintln!("--- everything else is in {}", fleet.folder.display());
}

/// A path as an argument.
///
/// # Panics
/// If it is not text; those of the lab are.
pub fn path(path: &Path) -> &str {
    path.to_str().expect("paths of the lab are text")
}

/// The capabilities that the agent's shipped unit leaves it, as `setpriv` takes them: in a scenario it has no others.
fn bounding_set() -> String {
    let unit = include_str!("../../deploy/windlass-agent.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let named = line.expect("the unit bounds them").split_whitespace();
    let kept = named.map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()));
    format!("--bounding-set=-all{}", kept.collect::<String>())
}

/// One of the three shipped programs.
///
/// # Panics
/// If it was not built.
#[track_caller]
pub fn program(name: &str) -> OsString {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let folder = std::env::var_os("WINDLASS_BIN").map_or_else(|| target.join("release"), PathBuf::from);
    let program = folder.join(name);
    assert!(program.exists(), "{} is not there; `make release` builds it", program.display());
    program.canonicalize().expect("it exists").into()
}

/// The environment of every program of a scenario; nothing of the caller's, above all no proxy.
pub fn environment(folder: &Path) -> Vec<(OsString, OsString)> {
    let pair = |name: &str, value: OsString| (OsString::from(name), value);
    vec![
        pair("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        pair("HOME", folder.into()),
        pair("WINDLASS_HOME", folder.join("home").into()),
        pair("DOCKER_CONFIG", folder.join("docker").into()),
    ]
}

fn append(file: &Path, text: &str) {
    let old = fs::read_to_string(file).unwrap_or_default();
    fs::write(file, old + text).expect("the scenario's folder can be written");
}
