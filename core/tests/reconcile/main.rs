//! Decisions of an agent, against a model of a container engine that asserts on misuse.
#![expect(unreachable_pub, clippy::unwrap_used, reason = "a test has no outside, and fails loudly")]

mod asks;
mod binds;
mod devices;
mod hooks;
mod identity;
mod lifecycle;
mod limits;
mod meanwhile;
mod networks;
mod props;
mod restarts;
mod rollback;
mod world;
