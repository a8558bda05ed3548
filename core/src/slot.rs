//! A slot: a place for one instance of a service on a host, and everything that decides about it.
//!
//! | part | holds |
//! |---|---|
//! | [`Slot`] | the stored intent: a target, and the second instance that may stand beside it |
//! | [`Intent`] | the same as plain data, and the one definition of what it lets run |
//! | [`Transition`] | the closed set of changes; [`apply`] is the only writer of a slot |
//! | `SlotFacts` | what is known of a slot from its intent and its host's newest word |
//! | `DisruptionBudget` | how many slots may be on their way, beside each other, or down |
//!
//! A signed plan is made from slots by [`Slot::plan`]; the way back, [`Slot::adopted`], is for recovery alone.

mod budget;
mod change;
mod facts;
mod intent;
mod model;
mod stored;
mod transition;
mod waiting;

#[cfg(test)]
mod tests;

pub(crate) use budget::{Cost, DisruptionBudget, Limits};
pub use change::{InvalidTransition, apply};
pub(crate) use facts::{Certainty, Seen, SlotFacts};
pub use intent::Intent;
pub use model::{Occupant, Older, Role, Slot, Trial};
pub use transition::Transition;
pub use waiting::{HeldUp, Waiting};
