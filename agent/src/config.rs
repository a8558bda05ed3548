//! The configuration of the agent: a TOML file, then `WINDLASS_*` variables, then flags, the last one wins.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "/etc/windlass/agent.toml";
const DEFAULT_DATA: &str = "/var/lib/windlass/agent";
const DEFAULT_ENGINE: &str = "unix:///var/run/docker.sock";
const DEFAULT_POLICY: &str = "/etc/windlass/policy.toml";
/// A configuration file is short; a longer one is something else.
const MAX_LEN: u64 = 64 * 1024;

/// The values of flags and variables (clap reads both); `None` where none is given.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct Given {
    /// Configuration file (TOML: data, engine, policy, server, ingress_socket, metrics) [default: /etc/windlass/agent.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "WINDLASS_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Folder with the agent's identity and state [default: /var/lib/windlass/agent]
    #[arg(long, value_name = "DIR", env = "WINDLASS_DATA", global = true)]
    pub data: Option<PathBuf>,
    /// Docker Engine [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "URL", env = "WINDLASS_ENGINE", global = true)]
    pub engine: Option<String>,
    /// Host policy: what may run here at all [default: /etc/windlass/policy.toml]
    #[arg(long, value_name = "FILE", env = "WINDLASS_POLICY", global = true)]
    pub policy: Option<PathBuf>,
    /// Coordinator [default: the one given at join, then those of the trust document]
    #[arg(long, value_name = "HOST:PORT", env = "WINDLASS_SERVER", global = true)]
    pub server: Option<String>,
    /// Socket between agent and ingress [default: DATA/ingress.sock]
    #[arg(long, value_name = "FILE", env = "WINDLASS_INGRESS_SOCKET", global = true)]
    pub ingress_socket: Option<PathBuf>,
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder with the agent's identity and state.
    pub data: PathBuf,
    /// The engine's socket.
    pub engine: String,
    /// The host policy's file.
    pub policy: PathBuf,
    /// A coordinator to be asked before all others.
    pub server: Option<String>,
    /// The socket between agent and ingress, if it is not in the agent's folder.
    pub ingress_socket: Option<PathBuf>,
    /// The address of `/metrics`; `None` if it is not served.
    pub metrics: Option<SocketAddr>,
}

/// The reason that there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("`{path}` is not a configuration of the agent")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// The place and the reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Not an engine we can talk to.
    #[error("`{0}` is not an engine address")]
    Engine(String),
    /// Not an address.
    #[error("`{0}` is not an address of the form `host:port`")]
    Address(String),
}

impl ConfigError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Malformed { .. } => {
                Some("known keys: data, engine, policy, server, ingress_socket, metrics".to_owned())
            }
            Self::Engine(_) => Some("give a socket, like `unix:///var/run/docker.sock`".to_owned()),
            Self::Address(_) => Some("give host and port, like `deploy.example.com:7443`".to_owned()),
        }
    }
}

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    data: Option<PathBuf>,
    engine: Option<String>,
    policy: Option<PathBuf>,
    server: Option<String>,
    ingress_socket: Option<PathBuf>,
    metrics: Option<SocketAddr>,
}

impl Config {
    /// Reads the file, lays variables and flags over it, and checks the result.
    pub fn resolve(given: &Given) -> Result<Self, ConfigError> {
        let raw = match &given.config {
            Some(path) => read(path)?,
            None if Path::new(DEFAULT_FILE).exists() => read(Path::new(DEFAULT_FILE))?,
            None => Raw::default(),
        };
        let engine = given.engine.clone().or(raw.engine).unwrap_or_else(|| DEFAULT_ENGINE.to_owned());
        if !engine.strip_prefix("unix://").is_some_and(|path| path.starts_with('/')) {
            return Err(ConfigError::Engine(engine));
        }
        let server = given.server.clone().or(raw.server);
        if let Some(address) = &server {
            check_address(address)?;
        }
        Ok(Self {
            data: given.data.clone().or(raw.data).unwrap_or_else(|| DEFAULT_DATA.into()),
            engine,
            policy: given.policy.clone().or(raw.policy).unwrap_or_else(|| DEFAULT_POLICY.into()),
            server,
            ingress_socket: given.ingress_socket.clone().or(raw.ingress_socket),
            metrics: raw.metrics,
        })
    }

    /// Path of the socket between agent and ingress.
    pub fn ingress_socket(&self) -> PathBuf {
        self.ingress_socket.clone().unwrap_or_else(|| self.data.join("ingress.sock"))
    }

    /// Path of the engine's socket.
    pub fn engine_socket(&self) -> &Path {
        Path::new(self.engine.strip_prefix("unix://").unwrap_or(&self.engine))
    }
}

/// `host:port`, with a port that is one.
pub fn check_address(address: &str) -> Result<(), ConfigError> {
    let bad = || ConfigError::Address(address.chars().take(120).collect());
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    let plain = !host.is_empty() && host.len() <= 253 && host.bytes().all(|b| b.is_ascii_graphic());
    if plain && port != 0 && !host.contains('/') { Ok(()) } else { Err(bad()) }
}

fn read(path: &Path) -> Result<Raw, ConfigError> {
    let text = crate::data::read_bounded(path, MAX_LEN)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&text);
    toml::from_str(&text)
        .map_err(|source| ConfigError::Malformed { path: path.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        std::fs::write(&path, "data = \"/a\"\nengine = \"unix:///e.sock\"\nserver = \"x:1\"").unwrap();
        let given = Given { config: Some(path), data: Some("/b".into()), ..Given::default() };
        let config = Config::resolve(&given).unwrap();
        assert_eq!(config.data, Path::new("/b"));
        assert_eq!(config.engine_socket(), Path::new("/e.sock"));
        assert_eq!(config.policy, Path::new(DEFAULT_POLICY));
        assert_eq!(config.server.as_deref(), Some("x:1"));
    }

    #[test]
    fn nonsense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        std::fs::write(&path, "date = 1").unwrap();
        let file = Given { config: Some(path), ..Given::default() };
        assert!(matches!(Config::resolve(&file), Err(ConfigError::Malformed { .. })));
        let engine = Given { engine: Some("tcp://1.2.3.4:2375".to_owned()), ..Given::default() };
        assert!(matches!(Config::resolve(&engine), Err(ConfigError::Engine(_))));
        for address in ["", "host", "host:", ":1", "host:0", "host:70000", "a b:1", "http://x:1"] {
            assert!(check_address(address).is_err(), "{address}");
        }
        assert!(check_address("[::1]:7443").is_ok());
    }
}
