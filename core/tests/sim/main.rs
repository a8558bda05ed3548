//! Rollouts against modelled hosts: seeded, in virtual time, with lost hosts, bad releases, late and
//! repeated plans, and a coordinator that forgets everything but what it stored. The hosts decide with
//! the agent's own reconciler; only the container engine is a model.
//!
//! `SIM_SEED=n` runs one seed; `SIM_SEEDS=n` runs the first n. The seed of a failure is printed.

#![expect(clippy::unwrap_used, reason = "a test")]

mod check;
mod decision_log;
mod engine;
mod exclusive;
mod fleet;
mod host;
mod order;
mod restart;
mod rolling;
mod scale;
mod steering;
mod trouble;
mod verbs;
mod world;

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..3,
    }
}
