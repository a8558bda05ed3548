//! `install` and `uninstall`: the agent as a systemd service. Neither touches a container, the agent's folder or the
//! host policy.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::Config;

/// The unit as the repository ships it; folders are filled in.
const UNIT: &str = include_str!("../../deploy/windlass-agent.service");
const SHIPPED_COMMAND: &str = "ExecStart=/usr/local/bin/windlass-agent run --data /var/lib/windlass/agent --policy /etc/windlass/policy.toml";
const SERVICE: &str = "windlass-agent.service";

/// The places of program, unit and policy.
#[derive(Debug, Clone)]
pub struct Places {
    root: PathBuf,
}

/// The reason that it is not installed, or not uninstalled.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A file could not be written or removed.
    #[error("failed to {doing} `{path}`")]
    File {
        /// The step that failed.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `systemctl` could not be run.
    #[error("failed to run `systemctl {0}`")]
    Systemctl(String, #[source] io::Error),
    /// `systemctl` returned an error.
    #[error("`systemctl {0}` failed")]
    Refused(String),
    /// A folder that a unit cannot name.
    #[error("`{0}` cannot stand in a systemd unit")]
    Path(PathBuf),
}

impl InstallError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run as root".to_owned())
            }
            Self::File { .. } => None,
            Self::Systemctl(..) => {
                Some("without systemd, have your supervisor run `windlass-agent run`".to_owned())
            }
            Self::Refused(_) => Some(format!("see `journalctl -u {SERVICE}`")),
            Self::Path(_) => Some("use a path of letters, digits and `/._-`".to_owned()),
        }
    }
}

impl Places {
    /// Below `root`: `/`, or the folder of an image that is being built.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn binary(&self) -> PathBuf {
        self.root.join("usr/local/bin/windlass-agent")
    }

    fn unit(&self) -> PathBuf {
        self.root.join("etc/systemd/system").join(SERVICE)
    }

    fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Copies `program`, writes the unit, and starts it if the host has joined. Returns a summary for people.
    pub fn install(&self, config: &Config, program: &Path) -> Result<String, InstallError> {
        let unit = unit(config)?;
        let (binary, file) = (self.binary(), self.unit());
        if fs::canonicalize(program).ok() != fs::canonicalize(&binary).ok() {
            let bytes = fs::read(program).map_err(failed("read", program))?;
            replace(&binary, &bytes, 0o755)?;
        }
        replace(&file, unit.as_bytes(), 0o644)?;
        let mut done = format!("wrote {}\nwrote {}", binary.display(), file.display());
        if self.is_this_machine() {
            systemctl(&["daemon-reload"])?;
            if config.data.join("member.json").exists() {
                systemctl(&["enable", SERVICE])?;
                systemctl(&["restart", SERVICE])?; // a running one is replaced by the new program
                done.push_str("\nstarted");
            } else {
                done.push_str(
                    "\nnext: `windlass-agent join …`, then `systemctl enable --now windlass-agent`",
                );
            }
        }
        Ok(done)
    }

    /// Stops the service and removes unit and program.
    pub fn uninstall(&self, config: &Config) -> Result<String, InstallError> {
        let (binary, file) = (self.binary(), self.unit());
        if self.is_this_machine() && file.exists() {
            systemctl(&["disable", "--now", SERVICE])?;
        }
        for path in [&file, &binary] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let (data, policy) = (config.data.display(), config.policy.display());
        Ok(format!(
            "removed {} and {}\nkept: what runs, {data}, {policy}\nto leave the fleet: `windlass host evict HOST`",
            file.display(),
            binary.display()
        ))
    }
}

/// The unit with this configuration in its command.
fn unit(config: &Config) -> Result<String, InstallError> {
    let plain = |path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match path.to_str() {
            Some(text) if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:".contains(&b)) => {
                Ok(text.to_owned())
            }
            Some(_) | None => Err(InstallError::Path(path)),
        }
    };
    let (data, policy) = (plain(&config.data)?, plain(&config.policy)?);
    let socket = plain(config.engine_socket())?;
    let mut command = format!(
        "ExecStart=/usr/local/bin/windlass-agent run --data {data} --policy {policy} --engine unix://{socket}"
    );
    if let Some(server) = &config.server {
        command.push_str(&format!(" --server {server}"));
    }
    let mut unit = UNIT.replace(SHIPPED_COMMAND, &command);
    if data != "/var/lib/windlass/agent" {
        // The shipped unit lets it write below its StateDirectory only.
        unit = unit.replace("StateDirectory=windlass/agent\n", &format!("ReadWritePaths={data}\n"));
        unit = unit.replace("StateDirectoryMode=0700\n", "");
    }
    Ok(unit)
}

/// Writes a file beside `path` and renames it: a program that runs is never half written.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let beside = path.with_extension("new");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&beside, path)).map_err(failed("write", path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { doing, path, source }
}

fn systemctl(words: &[&str]) -> Result<(), InstallError> {
    let status = Command::new("systemctl").args(words).status();
    match status.map_err(|error| InstallError::Systemctl(words.join(" "), error))?.success() {
        true => Ok(()),
        false => Err(InstallError::Refused(words.join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(data: &str) -> Config {
        Config {
            data: data.into(),
            engine: "unix:///var/run/docker.sock".to_owned(),
            policy: "/etc/windlass/policy.toml".into(),
            server: None,
            ingress_socket: None,
            metrics: None,
        }
    }

    #[test]
    fn the_shipped_unit_is_filled_in() {
        assert!(UNIT.contains(SHIPPED_COMMAND), "the unit in deploy/ has another command");
        let unit = unit(&config("/srv/agent")).unwrap();
        assert!(
            unit.contains("--data /srv/agent --policy /etc/windlass/policy.toml --engine unix:///var/run")
        );
        assert!(unit.contains("ReadWritePaths=/srv/agent\n") && !unit.contains("StateDirectory"));
        let error = super::unit(&config("/srv/a b\nExecStart=/x")).unwrap_err();
        assert!(matches!(error, InstallError::Path(_)));
    }

    /// The complaints of systemd about units, each a file and its text.
    fn complaints(units: &[(&str, String)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]);
        for (name, text) in units {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Programs that are there, as the shipped ones are not here.
            let text = text.replace("/usr/local/bin/windlass-agent", "/bin/sh");
            fs::write(&path, text.replace("/usr/local/bin/windlass-server", "/bin/sh")).unwrap();
            if name.ends_with(".service") {
                verify.arg(path);
            }
        }
        let told = verify.output().unwrap();
        let told = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
        let ours = told.lines().filter(|line| line.contains("windlass-"));
        ours.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn systemd_finds_no_fault_in_the_shipped_units() {
        if Command::new("systemd-analyze").arg("--version").output().is_err() {
            return eprintln!("LEFT OUT: units, because systemd-analyze is not installed");
        }
        let of = |name: &str| {
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)).unwrap()
        };
        let (agent, server) = (of("windlass-agent.service"), of("windlass-server.service"));
        let ingress = of("ingress/windlass-ingress@.service");
        let found = complaints(&[
            ("windlass-agent.service.d/ingress.conf", of("ingress/agent.conf")),
            ("windlass-agent.service", agent.clone()),
            ("windlass-server.service", server),
            ("windlass-ingress@a.service", ingress.clone()),
        ]);
        assert_eq!(found, "");
        let found = complaints(&[("windlass-agent.service", unit(&config("/srv/agent")).unwrap())]);
        assert_eq!(found, "", "as it is installed");
        // It would complain.
        for (name, text) in [("windlass-agent.service", agent), ("windlass-ingress@a.service", ingress)] {
            let misspelt = text.replace("NoNewPrivileges=", "NoNewPrivilege=");
            assert!(complaints(&[(name, misspelt)]).contains("NoNewPrivilege"), "{name}");
        }
    }

    /// A start of a container, a kill of a probe's command, a look at the engine's process: see `fleet.rs` of the scenarios, whose
    /// agents have no other capabilities than these.
    #[test]
    fn the_unit_bounds_capabilities() {
        let bounds: Vec<&str> =
            UNIT.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet=")).collect();
        let [bound] = bounds[..] else { panic!("{bounds:?}") };
        let mut named: Vec<&str> = bound.split(' ').collect();
        named.sort_unstable();
        let wanted = ["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "KILL", "SYS_PTRACE"];
        assert_eq!(named, wanted.map(|name| format!("CAP_{name}")));
        let guide = include_str!("../../docs/guide.md");
        let row = guide.lines().find(|line| line.starts_with("| `windlass-agent.service`")).unwrap();
        assert!(named.iter().all(|name| row.contains(&format!("`{name}`"))), "the guide says others: {row}");
    }

    #[test]
    fn what_was_installed_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        fs::write(&program, b"agent").unwrap();
        let (places, config) = (Places::below(&dir.path().join("root")), config("/var/lib/windlass/agent"));
        for _ in 0..2 {
            places.install(&config, &program).unwrap();
        }
        assert_eq!(fs::read(places.binary()).unwrap(), b"agent");
        assert!(places.unit().exists());
        for _ in 0..2 {
            assert!(places.uninstall(&config).unwrap().contains("kept: what runs"));
        }
        assert!(!places.unit().exists() && !places.binary().exists() && program.exists());
    }
}
