//! Calls of `docker-compose` on the engine of one lab host, and what is asked from that host.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::fleet::{environment, path, program};
use windlass_tests::process::words;
use windlass_tests::{Cli, Host, Lab, Output, wait};

const PROJECT: &str = "trial";
const UP: Duration = Duration::from_secs(60);

/// The trial. The lab takes its host down, and with it all that a failed scenario leaves.
pub(crate) struct Trial {
    compose: Cli,
    images: Cli,
    host: Host,
    _lab: Lab,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

impl Trial {
    /// On a host of its own; nothing is built yet.
    pub(crate) fn new(name: &str) -> Self {
        let lab = Lab::enter();
        let host = lab.hosts(1).remove(0);
        let mut variables = environment(&lab.scratch(name));
        let programs = PathBuf::from(program("windlass")).parent().unwrap().to_owned();
        let more: [(&str, OsString); 4] = [
            ("DOCKER_HOST", host.engine.url().into()),
            ("COMPOSE_PROJECT_NAME", PROJECT.into()),
            ("COMPOSE_FILE", root().join("docker-compose.yml").into()),
            ("WINDLASS_BIN", programs.into()),
        ];
        variables.extend(more.map(|(name, value)| (name.into(), value)));
        let images = Cli::new(root().join("deploy/trial/images.sh").into(), variables.clone());
        Self { compose: Cli::new("docker-compose".into(), variables), images, host, _lab: lab }
    }

    /// Makes the images; a second time, none of them.
    #[track_caller]
    pub(crate) fn images(&self) {
        let made = self.images.ok(&[]).stdout;
        assert_eq!(made.lines().filter(|line| line.contains(": made")).count(), 5, "{made}");
        let again = self.images.ok(&[]).stdout;
        assert_eq!(again.lines().filter(|line| line.contains(": unchanged")).count(), 5, "{again}");
    }

    /// `docker-compose`, which must succeed.
    #[track_caller]
    pub(crate) fn compose(&self, arguments: &[&str]) {
        self.compose.ok(arguments);
    }

    /// `windlass`, as the trial's operator.
    #[track_caller]
    pub(crate) fn operator(&self, arguments: &[&str]) -> Output {
        self.compose.run(&[&["run", "--rm", "-T", "operator"], arguments].concat())
    }

    /// Waits until `host ls` shows both hosts, connected and without a complaint.
    #[track_caller]
    pub(crate) fn wait_for_hosts(&self) {
        wait::until("both hosts are healthy", UP, || {
            let listed = self.operator(&["host", "ls", "-o", "json"]);
            if listed.code != 0 {
                return Err(listed.stderr);
            }
            let hosts = listed.json();
            let is_well = |host: &Value| {
                host["state"] == "connected" && host["engine"] == "available" && host["problems"] == json!([])
            };
            let hosts = hosts.as_array().unwrap();
            let names: Vec<_> = hosts.iter().filter(|host| is_well(host)).map(|host| &host["name"]).collect();
            if names == ["h1", "h2"] { Ok(()) } else { Err(format!("{hosts:?}")) }
        });
    }

    /// Pushes the sample images to the trial's registry, where its users push theirs.
    #[track_caller]
    pub(crate) fn push_sample(&self) {
        let script = root().join("tests/lab/images.sh");
        self.host.run(&[path(&script), "--registry", "127.0.0.1:5000"]);
    }

    /// Waits until two instances are healthy and both answer with a version; says where, by slot.
    #[track_caller]
    pub(crate) fn wait_until_serving(&self, version: &str) -> Vec<(String, String)> {
        wait::until(&format!("two instances serve {version}"), UP, || {
            let asked = self.operator(&["status", "web", "-o", "json"]);
            if asked.code != 0 {
                return Err(asked.stderr);
            }
            let status = asked.json();
            let instances = status["instances"].as_array().into_iter().flatten();
            let healthy = instances.filter(|instance| instance["state"] == "healthy");
            let places: Vec<(String, String)> = healthy.filter_map(place).collect();
            for (address, port) in &places {
                let answer = self.get(&format!("http://{address}:{port}/version"))?;
                let said: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
                if said["version"] != version {
                    return Err(answer);
                }
            }
            if places.len() == 2 { Ok(places) } else { Err(status.to_string()) }
        })
    }

    /// Waits until Prometheus answers a query with one number.
    #[track_caller]
    pub(crate) fn wait_for_metric(&self, query: &str, wanted: usize) {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = format!("http://127.0.0.1:9090/api/v1/query?query={escaped}");
        wait::until(&format!("Prometheus says {query} is {wanted}"), UP, || {
            let answer: Value = serde_json::from_str(&self.get(&url)?).map_err(|error| error.to_string())?;
            let results = answer["data"]["result"].as_array().into_iter().flatten();
            let values: Vec<&Value> = results.map(|result| &result["value"][1]).collect();
            if values == [&Value::from(wanted.to_string())] { Ok(()) } else { Err(answer.to_string()) }
        });
    }

    /// Waits until a command on the machine of the trial prints `version`.
    #[track_caller]
    pub(crate) fn wait_for_answer(&self, command: &str, version: &str) {
        let line = self.host.on(command.split(' ').map(Into::into).collect());
        wait::until(&format!("{command} says {version}"), UP, || {
            let output =
                Command::new(&line[0]).args(&line[1..]).output().map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() && said.contains(version) { Ok(()) } else { Err(said) }
        });
    }

    /// `GET`, from the machine of the trial.
    pub(crate) fn get(&self, url: &str) -> Result<String, String> {
        let command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "5", url];
        let line = self.host.on(words(command));
        let output = Command::new(&line[0]).args(&line[1..]).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// The number of containers that the engine has, of any owner.
    pub(crate) fn containers(&self) -> usize {
        self.ask("/containers/json?all=1").as_array().unwrap().len()
    }

    /// The number of the project's networks.
    pub(crate) fn networks(&self) -> usize {
        let networks = self.ask("/networks");
        let names = networks.as_array().unwrap().iter().filter_map(|network| network["Name"].as_str());
        names.filter(|name| name.starts_with(PROJECT)).count()
    }

    /// Volumes, the project's and any other.
    pub(crate) fn volumes(&self) -> Vec<String> {
        let volumes = self.ask("/volumes");
        let all = volumes["Volumes"].as_array().into_iter().flatten();
        let mut names: Vec<String> =
            all.filter_map(|volume| volume["Name"].as_str().map(str::to_owned)).collect();
        names.sort();
        names
    }

    /// Returns whether nothing but its engine runs in this host's namespace.
    pub(crate) fn is_quiet(&self) -> Result<(), String> {
        let left = self.host.run(&["ss", "--listening", "--numeric", "--tcp", "--no-header"]);
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    }

    fn ask(&self, what: &str) -> Value {
        self.host.engine.ask("GET", what, "").unwrap()
    }
}

/// Address and port of an instance's only endpoint.
fn place(instance: &Value) -> Option<(String, String)> {
    let (address, port) = instance["endpoints"]["http"].as_str()?.split_once(':')?;
    Some((address.to_owned(), port.to_owned()))
}
