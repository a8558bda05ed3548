//! Tables over the rollout machine.

pub(crate) mod fixture;
mod going_back;
mod reach;
mod speed;
mod transitions;
mod verbs;
