//! The reasons why there is no connection.

use windlass_certs::tls::{ConnectError, TlsError};
use windlass_certs::trust::TrustError;

use crate::client::CallError;
use crate::error::Failure;
use crate::home::HomeError;
use crate::invitation::Mismatch;

/// The reason why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("failed to set up TLS")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Renew(CallError),
    #[error("failed to renew the operator certificate")]
    Request(#[source] windlass_certs::csr::CsrError),
    #[error("the coordinator sent a certificate that is not ours")]
    NotOurs(#[source] windlass_certs::csr::IdentityError),
    #[error("the coordinator's trust documents do not follow from ours")]
    Trust(#[source] TrustError),
    #[error("the coordinator answered with a token that is not ours; it is not shown")]
    Token(#[source] Mismatch),
}

impl Failure for SessionError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Home(error) => error.hint(),
            Self::Connect(error) => error.hint().map(str::to_owned),
            Self::Renew(error) => error.hint().or_else(|| {
                Some("ask an admin; past 30 days a certificate cannot be renewed any more".to_owned())
            }),
            Self::NotOurs(error) => error.hint(),
            Self::Trust(_) | Self::Token(_) => {
                Some("do not use this coordinator before an admin has looked at it".to_owned())
            }
            Self::Tls(_) | Self::Request(_) => None,
        }
    }
}
