//! The failure of a command: the error of the part that failed, and the next step.

use crate::clear::ClearError;
use crate::config::ConfigError;
use crate::data::DataError;
use crate::document_store::OpenError;
use crate::import::ImportError;
use crate::ingress::IngressError;
use crate::install::InstallError;
use crate::join::JoinError;
use crate::member::MemberError;
use crate::policy::PolicyError;
use crate::run::RunError;

/// The failure of a command. Printed as *what failed · why · hint*.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `join` does not know where to.
    #[error("no coordinator is named, neither by a flag nor by the token")]
    NoServer,
    /// Which of this host's addresses leads to the coordinator cannot be found out.
    #[error("failed to find out which address of this host leads to `{server}`")]
    OwnAddress {
        /// The coordinator.
        server: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Joining.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The host policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The agent's folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Membership.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The state that an earlier run stored.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Importing a trust document.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Installing the service, or removing it.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Removing containers.
    #[error(transparent)]
    Clear(#[from] ClearError),
    /// Running.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The ingress.
    #[error(transparent)]
    Ingress(#[from] IngressError),
    /// Logging.
    #[error("failed to set up logging")]
    Logging(#[from] windlass_process::logging::LoggingError),
    /// Stdout, or the runtime.
    #[error("failed to talk to the system")]
    System(#[from] std::io::Error),
    /// `doctor` found something; it has said what.
    #[error("some checks failed")]
    Unwell,
}

impl Failure {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::NoServer => Some("say which fleet to join: `--server deploy.example.com:7443`".to_owned()),
            Self::OwnAddress { .. } => Some(
                "is the coordinator's name right? Else give the address: `--address 10.0.0.5`".to_owned(),
            ),
            Self::Join(error) => error.hint(),
            Self::Policy(error) => error.hint(),
            Self::Data(error) => error.hint(),
            Self::Member(error) => error.hint(),
            Self::Open(error) => error.hint(),
            Self::Import(error) => error.hint(),
            Self::Install(error) => error.hint(),
            Self::Clear(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Ingress(error) => error.hint(),
            Self::Logging(_) | Self::System(_) | Self::Unwell => None,
        }
    }
}
