//! `windlass-agent`: the agent of one host.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_agent::cli::main()
}
