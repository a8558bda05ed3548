//! Documents for tests: one release, one plan, one trust document, from which each test changes the fields that it is about.
//!
//! A dependency of tests only: `.ci/layering.sh` refuses it to every program. A function of this crate panics where a test would.
//! Unit tests of core and of certs see other types than this crate does, because a crate under test is built apart from the
//! one that others link: they take JSON from here, and read it as types of their own.
#![warn(missing_docs)]

#[cfg(feature = "programs")]
pub mod keys;
pub mod plan;
#[cfg(feature = "programs")]
pub mod promtool;
pub mod release;
#[cfg(feature = "programs")]
pub mod tls;

use std::time::{SystemTime, UNIX_EPOCH};

use windlass_core::Timestamp;

/// Now, by the clock of the machine.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("this millennium"))
}
