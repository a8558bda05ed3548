//! Faults on real hosts, one family per scenario: what breaks, what is said while it is broken, what serves all along,
//! and that it goes on by itself when it is mended.
//!
//! Run them with `make test-engine`, or one alone with `cargo test -p windlass-tests --test faults NAME` after
//! `make release`. They need Linux and root; see `tests/lab/README.md`.
#![expect(clippy::unwrap_used, reason = "a scenario may")]

mod binds;
mod clocks;
mod disks;
mod engines;
mod exclusive;
mod gpu_places;
mod gpus;
mod lost;
mod memory;
mod partitions;
mod pulls;
mod reboot;
mod stalls;
mod twins;
