//! `windlass-agent` with crash points: the agent's own `main`, built with the feature.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_agent::cli::main()
}
