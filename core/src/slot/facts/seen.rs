//! The answers to questions about a slot, and their certainty.

use super::super::waiting::Waiting;
use crate::host::Liveness;
use crate::observation::{Evidence, Refusal, SlotObservation};

/// The degree to which a slot's host can be asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Its newest word is about the slot's part as it is now.
    Confirmed,
    /// It has connected and not reported yet.
    Unreported,
    /// Its newest word is about an older part.
    Unconfirmed,
    /// The same, and its agent can write nothing down.
    ReadOnly,
    /// Its engine does not answer.
    EngineDown,
    /// It is ahead of a store that was set back.
    Recovering,
    /// It is not connected.
    Away(Liveness),
}

/// The certainty of something that is dangerous to get wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Certainty {
    /// It is known not to be so.
    No,
    /// It may be so.
    Maybe,
    /// It is known to be so.
    Yes,
}

/// The state of a release in a slot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen<'a> {
    /// Nothing current is known; the reason.
    Nothing(Waiting),
    /// The agent works on it.
    Converging(Option<&'a SlotObservation>),
    /// It has been healthy for min ready.
    Available,
    /// It failed there.
    Failed(&'a Evidence),
    /// It was refused there.
    Refused(&'a Refusal),
}
