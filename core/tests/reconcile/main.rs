//! What an agent decides, against a model of a container engine that asserts on misuse.
#![expect(unreachable_pub, reason = "a test has no outside")]

mod lifecycle;
mod limits;
mod props;
mod rollback;
mod world;
