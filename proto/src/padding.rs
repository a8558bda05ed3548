//! Messages that are never small. `h2` counts unread DATA frames below 256 bytes against a budget, and closes the whole
//! connection when that is used up, so that a reader that pauses would lose its stream instead of slowing it down.

use prost::Message;

use crate::limits::MIN_MESSAGE;
use crate::pb;

/// A message with a field for padding.
pub trait Padded: Message + Sized {
    /// The field.
    fn padding(&mut self) -> &mut bytes::Bytes;

    /// The message, filled up to [`MIN_MESSAGE`].
    #[must_use]
    fn padded(mut self) -> Self {
        let missing = MIN_MESSAGE.saturating_sub(self.encoded_len());
        if missing > 0 {
            *self.padding() = vec![0; missing].into();
        }
        self
    }
}

macro_rules! padded {
    ($($message:ty),*) => {$(
        impl Padded for $message {
            fn padding(&mut self) -> &mut bytes::Bytes {
                &mut self.padding
            }
        }
    )*};
}

padded!(
    pb::LogLines,
    pb::SendLogsRequest,
    pb::StreamLogsResponse,
    pb::StreamEventsResponse,
    pb::WatchFleetResponse,
    pb::StreamAuditResponse
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_padded_message_is_small() {
        for length in [0, 1, 100, 127, 128, 200, 250, 255, 256, 300, 5000] {
            let view = bytes::Bytes::from(vec![1; length]);
            let message = pb::StreamEventsResponse { view, ..Default::default() };
            let bare = message.encoded_len();
            let padded = message.padded().encoded_len();
            assert!(padded >= MIN_MESSAGE, "{length}: {padded}");
            assert!(bare < MIN_MESSAGE || padded == bare, "a large one stays as it is");
        }
    }
}
