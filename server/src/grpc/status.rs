//! The one place that knows gRPC codes. A hint travels beside the message, in the metadata key `windlass-hint`.

use std::error::Error;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use windlass_certs::revocation::ListError;
use windlass_core::rollout::{ApproveError, StartError};
use windlass_process::report::chain;

use crate::enrolment::EnrolError;
use crate::hosts::HostError;
use crate::ledger::WriteError;
use crate::quarantine::QuarantineError;
use crate::recovery::RecoveryError;
use crate::releases::ReleaseError;
use crate::revoked::OfferError;
use crate::rollouts::RolloutError;
use crate::services::ServiceError;
use crate::trust::PublishError;

/// The header in which a client finds the next step.
pub(crate) const HINT: &str = "windlass-hint";

/// An error of ours as a status.
pub(crate) fn refused<E: Refusal>(error: E) -> Status {
    with_hint(error.code(), chain(&error), error.hint())
}

/// An argument that cannot be parsed.
pub(crate) fn invalid(field: &'static str, error: &(dyn Error + 'static)) -> Status {
    Status::invalid_argument(format!("`{field}`: {}", chain(error)))
}

/// A status with a hint.
pub(crate) fn with_hint(code: Code, message: String, hint: Option<String>) -> Status {
    let mut metadata = MetadataMap::new();
    // Metadata is ASCII; a hint with anything else is dropped, the message stays.
    if let Some(hint) = hint.and_then(|hint| MetadataValue::try_from(hint).ok()) {
        metadata.insert(HINT, hint);
    }
    Status::with_metadata(code, message, metadata)
}

/// The end of every stream when the coordinator stops: connect again.
pub(crate) fn stopping() -> Status {
    Status::unavailable("the coordinator is stopping")
}

impl From<WriteError> for Status {
    fn from(error: WriteError) -> Self {
        refused(error)
    }
}

impl From<RecoveryError> for Status {
    fn from(error: RecoveryError) -> Self {
        refused(error)
    }
}

/// The form of an error for a client.
pub(crate) trait Refusal: Error + 'static {
    /// Which code.
    fn code(&self) -> Code;
    /// The next step.
    fn hint(&self) -> Option<String>;
}

impl Refusal for WriteError {
    fn code(&self) -> Code {
        match self {
            Self::Stopping => Code::Unavailable,
            Self::TooLarge => Code::ResourceExhausted,
        }
    }
    fn hint(&self) -> Option<String> {
        None
    }
}

impl Refusal for EnrolError {
    fn code(&self) -> Code {
        match self {
            Self::InvalidToken
            | Self::TokenReused
            | Self::InvalidOperatorToken
            | Self::OperatorTokenReused
            | Self::Unproven
            | Self::TooOld => Code::Unauthenticated,
            Self::Revoked(_) => Code::PermissionDenied,
            Self::NoOperator(_) => Code::NotFound,
            Self::Yourself => Code::FailedPrecondition,
            Self::Banned(_) | Self::NotAMember(_) | Self::Cloned(_) | Self::OtherKey | Self::WrongRole => {
                Code::PermissionDenied
            }
            Self::TooMany | Self::TooOften => Code::ResourceExhausted,
            Self::Address(_) => Code::InvalidArgument,
            Self::Issue => Code::Internal,
            Self::Write(error) => error.code(),
        }
    }
    fn hint(&self) -> Option<String> {
        Self::hint(self)
    }
}

impl Refusal for QuarantineError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown(_) | Self::UnknownRelease { .. } => Code::NotFound,
            Self::Recovering => Code::FailedPrecondition,
            Self::Write(error) => error.code(),
        }
    }
    fn hint(&self) -> Option<String> {
        Self::hint(self)
    }
}

impl Refusal for HostError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown(_) => Code::NotFound,
            Self::NotAMember(_) | Self::OtherKey(_) => Code::PermissionDenied,
            Self::Banned(_) => Code::FailedPrecondition,
            Self::Write(error) => error.code(),
        }
    }
    fn hint(&self) -> Option<String> {
        Self::hint(self)
    }
}

impl Refusal for ReleaseError {
    fn code(&self) -> Code {
        match self {
            Self::Verify(_)
            | Self::OtherFleet { .. }
            | Self::Revoked
            | Self::NameNotAllowed { .. }
            | Self::BelowFloor { .. } => Code::PermissionDenied,
            Self::Version(_) => Code::InvalidArgument,
            Self::Counter { .. } => Code::Aborted,
            Self::Reused { .. } => Code::AlreadyExists,
            Self::NameTaken { .. }
            | Self::NameElsewhere { .. }
            | Self::Start(StartError::Active { .. })
            | Self::TrustExpired(_)
            | Self::FromTheFuture { .. }
            | Self::SignaturesExpired { .. }
            | Self::Recovering
            | Self::Quarantined(_)
            | Self::PreviewChanged
            | Self::AgentTooOld(_)
            | Self::NotBalanced { .. }
            | Self::NothingBefore { .. }
            | Self::LeadsNowhere(_)
            | Self::NeverGood { .. } => Code::FailedPrecondition,
            Self::UnknownService(_) | Self::UnknownRelease { .. } => Code::NotFound,
            Self::Write(error) => error.code(),
        }
    }
    fn hint(&self) -> Option<String> {
        Self::hint(self)
    }
}

impl Refusal for RolloutError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown(_) | Self::UnknownService(_) => Code::NotFound,
            Self::Ambiguous(_) => Code::InvalidArgument,
            Self::Approve(ApproveError::Author(_)) | Self::NeedsApprover => Code::PermissionDenied,
            Self::Steer(_) | Self::Approve(_) | Self::Recovering => Code::FailedPrecondition,
            Self::Write(error) => error.code(),
        }
    }
    fn hint(&self) -> Option<String> {
        Self::hint(self)
    }
}

impl Refusal for RecoveryError {
    fn code(&self) -> Code {
        match self {
            Self::Changed | Self::NotAhead(_) => Code::FailedPrecondition,
            Self::TooMany { .. } => Code::ResourceExhausted,
            Self::Digest(_) => Code::InvalidArgument,
            Self::Write(error) => error.code(),
        }
    }
    fn hint(&self) -> Option<String> {
        Self::hint(self)
    }
}

impl Refusal for ServiceError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown(_) => Code::NotFound,
            Self::Routed { .. }
            | Self::Called { .. }
            | Self::ServiceCommand(_)
            | Self::Restart(_)
            | Self::AgentTooOld(_)
            | Self::Recovering => Code::FailedPrecondition,
            Self::Write(error) => error.code(),
        }
    }
    fn hint(&self) -> Option<String> {
        Self::hint(self)
    }
}

impl Refusal for OfferError {
    fn code(&self) -> Code {
        match self {
            Self::List(ListError::Stale { .. }) => Code::Aborted,
            Self::List(_) => Code::PermissionDenied,
            Self::File(_) => Code::Internal,
            Self::Busy => Code::Unavailable,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::List(ListError::Stale { .. }) => {
                Some("somebody else was faster: `windlass trust revoked`, then the command again".to_owned())
            }
            _ => None,
        }
    }
}

impl Refusal for PublishError {
    fn code(&self) -> Code {
        match self {
            Self::Trust(_) => Code::PermissionDenied,
            Self::Write(error) => error.code(),
        }
    }
    fn hint(&self) -> Option<String> {
        None
    }
}
