//! The effects that were gathered, and are not written yet.

use super::super::decision::{Arrival, Begin, Place, Placement, Refused};

/// Gathered, and not written yet.
#[derive(Default)]
pub(crate) struct DecisionNotes {
    pub(super) placed: Vec<Placement>,
    pub(super) more_placed: u32,
    pub(super) refused: Vec<Refused>,
    pub(super) more_refused: u32,
    pub(super) pulled: Vec<Place>,
    pub(super) begun: Vec<Begin>,
    pub(super) arrived: Vec<Arrival>,
    pub(super) removed: Vec<Place>,
}
