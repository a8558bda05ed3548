//! Tables over the rollout machine.

mod care;
pub(crate) mod fixture;
mod going_back;
pub(crate) mod midway;
mod reach;
mod speed;
mod stopped_first;
mod transitions;
mod verbs;
mod why;
