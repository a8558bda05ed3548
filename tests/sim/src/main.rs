//! `sim`: runs seeds of the simulation, and says which of them must not have come out as they did.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use windlass_sim::run::{Kept, Seeds};
use windlass_sim::strict::Oracle;
use windlass_sim::{run_one, say};

/// Runs the whole system in virtual time, seed after seed.
#[derive(Debug, Parser)]
struct Args {
    /// Run this one seed, and say what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first of them; drawn from the clock with --for.
    #[arg(long)]
    from: Option<u64>,
    /// Fresh seeds for so many seconds instead.
    #[arg(long = "for", value_name = "SECONDS")]
    lasts: Option<u64>,
    /// Store of coordinators.
    #[arg(long, value_enum, default_value = "memory")]
    store: Kept,
    /// Leaves out the troubles that excuse anything, and excuses nothing.
    #[arg(long)]
    strict: bool,
    /// Threads; one per core unless told.
    #[arg(long)]
    threads: Option<usize>,
    /// Stop after so many violations.
    #[arg(long, default_value_t = 10)]
    most: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        let outcome = run_one(seed, args.oracle(), args.store, true)?;
        say(&format!("{outcome:#?}"));
        return Ok(if outcome.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    windlass_sim::run::report(args.oracle(), args.store, args.seeds(), args.threads)
}

impl Args {
    const fn oracle(&self) -> Oracle {
        if self.strict { Oracle::Strict } else { Oracle::Full }
    }

    fn seeds(&self) -> Seeds {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() << 20;
        Seeds {
            from: self.from.unwrap_or_else(|| if self.lasts.is_some() { clock() } else { 1 }),
            count: self.lasts.is_none().then_some(self.seeds),
            lasts: self.lasts.map(Duration::from_secs),
            most_violations: self.most,
        }
    }
}
