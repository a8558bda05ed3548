//! The refusal of values that decode and make no sense.

use crate::observation::{Refusal, RefusalCode};

/// The refusal; `detail` names the field.
pub(super) fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal { code: RefusalCode::Malformed, detail: detail.into() }
}

/// Refuses unless it holds.
pub(super) fn ensure(holds: bool, detail: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(malformed(detail)) }
}
