//! The benchmarks: Windlass beside a peer, in turn, in one run, on the same machine. Prints the table that
//! `docs/benchmarks.md` keeps.
//!
//! `make bench` runs all of them; `make bench ONLY=first|rest|ten|many|update|routes|place|crash|grow|fleet|canaries|telemetry` one. The last six need
//! neither engines nor root: thousands of agents are simulated, see `windlass_tests::fleetsim`.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

mod canaries;
mod crash;
mod figures;
mod first;
mod fleet;
mod grow;
mod many;
mod place;
mod rest;
mod routes;
mod swarm;
mod telemetry;
mod ten;
mod update;

fn main() -> anyhow::Result<()> {
    let only = std::env::args().nth(1).unwrap_or_default();
    if only == update::LOAD {
        return update::load(&std::env::args().skip(2).collect::<Vec<_>>());
    }
    let engines = ["first", "rest", "ten", "many", "update", "routes"];
    let simulated = ["place", "crash", "grow", "fleet", "canaries", "telemetry"];
    let known: Vec<&str> = [""].into_iter().chain(engines).chain(simulated).collect();
    anyhow::ensure!(
        known.contains(&only.as_str()),
        "there is no benchmark `{only}`; there are {}",
        known[1..].join(", ")
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
