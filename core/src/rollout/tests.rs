//! Tables over the rollout machine.

mod accepted;
mod after_success;
mod asked;
mod blue_green;
mod canary;
mod care;
mod confirmed;
mod drained;
mod elsewhere;
mod gating;
mod going_back;
mod guarded;
mod hooks;
mod larger;
pub(crate) mod midway;
mod reach;
mod restarted;
pub(crate) mod shifting;
mod speed;
mod stopped_first;
mod transitions;
mod triggers;
mod verbs;
mod why;
