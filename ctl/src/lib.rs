//! The operator's command line: makes fleets, signs releases, follows rollouts, looks inside.
//!
//! ```text
//! args ──▶ Context (home, flags, environment) ──▶ commands::* ──▶ Printer (table | json | yaml)
//!                                                    │
//!                      session (mTLS, renewal) ◀─────┴────▶ registry (tag → digest), signing (release keys)
//! ```
//!
//! Keys that author content never leave this side. What the coordinator sends is shown, not believed: releases
//! and trust documents are verified here against the trust chain in the home folder.

mod amendment;
mod args;
mod attend;
mod away;
mod client;
mod clock;
mod commands;
mod compose;
mod context;
mod deploy;
mod error;
mod exit;
mod home;
mod invitation;
mod manifests;
mod printer;
mod registry;
mod session;
mod shell;
mod signing;
mod table;
mod top;
mod unknown;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use windlass_process::logging;

use args::Cli;
use error::CtlError;
use exit::Exit;
use printer::Printer;

/// Runs one command line and answers with its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = old_spellings(args.into_iter().collect());
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage::told(error, &args).into(),
    };
    let printer = Printer::new(cli.global.output);
    let filter = cli.global.log.as_deref().unwrap_or_else(|| args::log_filter(cli.global.verbose));
    if let Err(source) = logging::init(logging::Format::Human, filter) {
        let error = CtlError::Usage {
            message: windlass_process::report::chain(&source),
            hint: "a filter is a level, or levels by module: `--log warn,windlass_ctl=debug`".to_owned(),
        };
        printer.error(&error);
        return error.exit().into();
    }
    match run(cli, &printer) {
        Ok(exit) => exit.into(),
        Err(error) => {
            printer.error(&error);
            error.exit().into()
        }
    }
}

/// Reads `schema --output` of version 0.1 as `schema --results`: `--output` takes a format now.
fn old_spellings(mut args: Vec<OsString>) -> Vec<OsString> {
    if args.iter().any(|arg| arg == "schema") {
        for n in 0..args.len() {
            let has_value = args.get(n + 1).is_some_and(|next| !next.to_string_lossy().starts_with('-'));
            if args[n] == "--output" && !has_value {
                args[n] = "--results".into();
            }
        }
    }
    args
}

fn run(cli: Cli, printer: &Printer) -> Result<Exit, CtlError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CtlError::Runtime)?;
    runtime.block_on(Box::pin(commands::run(cli, printer)))
}
