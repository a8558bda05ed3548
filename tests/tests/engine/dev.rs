//! `windlass dev` on released programs: it says what is true, names what is in the way, and leaves nothing behind.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use windlass_tests::engine::Engine;
use windlass_tests::fleet::{environment, path, program};
use windlass_tests::process::{Process, words};
use windlass_tests::{Cli, Lab, Service, http, wait};

const RUNS: &str = "A fleet of one host runs";

/// One `windlass dev`. Dropping it interrupts it, so that it ends what it started.
struct Dev {
    process: Process,
}

impl Dev {
    fn start(folder: &Path, ports: [u16; 2], engine: &str, more: &[&str]) -> Self {
        let [port, http_port] = ports.map(|port| port.to_string());
        let dir = folder.join("try");
        #[rustfmt::skip]
        let mut command = words([
            "windlass", "dev", "--dir", path(&dir), "--engine", engine, "--port", &port, "--http-port", &http_port,
        ]);
        command[0] = program("windlass");
        command.extend(more.iter().map(OsString::from));
        let log = folder.join("dev.log");
        drop(fs::remove_file(&log)); // of the one before
        let process = Process::start("windlass dev", command, environment(folder), &log);
        Self { process }
    }

    fn interrupt(&self) {
        let id = self.process.pid().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }

    fn end(&mut self) -> ExitStatus {
        wait::until("dev has ended", Duration::from_secs(60), || {
            self.process.ended().ok_or_else(|| self.process.output())
        })
    }

    /// It ends by itself, as a failure, and says all of `words`.
    fn fails(mut self, words: &[&str]) {
        let status = self.end();
        let said = self.process.output();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
        assert!(!said.contains(RUNS), "{said}");
    }

    fn wait_until_it_runs(&mut self) -> String {
        wait::until("dev says that a fleet runs", Duration::from_secs(60), || {
            assert!(self.process.ended().is_none(), "{}", self.process.output());
            let said = self.process.output();
            if said.contains(RUNS) && said.contains("Ctrl-C") { Ok(said) } else { Err(said) }
        })
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if self.process.ended().is_none() {
            self.interrupt();
            self.end();
        }
    }
}

/// Takes down what is not a host of the lab.
struct Down<'a>(&'a Lab, String);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.script("registry.sh", &["down", "--port", &self.1]);
        self.0.script("engine.sh", &["down"]);
    }
}

fn running(engine: &Engine) -> usize {
    engine.running("web").unwrap().len()
}

#[test]
fn dev_is_honest_and_leaves_nothing_behind() {
    let lab = Lab::enter();
    let socket = lab.script("engine.sh", &["up"]);
    let socket = socket.lines().find_map(|line| line.strip_prefix("DOCKER_SOCKET=")).unwrap().to_owned();
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [port, http_port, registry_port] = listeners.each_ref().map(|l| l.local_addr().unwrap().port());
    let [listening, http_listening, registry_listening] = listeners;
    let (ports, registry_port) = ([port, http_port], registry_port.to_string());
    let _down = Down(&lab, registry_port.clone());
    drop(registry_listening);
    lab.script("registry.sh", &["up", "--listen", "127.0.0.1", "--port", &registry_port]);
    let registry = format!("127.0.0.1:{registry_port}");
    lab.script("images.sh", &["--registry", &registry, "--only", "v1"]);
    let (engine, folder) = (Engine::new(Path::new(&socket)), lab.scratch("dev"));
    let dir: PathBuf = folder.join("try");
    let url = engine.url();

    let more = ["--registry", &registry];

    // A port that is taken, either of the two: named, with what to do, and nothing was made.
    let taken = |port: u16, flag: &str| {
        let port = format!("port {port} of 127.0.0.1");
        Dev::start(&folder, ports, &url, &[]).fails(&[&port, "in use", flag]);
        assert!(!dir.exists());
    };
    taken(port, "`--port`");
    drop(listening);
    taken(http_port, "`--http-port`");
    drop(http_listening);

    // No engine: it is said at once, and nothing was made.
    let nowhere = format!("unix://{}", folder.join("none.sock").display());
    Dev::start(&folder, ports, &nowhere, &more).fails(&["no engine answers at", &nowhere, "--engine"]);
    assert!(!dir.exists());

    // An engine that says nothing: no fleet that runs.
    let silent = folder.join("silent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let deaf = format!("unix://{}", silent.display());
    Dev::start(&folder, ports, &deaf, &more).fails(&["not ready", "engine", &deaf, "windlass-agent.log"]);
    drop(listener);

    // A program that ends says why, and where its log is.
    let settings = dir.join("server/server.toml");
    let good = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, "nonsense = 1\n").unwrap();
    let log = dir.join("windlass-server.log");
    Dev::start(&folder, ports, &url, &[]).fails(&["`windlass-server` ended", "nonsense", path(&log)]);
    fs::write(&settings, good).unwrap();

    // With an engine: what it names answers, and Ctrl-C leaves no container.
    let mut dev = Dev::start(&folder, ports, &url, &more);
    let said = dev.wait_until_it_runs();
    let addresses: Vec<&str> = said.split_whitespace().filter(|word| word.starts_with("http://")).collect();
    assert_eq!(addresses.len(), 1, "{said}");
    let (address, page) = addresses[0].trim_start_matches("http://").split_once('/').unwrap();
    let answer = http::get(address, &format!("/{page}"), Duration::from_secs(5)).unwrap();
    assert_eq!(answer.status, 200, "{addresses:?}: {}", answer.body);
    let mut environment = environment(&folder);
    environment.push(("WINDLASS_HOME".into(), dir.join("home").into()));
    let cli = Cli::new(program("windlass"), environment);
    let manifest = Service::web(&format!("{registry}/web:v1"), 2).write(&folder, "web.yaml");
    cli.run(&["deploy", "-f", path(&manifest), "--timeout", "2m"]).expect_code(0);
    assert_eq!(running(&engine), 2);

    // An agent that dies is started again, and containers run on.
    let parent = dev.process.pid().to_string();
    let links = || {
        let log = fs::read_to_string(dir.join("windlass-agent.log")).unwrap_or_default();
        log.matches("linked to the coordinator").count()
    };
    let before = links();
    let killed = Command::new("pkill").args(["-KILL", "-P", &parent, "windlass-agent"]).status().unwrap();
    assert!(killed.success());
    wait::until("dev says that its agent is started again", Duration::from_secs(20), || {
        let said = dev.process.output();
        if said.contains("started again (1 of 5)") { Ok(()) } else { Err(said) }
    });
    // It has read its policy by then.
    wait::until("the agent is there again", Duration::from_secs(40), || {
        let now = links();
        if now > before { Ok(()) } else { Err(format!("{now} links")) }
    });
    cli.run(&["wait", "dev-1", "--timeout", "40s"]).expect_code(0);
    assert_eq!(running(&engine), 2);

    // A person starts it again for its policy. One that it cannot read is said, and nothing ends for it.
    let policy = dir.join("policy.toml");
    let good = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, "nonsense = 1\n").unwrap();
    let refused = cli.run(&["dev", "restart"]).expect_code(1);
    assert!(refused.stderr.contains("nonsense") && refused.stderr.contains("containers run on"), "{refused}");
    fs::write(&policy, good).unwrap();
    let again = cli.ok(&["dev", "restart"]);
    assert!(again.stdout.contains("the agent runs again"), "{again}");
    cli.run(&["wait", "dev-1", "--timeout", "40s"]).expect_code(0);
    let said = dev.process.output();
    assert!(said.contains("started again, as asked") && !said.contains("(2 of 5)"), "{said}");
    assert_eq!(running(&engine), 2);
    dev.interrupt();
    let status = dev.end();
    let said = dev.process.output();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("removed the containers"), "{said}");
    assert!(engine.containers("web").unwrap().is_empty());

    // The folder is kept; with --keep so are the containers, and it says how to go on.
    let mut dev = Dev::start(&folder, ports, &url, &["--keep", "--registry", &registry]);
    dev.wait_until_it_runs();
    wait::until_true("the service is back", Duration::from_secs(40), || running(&engine) == 2);
    dev.interrupt();
    dev.end();
    let said = dev.process.output();
    assert!(said.contains(&format!("windlass dev --dir {}", dir.display())), "{said}");
    assert_eq!(running(&engine), 2);
    let remove = said.lines().map(str::trim).find(|line| line.starts_with("windlass-agent ")).unwrap();
    let mut remove = words(remove.split(' '));
    remove[0] = program("windlass-agent");
    let output = Command::new(&remove[0]).args(&remove[1..]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("removed 2 containers\n") && said.contains("windlass host evict"), "{said}");
    assert!(engine.containers("web").unwrap().is_empty());
}
