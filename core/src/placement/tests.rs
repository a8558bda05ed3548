//! Tables over which host, and which instance first.
