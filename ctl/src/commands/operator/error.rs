//! Reasons for which somebody does not become an operator, and their hints.

use std::path::PathBuf;

use windlass_certs::csr::IdentityError;
use windlass_certs::join::InvalidToken;
use windlass_certs::trust::TrustError;
use windlass_core::{FleetId, Timestamp};

use crate::error::Failure;

/// The reason why somebody did not become an operator here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorError {
    #[error(transparent)]
    Token(#[from] InvalidToken),
    #[error("failed to read the token from stdin")]
    Stdin(#[source] std::io::Error),
    #[error("the coordinator's trust documents are not those that the token names")]
    Trust(#[source] TrustError),
    #[error("the trust document does not name the CA of the token")]
    WrongCa,
    #[error("the trust document does not name the CA in `{}`", .0.display())]
    OtherCa(PathBuf),
    #[error("the token was good until {0}")]
    Over(Timestamp),
    #[error("the coordinator answered without the certificate that was asked for")]
    Certificate(#[source] IdentityError),
    #[error("there is an operator certificate of fleet `{fleet}` here already, of `{name}`")]
    Exists { fleet: FleetId, name: String },
    #[error("there is a context `{name}` already, of fleet `{fleet}`")]
    ContextExists { name: String, fleet: FleetId },
}

impl Failure for OperatorError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Over(_) => Some("ask an admin for a new one; if it is new, set this machine's clock".to_owned()),
            Self::Certificate(error) => error.hint(),
            Self::Token(_) => Some(
                "ask an admin for one with `windlass operator invite NAME --role ROLE`, and pass it on whole, on one line"
                    .to_owned(),
            ),
            Self::Trust(_) | Self::WrongCa => Some(
                "token and coordinator do not belong together: compare with the admin who made the token".to_owned(),
            ),
            Self::OtherCa(_) => Some(
                "--ca is the folder `ca` of this fleet's coordinator, like --ca server/ca, or of its backup".to_owned(),
            ),
            Self::Exists { .. } => Some("replace it with --replace, or use another WINDLASS_HOME".to_owned()),
            Self::ContextExists { .. } => Some("choose another name with --context".to_owned()),
            Self::Stdin(_) => None,
        }
    }
}
