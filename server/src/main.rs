//! `windlass-server`: the coordinator. See `windlass_server::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_server::cli::main()
}
