//! The benchmarks: Windlass beside a peer, in turn, in one run, on the same machine. Prints the table that
//! `docs/benchmarks.md` keeps.
//!
//! `make bench` runs all three; `make bench ONLY=first|rest|ten` one of them.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

mod figures;
mod first;
mod rest;
mod swarm;
mod ten;

fn main() -> anyhow::Result<()> {
    let only = std::env::args().nth(1).unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only == name;
    println!("{}", figures::machine());
    if wanted("first") {
        first::run()?;
    }
    if wanted("rest") {
        rest::run()?;
    }
    if wanted("ten") {
        ten::run()?;
    }
    Ok(())
}
