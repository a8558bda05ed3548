//! Tables over the rollout machine.

pub(crate) mod fixture;
mod reach;
mod speed;
mod transitions;
mod verbs;
