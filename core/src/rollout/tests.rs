//! Tables over the rollout machine.
