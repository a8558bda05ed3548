//! Bodies on their way, as their endpoint sees them.

use std::time::Duration;

use tokio::time::Instant;

/// A body that its endpoint can end: whoever takes nothing of it never asks for the rest.
pub(crate) trait Flow: std::fmt::Debug + Send + Sync {
    /// Ends it if `why` holds at `now`: what it keeps is free from then on.
    fn end(&self, why: End, now: Instant);
}

/// The reason for which a body is ended by its endpoint's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The drain of the endpoint is over.
    Drained,
    /// Its client, one of several of a connection, has taken nothing for so long.
    Unread(Duration),
}
