//! The reasons for which the ingress does not run, or no longer.

use std::path::PathBuf;

use windlass_ingress::BadCertificates;

use super::state::StateError;

/// The reason for which the ingress does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// Its folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// An address is taken, or not one of this machine.
    #[error("failed to listen on {address}")]
    Bind {
        /// Which.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// HTTPS without certificates, or none that can be used.
    #[error(transparent)]
    Certificates(#[from] BadCertificates),
    /// `--https` without `--certs`.
    #[error("`--https` needs certificates")]
    NoCertificates,
    /// Nothing to listen on.
    #[error("no address is given on which the ingress would serve")]
    NoAddress,
    /// The socket's folder and the stored state are both missing.
    #[error("the folder of the agent's socket `{socket}` does not exist, and no earlier ingress left tables")]
    NoAgent {
        /// The socket.
        socket: PathBuf,
    },
    /// The process before did not hand over.
    #[error("failed to take over from the ingress that runs with `{folder}`")]
    TakeOver {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The access log.
    #[error("failed to open the access log `{path}`")]
    AccessLog {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A task ended.
    #[error("the ingress stopped")]
    Task(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl IngressError {
    /// The user's next step.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::State(error) => error.hint(),
            Self::Bind { address, .. } if address.port() < 1024 => {
                Some("ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned())
            }
            Self::Bind { .. } | Self::Certificates(_) | Self::AccessLog { .. } => None,
            Self::NoCertificates => {
                Some("give a folder with NAME.crt and NAME.key files: `--certs DIR`".to_owned())
            }
            Self::NoAddress => Some("give `--http 0.0.0.0:80`, `--https 0.0.0.0:443`, or both".to_owned()),
            Self::NoAgent { .. } => {
                Some("name the folder of an agent that has joined: `--data DIR`".to_owned())
            }
            Self::TakeOver { .. } => {
                Some("that process goes on as before; try again, or stop it first".to_owned())
            }
            Self::Task(_) => Some("start it again: it goes on by its last tables".to_owned()),
        }
    }
}
