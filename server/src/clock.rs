//! The one place where the coordinator asks what time it is. Decisions get the answer as an argument.

use windlass_core::Timestamp;

/// Now, by the machine's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}
