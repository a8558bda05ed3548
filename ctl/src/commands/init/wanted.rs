//! The fleet that `init` is asked for, its keys, and the reasons why none is made.

use std::path::PathBuf;

use windlass_certs::keys::SigningKey;
use windlass_certs::trust::InvalidTrust;
use windlass_core::FleetId;

use crate::args::InitArgs;
use crate::error::{CtlError, Failure};
use crate::shell::quote;

/// The wanted fleet.
pub(crate) struct Wanted<'a> {
    pub(crate) args: &'a InitArgs,
    pub(crate) server: String,
    pub(crate) context: String,
    pub(crate) environment: Option<windlass_core::EnvironmentId>,
}

/// The document keys of a fleet: one key, one purpose.
pub(super) struct Keys {
    pub(super) root: SigningKey,
    pub(super) release: SigningKey,
    pub(super) dispatch: SigningKey,
    pub(super) audit: SigningKey,
    pub(super) revoke: SigningKey,
}

impl Keys {
    pub(super) fn generate() -> Result<Self, CtlError> {
        Ok(Self {
            root: SigningKey::generate()?,
            release: SigningKey::generate()?,
            dispatch: SigningKey::generate()?,
            audit: SigningKey::generate()?,
            revoke: SigningKey::generate()?,
        })
    }
}

/// The reason why no fleet was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("there is a fleet already: `{path}` exists")]
    Exists { path: PathBuf },
    #[error("there is a context `{name}` already, of fleet `{fleet}`")]
    ContextExists { name: String, fleet: FleetId },
    #[error("the trust document would not be valid")]
    Trust(#[from] InvalidTrust),
    #[error("failed to make `{path}`")]
    Make {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Failure for InitError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { path } => Some(format!(
                "`init` never overwrites keys: choose other names, or move `{}` away; a fleet whose keys are in the home folder \
                 gets its context back with `windlass context add`",
                path.display()
            )),
            Self::ContextExists { name, .. } => Some(format!(
                "if it is the fleet that you mean, go on with it: `windlass status --context {0}`; for another one choose --fleet and --context",
                quote(name)
            )),
            Self::Trust(_) => Some("is --server `host:port`?".to_owned()),
            Self::Make { .. } => None,
        }
    }
}
