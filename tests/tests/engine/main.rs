//! Scenarios over real engines, one per test. Every test names what must be true of the product.
//!
//! Run them with `make test-engine`, or one alone with `cargo test -p windlass-tests --test engine NAME` after
//! `make release`. They need Linux and root; see `tests/lab/README.md`.
#![expect(clippy::unwrap_used, reason = "a scenario may")]

mod addresses;
mod asks;
mod bad_releases;
mod blue_green;
mod by_hand;
mod canary;
mod deaths;
mod dev;
mod elsewhere;
mod foreign;
mod harness;
mod held;
mod hooks;
mod kills;
mod neighbours;
mod network;
mod owners;
mod registries;
mod restore;
mod rolling;
mod steering;
mod strangers;
mod traffic;
mod triggers;
mod uses;
mod volumes;
