//! Tables over the rollout machine.

pub(crate) mod fixture;
mod speed;
mod transitions;
mod verbs;
