//! The operator's folder, `WINDLASS_HOME` (default `~/.config/windlass`):
//!
//! ```text
//! config.toml                     contexts
//! fleets/<fleet>/root.key         signs the trust document; belongs offline
//!                release.key      signs releases
//!                operator.pem     the operator's TLS key and certificate
//!                ca.pem           the fleet's CA certificate
//!                audit.json       the newest checkpoint of the audit log that was verified
//!                trust/<n>.json   every version of the trust document that was seen
//! ```
//!
//! Folders have mode 0700 and files 0600.

mod config;
mod fleet;
mod kept;
mod revoked;

use std::path::{Path, PathBuf};

use windlass_certs::csr::{CsrError, IdentityError};
use windlass_certs::files::{self, FileError};
use windlass_certs::trust::TrustError;
use windlass_core::FleetId;

pub(crate) use config::{Config, ContextConfig};
pub(crate) use fleet::FleetHome;
pub(crate) use kept::KeptCheckpoint;

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

/// The reason why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    #[error("there is neither WINDLASS_HOME nor HOME")]
    NoHome,
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{path}` is not a configuration")]
    Malformed {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    #[error("failed to read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no fleet yet: `{0}` has no context")]
    NoContext(PathBuf),
    #[error("there is no context `{name}`")]
    UnknownContext { name: String, known: Vec<String> },
    #[error("there is no trust document of fleet `{0}` in the home folder")]
    NoTrust(FleetId),
    #[error("the trust documents of fleet `{fleet}` in the home folder do not hold")]
    Trust {
        fleet: FleetId,
        #[source]
        source: TrustError,
    },
    #[error("failed to load the operator certificate")]
    Operator(#[source] IdentityError),
    #[error("failed to use the key of a join that was begun here")]
    Joining(#[source] CsrError),
}

impl HomeError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoHome => Some("set WINDLASS_HOME to a folder of yours".to_owned()),
            Self::File(error) => error.hint(),
            Self::NoContext(_) => Some(
                "make one with `windlass init --fleet NAME --server HOST:PORT --server-dir DIR`, try it with \
                 `windlass dev`, or set WINDLASS_HOME"
                    .to_owned(),
            ),
            Self::UnknownContext { known, .. } if known.is_empty() => None,
            Self::UnknownContext { known, .. } => {
                Some(format!("there are: {}; `windlass context ls` shows their fleets", known.join(", ")))
            }
            Self::NoTrust(_) => {
                Some("copy `fleets/<fleet>/trust/` from the folder that `windlass init` wrote".to_owned())
            }
            Self::Operator(error) => error.hint(),
            Self::Malformed { .. } | Self::Read { .. } | Self::Trust { .. } | Self::Joining(_) => None,
        }
    }
}

impl Home {
    /// Finds the folder; it need not exist yet.
    pub(crate) fn find() -> Result<Self, HomeError> {
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = from("WINDLASS_HOME")
            .or_else(|| from("HOME").map(|home| home.join(".config").join("windlass")))
            .ok_or(HomeError::NoHome)?;
        Ok(Self { root })
    }

    /// A home somewhere else, for `dev`.
    pub(crate) const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// The contexts; none if nothing was written yet.
    pub(crate) fn config(&self) -> Result<Config, HomeError> {
        let path = self.config_path();
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|source| HomeError::Malformed { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
            Err(source) => Err(HomeError::Read { path, source }),
        }
    }

    /// Replaces the contexts.
    pub(crate) fn save(&self, config: &Config) -> Result<(), HomeError> {
        files::create_private_dir(&self.root)?;
        Ok(files::replace_secret(&self.config_path(), config.to_toml().as_bytes())?)
    }

    /// The folder of one fleet.
    pub(crate) fn fleet(&self, fleet: &FleetId) -> FleetHome {
        FleetHome::new(self.root.join("fleets").join(fleet.as_str()), fleet.clone())
    }

    fn config_path(&self) -> PathBuf {
        self.root.join("config.toml")
    }
}
