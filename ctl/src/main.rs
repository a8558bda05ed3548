//! `windlass`, the operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_ctl::main(std::env::args_os())
}
