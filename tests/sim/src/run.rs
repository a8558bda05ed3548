//! Runs of many seeds, on every core.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::center::Backing;
use crate::check::{Exempted, Exemption, Led};
use crate::open::{OPEN, is_open};
use crate::say;
use crate::strict::Oracle;
use crate::world::{Outcome, World};

/// The memory of coordinators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kept {
    /// In this process.
    Memory,
    /// In the embedded store, on disk.
    Sled,
}

/// The results of many runs.
#[derive(Debug, Default)]
pub struct Total {
    /// Runs.
    pub seeds: u64,
    /// Events of all of them.
    pub events: u64,
    /// Processes that were started in all of them.
    pub starts: u64,
    /// Instances that served and were stopped by steps of ours.
    pub stops: u64,
    /// The ends of rollouts.
    pub ends: BTreeMap<&'static str, usize>,
    /// The exempted violations of all of them.
    pub exempted: Exempted,
    /// The work of ingresses and gates in all of them.
    pub led: Led,
    /// Those in which something did not hold.
    pub violations: Vec<Outcome>,
    /// Those in which that is known.
    pub open: BTreeSet<u64>,
    /// Those in which it was known, and holds by now.
    pub clean: BTreeSet<u64>,
}

/// Which seeds, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// The number of runs; without end if absent.
    pub count: Option<u64>,
    /// For how long; without end if absent.
    pub lasts: Option<Duration>,
    /// Stop at so many violations.
    pub most_violations: usize,
}

/// Runs one seed.
///
/// # Errors
/// There is no runtime, or no folder for the store.
pub fn run_one(seed: u64, oracle: Oracle, kept: Kept, trace: bool) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("no runtime")?;
    let folder = match kept {
        Kept::Memory => None,
        Kept::Sled => Some(Folder::make(seed)?),
    };
    let backing = match &folder {
        None => Backing::memory(),
        Some(folder) => Backing::Sled(folder.0.clone()),
    };
    let world = World::new(seed, oracle, backing, trace);
    Ok(runtime.block_on(Box::pin(world.run(seed))))
}

/// A folder for one run, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make(seed: u64) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("windlass-sim-{}-{seed}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("failed to make `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The folder is one for temporary files.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Runs many seeds, one after the other on each of `threads` threads.
///
/// # Errors
/// One of them could not be run at all.
pub fn run_many(seeds: Seeds, oracle: Oracle, kept: Kept, threads: usize) -> anyhow::Result<Total> {
    let (next, begun) = (AtomicU64::new(0), Instant::now());
    let total = Mutex::new(Total::default());
    let work = || -> anyhow::Result<()> {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let over = seeds.count.is_some_and(|count| n >= count)
                || seeds.lasts.is_some_and(|lasts| begun.elapsed() >= lasts);
            let full = total.lock().unwrap_or_else(PoisonError::into_inner).violations.len();
            if over || full >= seeds.most_violations {
                return Ok(());
            }
            let outcome = run_one(seeds.from.wrapping_add(n), oracle, kept, false)?;
            outcome.tell();
            total.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Outcome {
    /// Says what did not hold, as soon as that is known.
    fn tell(&self) {
        if let Some(what) = self.violation.as_ref().filter(|what| !is_open(self, what)) {
            let strict = if self.oracle == Oracle::Strict { " STRICT=1" } else { "" };
            let seed = self.seed;
            say(&format!("violation: seed {seed}: {what}\n  again: make sim SEED={seed}{strict}"));
        }
    }
}

impl Total {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.starts += outcome.starts;
        self.stops += outcome.stops;
        for (end, count) in &outcome.ends {
            *self.ends.entry(end).or_insert(0) += count;
        }
        self.led.requests += outcome.led.requests;
        self.led.tables += outcome.led.tables;
        self.led.failed_gates += outcome.led.failed_gates;
        self.led.returns += outcome.led.returns;
        for (why, count) in &outcome.exempted {
            *self.exempted.entry(*why).or_insert(0) += count;
        }
        match &outcome.violation {
            Some(what) if is_open(&outcome, what) => drop(self.open.insert(outcome.seed)),
            Some(_) => self.violations.push(outcome),
            None if outcome.oracle == Oracle::Strict => {}
            None => self.clean.extend(OPEN.iter().map(|open| open.0).filter(|seed| *seed == outcome.seed)),
        }
    }
}

/// Runs seeds and says what they came to; the last line counts.
///
/// # Errors
/// One of them could not be run at all.
pub fn report(oracle: Oracle, kept: Kept, seeds: Seeds, threads: Option<usize>) -> anyhow::Result<ExitCode> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let begun = Instant::now();
    say(&format!("first seed {}, store {kept:?}, oracle {oracle:?}", seeds.from));
    let total = run_many(seeds, oracle, kept, threads.unwrap_or(cores))?;
    let ends: Vec<String> = total.ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
    say(&format!(
        "{} starts, {} stops of what served; rollouts: {}",
        total.starts,
        total.stops,
        ends.join(", ")
    ));
    let Led { requests, tables, failed_gates, returns } = total.led;
    say(&format!(
        "{requests} requests by {tables} tables, {failed_gates} rollouts with a failed gate, {returns} returns of requests"
    ));
    let exempted = Exemption::ALL
        .iter()
        .map(|why| format!("{} {why:?}", total.exempted.get(why).copied().unwrap_or_default()));
    say(&format!("exempted: {}", exempted.collect::<Vec<_>>().join(", ")));
    // Only in memory, seed by seed, is the list one of what happens.
    let mended = if matches!(kept, Kept::Memory) { total.clean.len() } else { 0 };
    if mended > 0 {
        say(&format!("clean by now, and to be taken out of open.rs: seeds {:?}", total.clean));
    }
    if !total.open.is_empty() {
        say(&format!("known, see \"What is open\" in docs/simulation.md: seeds {:?}", total.open));
    }
    say(&format!(
        "seeds {}, events {}, violations {}, known {} ({:.1} s)",
        total.seeds,
        total.events,
        total.violations.len(),
        total.open.len(),
        begun.elapsed().as_secs_f64()
    ));
    Ok(if total.violations.is_empty() && mended == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_all_that_a_run_needs_to_be_seen_again() {
        for seed in [26, 136] {
            let first = run_one(seed, Oracle::Full, Kept::Memory, false).unwrap();
            assert_eq!(first.violation, None, "seed {seed}");
            assert!(first.events > 500 && first.starts > 2, "{first:?}");
            assert_eq!(run_one(seed, Oracle::Full, Kept::Memory, false).unwrap(), first);
        }
    }

    #[test]
    fn requests_are_led_by_tables_in_some_worlds() {
        let outcomes = [16, 26, 38].map(|seed| run_one(seed, Oracle::Full, Kept::Memory, false).unwrap());
        let total = outcomes.iter().fold(Led::default(), |sum, of| Led {
            requests: sum.requests + of.led.requests,
            tables: sum.tables + of.led.tables,
            ..sum
        });
        assert!(total.requests > 1000 && total.tables > 20, "{total:?}");
        assert!(outcomes.iter().all(|outcome| outcome.violation.is_none()), "{outcomes:?}");
    }

    #[test]
    fn the_store_on_disk_makes_no_difference() {
        let on_disk = run_one(4, Oracle::Full, Kept::Sled, false).unwrap();
        assert_eq!(on_disk.violation, None);
        assert_eq!(on_disk, run_one(4, Oracle::Full, Kept::Memory, false).unwrap());
    }
}
