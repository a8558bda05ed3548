//! Gates: what a release on its way is asked at the end of every window, and how the answers are judged.
//!
//! `judge` is pure: the verdict follows from the question as it was signed and from the facts, and both are kept in a
//! [`Judged`], so that [`recompute`] comes to it again from the record alone. A [`Course`] adds the windows of a step up.
//!
//! | verdict | means | effect |
//! |---|---|---|
//! | pass | the facts are within every limit | counts towards the windows that a step wants |
//! | fail | a limit is broken | two in a row, or three of the last ten, fail the step |
//! | inconclusive | there is too little to tell | the step goes on; a fourth in a row pauses it |
//! | provider error | nobody could be asked | the weight stays; a fourth in a row pauses it |
//!
//! None of them ever turns into another one.

mod answer;
mod asked;
mod course;
mod judge;
mod model;
mod number;
mod reading;
mod stats;
#[cfg(test)]
mod tests;
mod words;

pub use answer::{Answer, AnswerFault, Said};
pub use asked::{MAX_ANSWER, QuestionKey, Substitutes, asked_in, planned};
pub use course::{Course, GateCourse, GateEnd, GateState, Newest};
pub use judge::{judge, recompute};
pub use model::{Asked, Facts, GpuFault, Judged, Ruling, Test, Verdict};
pub use number::Number;
pub use reading::{kept_json, read_json, read_prometheus};
pub use stats::{ALPHA, alpha, at_random};
