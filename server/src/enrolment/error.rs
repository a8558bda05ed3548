//! Reasons for which somebody got no certificate, and their hints.

use windlass_certs::ca::CaError;
use windlass_core::{HostId, OperatorName};

use crate::ledger::WriteError;

/// The reason for which somebody got no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnrolError {
    /// No such token, for this host, now.
    #[error(
        "the token is not valid: it is unknown, used, expired, of another host, or replaced by a newer token of this one"
    )]
    InvalidToken,
    /// Used before, with another key.
    #[error("the token was used before, by another key")]
    TokenReused,
    /// No such token, for this operator, now.
    #[error(
        "the token is not valid: it is unknown, used, expired, of another operator, or replaced by a newer token of this one"
    )]
    InvalidOperatorToken,
    /// Used before, with another key.
    #[error("the token was used before, by another key")]
    OperatorTokenReused,
    /// Taken out by an admin.
    #[error("operator `{0}` is revoked")]
    Revoked(OperatorName),
    /// Nobody of that name has come, or was invited.
    #[error("there is no operator `{0}`, and nobody of that name was invited")]
    NoOperator(OperatorName),
    /// Nobody takes themselves out: the last admin would be gone.
    #[error("you cannot revoke yourself")]
    Yourself,
    /// The name may never join again.
    #[error("host `{0}` is banned")]
    Banned(HostId),
    /// Not in the fleet.
    #[error("host `{0}` is not in the fleet")]
    NotAMember(HostId),
    /// Two machines with one identity.
    #[error("two machines renew as host `{0}`; neither gets a certificate")]
    Cloned(HostId),
    /// The request is by another key than the certificate.
    #[error("the request is by another key than the enrolled one")]
    OtherKey,
    /// The proof does not hold.
    #[error("the proof of the expired certificate does not hold")]
    Unproven,
    /// Expired more than 30 days ago.
    #[error("the certificate has expired too long ago")]
    TooOld,
    /// Only agents and operators renew here.
    #[error("this identity does not renew here")]
    WrongRole,
    /// Too many failures from one address.
    #[error("too many failed attempts from this address")]
    TooMany,
    /// One identity renews again and again.
    #[error("this identity was given many certificates in a short time")]
    TooOften,
    /// The address is none.
    #[error("`{0}` is neither an IP address nor a DNS name")]
    Address(String),
    /// The CA failed; the log says how.
    #[error("the certificate could not be issued")]
    Issue,
    /// Not stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl EnrolError {
    /// The refusal where the CA fails. The log says how.
    pub(super) fn issue(error: &CaError) -> Self {
        tracing::error!(%error, "failed to issue a certificate");
        Self::Issue
    }

    /// The next step of the user.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::TooOld => Some(
                "a host joins again with a token of `windlass host token HOST`; an operator is invited again by another admin, \
                 and where there is none, whoever holds the root key runs `windlass operator recover`"
                    .to_owned(),
            ),
            Self::InvalidToken | Self::TokenReused => {
                Some("make a new token with `windlass host token HOST` and join again".to_owned())
            }
            Self::InvalidOperatorToken | Self::OperatorTokenReused | Self::Revoked(_) => {
                Some("ask an admin for a new token: `windlass operator invite NAME --role ROLE`".to_owned())
            }
            Self::NoOperator(_) => Some(
                "see who there is with `windlass operator ls`; a certificate that this coordinator has never heard of, \
                 after a restore, is revoked with --unknown"
                    .to_owned(),
            ),
            Self::Yourself => Some("another admin can".to_owned()),
            Self::NotAMember(host) => {
                Some(format!("join again with a token from `windlass host token {host}`"))
            }
            Self::Cloned(host) => {
                Some(format!("`windlass host evict {host}`, then join the right machine with a new token"))
            }
            Self::Banned(_) => Some("a ban is for ever: give the machine another name".to_owned()),
            Self::TooMany => Some("wait a minute".to_owned()),
            Self::TooOften => Some("use the newest certificate; it can be renewed later".to_owned()),
            Self::OtherKey | Self::Unproven | Self::WrongRole | Self::Address(_) | Self::Issue => None,
            Self::Write(_) => None,
        }
    }
}
