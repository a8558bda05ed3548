//! The matrix of deployments that move traffic, on real engines under load: `make test-long`. Representative cases of it are
//! in `tests/engine` and run with `make test`.

#![expect(clippy::print_stdout, reason = "the figures of a run are told")]

mod canary;
mod colours;
mod examples;
mod gate_rates;
