//! The block *By hand* of README.md, as it stands there: pasted into a shell, on one machine with one engine.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use windlass_tests::engine::Engine;
use windlass_tests::fleet::{environment, program};
use windlass_tests::{Cli, Lab, http, wait};

/// Says that a shell has done all that was pasted before.
const DONE: &str = "--- all of it is done";

#[test]
fn the_readme_can_be_pasted_into_a_shell() {
    let lab = Lab::enter();
    let socket = lab.script("engine.sh", &["up"]);
    let ports = free_ports();
    let [port, http_port, registry_port] = ports.map(|port| port.to_string());
    let _down = Down(&lab, registry_port.clone());
    let socket = socket.lines().find_map(|line| line.strip_prefix("DOCKER_SOCKET=")).unwrap().to_owned();
    lab.script("registry.sh", &["up", "--listen", "127.0.0.1", "--port", &registry_port]);
    let engine = Engine::new(Path::new(&socket));
    let folder = lab.scratch("by-hand");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    symlink(root.join("tests"), folder.join("tests")).unwrap();
    fs::create_dir(folder.join("examples")).unwrap();

    // The programs are built, and everything stands elsewhere than on a machine of its own.
    let built = program("windlass");
    let programs = Path::new(&built).parent().unwrap().display().to_string();
    let here = [
        ("make release && ", String::new()),
        ("$PWD/target/release", programs),
        ("127.0.0.1:7443", format!("127.0.0.1:{port}")),
        ("127.0.0.1:7480", format!("127.0.0.1:{http_port}")),
        ("127.0.0.1:5000", format!("127.0.0.1:{registry_port}")),
        ("/var/run/docker.sock", socket),
    ];
    let adapted = |text: &str, used: bool| {
        here.iter().fold(text.to_owned(), |text, (from, to)| {
            assert!(!used || text.contains(from), "README.md does not say `{from}`");
            text.replace(from, to)
        })
    };
    let sample = fs::read_to_string(root.join("examples/sample.yaml")).unwrap();
    fs::write(folder.join("examples/sample.yaml"), adapted(&sample, false)).unwrap();
    let [up, down] = blocks(&fs::read_to_string(root.join("README.md")).unwrap());

    let mut shell = Shell::start(&lab, &folder);
    shell.paste(&adapted(&up, true));
    shell.wait_until_done();
    let said = shell.said();
    assert!(
        !said.contains(" INFO ") && !said.contains("windlass_server"),
        "a program's log is in it: {said}"
    );
    for log in ["server.log", "agent.log"] {
        assert!(fs::metadata(folder.join("try").join(log)).unwrap().len() > 0, "{log}");
    }
    let mut environment = environment(&folder);
    environment.push(("WINDLASS_HOME".into(), folder.join("try/home").into()));
    let cli = Cli::new(built, environment);
    let status = cli.json(&["status", "web"]);
    assert_eq!(status["release"], "r1", "{status}\n{said}");
    assert_eq!(versions(&status), ["v1", "v1"]);
    let releases = cli.json(&["release", "ls", "web"]);
    assert_eq!(releases.as_array().unwrap().len(), 2, "a second one was there to go back from: {releases}");

    shell.paste(&adapted(&down, false));
    shell.wait_until_done();
    assert!(engine.containers("web").unwrap().is_empty());
    assert!(!folder.join("try").exists());
    let again = || ports.map(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    assert_eq!(again()[..2], [true, true], "coordinator and agent have ended");
}

/// The two blocks under *By hand*.
fn blocks(readme: &str) -> [String; 2] {
    let (_, text) = readme.split_once("\nBy hand, ").expect("README.md says how by hand");
    let mut parts = text.split("```").skip(1).step_by(2);
    [(); 2].map(|()| parts.next().unwrap().strip_prefix("sh\n").expect("a block of a shell").to_owned())
}

/// A shell into which a person pastes.
struct Shell {
    child: Child,
    input: ChildStdin,
    log: PathBuf,
    pastes: usize,
}

impl Shell {
    fn start(lab: &Lab, folder: &Path) -> Self {
        // The sample service is built by the caller's own tools, and kept in the lab's folder.
        let own = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"].map(|name| (name, std::env::var_os(name)));
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let net = lab.gateway();
        let (net, _) = net.rsplit_once('.').expect("an address");
        let log = folder.join("shell.log");
        let file = fs::File::create(&log).unwrap();
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(folder)
            .env_clear()
            .envs(environment(folder))
            .envs(own)
            .env("WINDLASS_LAB", lab.folder())
            .env("WINDLASS_LAB_NET", net)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // The first line that fails is the last one.
        writeln!(input, "set -e; trap 'echo FAILED: $BASH_COMMAND' ERR").unwrap();
        Self { child, input, log, pastes: 0 }
    }

    fn paste(&mut self, text: &str) {
        self.pastes += 1;
        write!(self.input, "{text}\necho '{DONE}' {}\n", self.pastes).unwrap();
        self.input.flush().unwrap();
    }

    fn wait_until_done(&mut self) {
        let mark = format!("{DONE} {}", self.pastes);
        wait::until("the shell has done what was pasted", Duration::from_secs(240), || {
            let said = self.said();
            assert!(!said.contains("FAILED"), "{said}");
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the shell ended with {status}: {said}");
            }
            if said.contains(&mark) { Ok(()) } else { Err(said) }
        });
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Its background processes end with it, also where an assertion failed.
        drop(writeln!(self.input, "set +e; kill $(jobs -p) 2>/dev/null; exit"));
        drop(self.input.flush());
        let deadline = std::time::Instant::now() + Duration::from_secs(15);
        while std::time::Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Ports of the loopback that nobody has now. They are all taken before any is given back, so they differ.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// The answers of the endpoints that `status` names.
fn versions(status: &serde_json::Value) -> Vec<String> {
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
