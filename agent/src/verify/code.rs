//! From the errors of other crates to refusal codes.

use windlass_certs::dsse::VerifyError;
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_process::report;

/// The refusal that an envelope's error stands for.
pub fn refusal(error: VerifyError) -> Refusal {
    let code = match &error {
        VerifyError::TooLarge { .. } => RefusalCode::TooLarge,
        VerifyError::Malformed { .. } => RefusalCode::Malformed,
        VerifyError::WrongType { .. } => RefusalCode::WrongType,
        VerifyError::UnknownKey => RefusalCode::UnknownKey,
        VerifyError::BadSignature => RefusalCode::BadSignature,
        VerifyError::BelowThreshold { .. } => RefusalCode::BelowThreshold,
    };
    Refusal { code, detail: report::chain(&error) }
}
