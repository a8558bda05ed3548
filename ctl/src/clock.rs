//! The one place where the command line asks what time it is.

use windlass_core::Timestamp;

/// Now, by the machine's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}
