//! The settings of the coordinator: `server.toml` in its data folder, then `WINDLASS_*`, then flags. After
//! [`Config::load`] nothing can be nonsense.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use windlass_core::{HostId, Span};

use crate::gates::Networks;

const FILE: &str = "server.toml";

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that `windlass init` made: CA, keys, trust document; the store is kept there too.
    pub data: PathBuf,
    /// The address for agents and operators.
    pub listen: SocketAddr,
    /// The address of metrics and health; none if absent.
    pub http: Option<SocketAddr>,
    /// The coordinator's own name, in its certificate.
    pub name: HostId,
    /// The validity of certificates.
    pub lifetimes: Lifetimes,
    /// When a host counts as gone.
    pub liveness: LivenessRules,
    /// The longest time of a stop.
    pub grace: Duration,
    /// Time between two copies of the store.
    pub backup_every: Duration,
    /// Networks at which gates may ask providers, beside public addresses.
    pub gates: Networks,
    /// The detail of `/metrics`.
    pub metrics: Detail,
}

/// The detail of `/metrics`. Each one includes the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// The coordinator and sums, and no name of a host or service.
    Fleet,
    /// Hosts, services and their rollouts.
    Services,
    /// Every instance.
    #[default]
    Instances,
}

/// The validity of certificates.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Agents'.
    pub agent: Duration,
    /// Operators'.
    pub operator: Duration,
    /// The coordinator's own.
    pub coordinator: Duration,
}

/// When a host counts as gone.
#[derive(Debug, Clone, Copy)]
pub struct LivenessRules {
    /// Interval of heartbeats that agents are asked for.
    pub heartbeat: Duration,
    /// Not heard of for so long: suspect.
    pub suspect: Duration,
    /// Not heard of for so long: lost.
    pub lost: Duration,
    /// For so long after a start, a host that was not heard of is unknown, and nothing is done about it.
    pub unknown: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self { agent: hours(24), operator: hours(8), coordinator: hours(24) }
    }
}

impl Default for LivenessRules {
    fn default() -> Self {
        Self {
            heartbeat: windlass_proto::limits::HEARTBEAT,
            suspect: Duration::from_secs(15),
            lost: Duration::from_secs(30),
            unknown: Duration::from_secs(60),
        }
    }
}

/// Values of flags and variables; they win over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--http`.
    pub http: Option<SocketAddr>,
}

/// The reason for which there is no configuration.
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
    /// The file is not what it should be.
    #[error("`{path}` is not a configuration")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// The place and the reason.
        #[source]
        source: toml::de::Error,
    },
    /// A value that makes no sense beside the others.
    #[error("`{field}` {problem}")]
    Nonsense {
        /// Which.
        field: &'static str,
        /// The mistake.
        problem: &'static str,
    },
}

impl ConfigError {
    /// The next step of the user.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some(
                "name the coordinator's folder with --data; a new fleet gets one from `windlass init --server-dir DIR`",
            ),
            Self::Malformed { .. } | Self::Nonsense { .. } => None,
        }
    }
}

/// The file as it is written. An absent key has its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    listen: Option<SocketAddr>,
    http: Option<SocketAddr>,
    name: Option<HostId>,
    certificates: RawLifetimes,
    liveness: RawLiveness,
    grace: Option<Span>,
    backups: RawBackups,
    gates: RawGates,
    metrics: RawMetrics,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawGates {
    allow: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawMetrics {
    detail: Detail,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawBackups {
    every: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLifetimes {
    agent: Option<Span>,
    operator: Option<Span>,
    coordinator: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLiveness {
    heartbeat: Option<Span>,
    suspect: Option<Span>,
    lost: Option<Span>,
    unknown: Option<Span>,
}

impl Config {
    /// Reads `server.toml` in `data` and lets `overrides` win.
    pub fn load(data: &Path, overrides: Overrides) -> Result<Self, ConfigError> {
        let path = data.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        let raw: RawConfig =
            toml::from_str(&text).map_err(|source| ConfigError::Malformed { path, source })?;
        Self::sense(data, raw, overrides)
    }

    fn sense(data: &Path, raw: RawConfig, overrides: Overrides) -> Result<Self, ConfigError> {
        let or = |span: Option<Span>, default: Duration| span.map_or(default, Span::duration);
        let (lives, live) = (Lifetimes::default(), LivenessRules::default());
        let config = Self {
            data: data.to_owned(),
            listen: overrides.listen.or(raw.listen).unwrap_or(SocketAddr::from(([0, 0, 0, 0], 7443))),
            http: overrides.http.or(raw.http),
            name: raw.name.unwrap_or_else(|| "coordinator".parse().expect("a name")),
            lifetimes: Lifetimes {
                agent: or(raw.certificates.agent, lives.agent),
                operator: or(raw.certificates.operator, lives.operator),
                coordinator: or(raw.certificates.coordinator, lives.coordinator),
            },
            liveness: LivenessRules {
                heartbeat: or(raw.liveness.heartbeat, live.heartbeat),
                suspect: or(raw.liveness.suspect, live.suspect),
                lost: or(raw.liveness.lost, live.lost),
                unknown: or(raw.liveness.unknown, live.unknown),
            },
            grace: or(raw.grace, Duration::from_secs(8)),
            backup_every: or(raw.backups.every, Duration::from_secs(6 * 3600)),
            gates: Networks::read(&raw.gates.allow)
                .map_err(|error| ConfigError::Nonsense { field: "gates.allow", problem: error.words() })?,
            metrics: raw.metrics.detail,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let nonsense = |field, problem| Err(ConfigError::Nonsense { field, problem });
        let live = &self.liveness;
        if live.heartbeat.is_zero() {
            return nonsense("liveness.heartbeat", "must not be 0");
        }
        if live.suspect < 2 * live.heartbeat {
            return nonsense("liveness.suspect", "must be at least twice the heartbeat");
        }
        if live.lost <= live.suspect {
            return nonsense("liveness.lost", "must be longer than `liveness.suspect`");
        }
        let lives = &self.lifetimes;
        if [lives.agent, lives.operator, lives.coordinator].iter().any(|life| life.as_secs() < 2) {
            return nonsense("certificates", "must be valid for 2s at least");
        }
        if self.backup_every.as_secs() < 1 {
            return nonsense("backups.every", "must be 1s at least");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        Config::load(folder.path(), Overrides::default())
    }

    #[test]
    fn an_empty_file_is_all_defaults_and_flags_win() {
        let config = read("").unwrap();
        assert_eq!(config.listen.port(), 7443);
        assert_eq!(config.http, None);
        assert_eq!(config.lifetimes.operator, Duration::from_secs(8 * 3600));
        assert_eq!(config.metrics, Detail::Instances);
        assert_eq!(read("[metrics]\ndetail = \"fleet\"").unwrap().metrics, Detail::Fleet);
        let config = read("listen = \"127.0.0.1:1\"\n[certificates]\nagent = \"10s\"").unwrap();
        assert_eq!((config.listen.port(), config.lifetimes.agent.as_secs()), (1, 10));
    }

    #[test]
    fn nonsense_is_named() {
        let table = [
            ("listne = 1", "is not a configuration"),
            ("[liveness]\nsuspect = \"9s\"", "`liveness.suspect` must be at least twice the heartbeat"),
            ("[liveness]\nlost = \"15s\"", "`liveness.lost` must be longer than `liveness.suspect`"),
            ("[backups]\nevery = \"10ms\"", "`backups.every` must be 1s at least"),
            ("[gates]\nallow = [\"10.0.0.1\"]", "`gates.allow` must be networks like `10.0.0.0/8`"),
            ("[certificates]\nagent = \"1s\"", "`certificates` must be valid for 2s at least"),
        ];
        for (text, want) in table {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        let missing = Config::load(Path::new("/nonexistent"), Overrides::default()).unwrap_err();
        assert!(missing.hint().unwrap().contains("windlass init"));
    }
}
