//! The benchmarks: Windlass beside a peer, in turn, in one run, on the same machine. Prints the table that
//! `docs/benchmarks.md` keeps.
//!
//! `make bench` runs all of them, `make bench ONLY=NAME` one, and `bench help` names them. [`SIMULATED`] need neither engines nor
//! root: thousands of agents are simulated, see `windlass_tests::fleetsim`.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

mod canaries;
mod crash;
mod figures;
mod first;
mod fleet;
mod grow;
mod looks;
mod many;
mod place;
mod rest;
mod routes;
mod steps;
mod swarm;
mod telemetry;
mod ten;
mod update;

/// Benchmarks over real engines.
const ENGINES: [&str; 6] = ["first", "rest", "ten", "many", "update", "routes"];
/// Benchmarks of the coordinator alone.
const SIMULATED: [&str; 7] = ["place", "crash", "grow", "steps", "fleet", "canaries", "telemetry"];

fn main() -> anyhow::Result<()> {
    let only = std::env::args().nth(1).unwrap_or_default();
    if only == update::LOAD {
        return update::load(&std::env::args().skip(2).collect::<Vec<_>>());
    }
    let known = ENGINES.into_iter().chain(SIMULATED).collect::<Vec<_>>();
    if ["help", "--help", "-h"].contains(&only.as_str()) {
        println!(
            "usage: bench [NAME]\n\nWithout a name all of them, one after the other: {}",
            known.join(", ")
        );
        return Ok(());
    }
    anyhow::ensure!(
        only.is_empty() || known.contains(&only.as_str()),
        "there is no benchmark `{only}`; there are {}",
        known.join(", ")
    );
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
    if wanted("many") {
        many::run()?;
    }
    if wanted("update") {
        update::run()?;
    }
    if wanted("routes") {
        routes::run()?;
    }
    if wanted("place") {
        place::run()?;
    }
    if wanted("crash") {
        runtime()?.block_on(crash::run())?;
    }
    if wanted("grow") {
        runtime()?.block_on(grow::run())?;
    }
    if wanted("steps") {
        runtime()?.block_on(steps::run())?;
    }
    if wanted("fleet") {
        runtime()?.block_on(fleet::run())?;
    }
    if wanted("canaries") {
        runtime()?.block_on(canaries::run())?;
    }
    if wanted("telemetry") {
        runtime()?.block_on(telemetry::run())?;
    }
    Ok(())
}

/// The runtime of simulated agents.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
