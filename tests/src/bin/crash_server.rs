//! `windlass-server` with crash points: the coordinator's own `main`, built with the feature.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_server::cli::main()
}
