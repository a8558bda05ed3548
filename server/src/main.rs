//! `windlass-server`: the coordinator. See `windlass_server::cli`.

use std::process::ExitCode;

use clap::Parser;
use windlass_process::report;
use windlass_server::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&report::full(failure.error.as_ref(), failure.hint.as_deref()));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of the process, for whoever started it")]
fn complain(text: &str) {
    eprintln!("{text}");
}
