//! The reasons for which a coordinator does not start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use windlass_certs::files::FileError;
use windlass_certs::tls::{BindError, TlsError};

use crate::authority::AuthorityError;
use crate::config::ConfigError;
use crate::ledger::LoadError;
use crate::store::StoreError;

/// The reason for which a coordinator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder's owner or mode.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// Its data folder.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There must have been a store.
    #[error("the store `{path}` is gone: {why}", path = path.display())]
    StoreGone {
        /// The missing path.
        path: PathBuf,
        /// The data folder.
        data: PathBuf,
        /// The newest backup beside it.
        backup: Option<PathBuf>,
        /// The evidence of it.
        why: String,
    },
    /// The content of the store.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its own certificate.
    #[error("failed to issue the coordinator's own certificate")]
    Certificate(#[from] windlass_certs::ca::CaError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener for agents and operators.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The listener for metrics.
    #[error("failed to listen on {address} for HTTP")]
    Http {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The client that asks providers for gates.
    #[error("failed to set up the client that asks the providers of gates")]
    Gates(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The gRPC services.
    #[error("failed to set up the services")]
    Services(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StartError {
    /// The next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint().map(str::to_owned),
            Self::Folder(error) => error.hint(),
            Self::Authority(error) => error.hint(),
            Self::Store(error) => error.hint().map(str::to_owned),
            Self::StoreGone { data, backup, .. } => Some(store_gone(data, backup.as_ref())),
            Self::Load(error) => error.hint().map(str::to_owned),
            Self::Bind(error) => error.hint().map(str::to_owned),
            Self::Http { .. } => Some("choose another address with --http".to_owned()),
            Self::Certificate(_) | Self::Tls(_) | Self::Services(_) | Self::Gates(_) => None,
        }
    }
}

/// The next step about a store that is gone.
fn store_gone(data: &Path, backup: Option<&PathBuf>) -> String {
    let data = data.display();
    let file = backup.map_or_else(|| "FILE".to_owned(), |file| file.display().to_string());
    format!(
        "restore a backup: `windlass-server --data {data} store import {file}`; to begin with nothing, as a fleet does that \
         never ran, and to forget what hosts run: `windlass-server --data {data} store new`"
    )
}
