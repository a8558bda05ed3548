//! The reconciler against a real Docker Engine.
//!
//! Needs `WINDLASS_TEST_SOCKET` (an engine's socket), `WINDLASS_TEST_ADDRESS` (where its published ports are
//! reached) and `WINDLASS_TEST_IMAGES` (what `tests/lab/images.sh` printed, with the registry in front: a file
//! of lines `10.213.0.1:5000/web:v1 sha256:…`). Without them every test says that it was left out.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test has no outside, and fails loudly"
)]

mod host;
mod scenarios;
