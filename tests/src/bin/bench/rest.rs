//! An agent at rest with 20 containers, statistics and heartbeats on: memory, processor, size of the program.
//! The engine's own figures stand beside it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use windlass_tests::{Fleet, FleetOptions, Lab, Service};

use super::figures::{cpu_seconds, resident_mb, share};

const CONTAINERS: u32 = 20;
const WATCHED: Duration = Duration::from_secs(120);

pub(crate) fn run() -> Result<()> {
    let fleet = Fleet::start_with(Lab::enter(), "bench-rest", 1, FleetOptions::default());
    let image = fleet.lab.image("v1");
    // Probes as the defaults have them, and then more often.
    let service = |every: &str| {
        Service::web(&image, CONTAINERS)
            .with("strategy.rolling.batch", CONTAINERS)
            .with("health.startup.every", "2s")
            .with("health.startup.timeout", "5s")
            .with("health.readiness.every", every)
            .with("health.readiness.timeout", if every == "2s" { "2s" } else { "3s" })
    };
    let program = fs::metadata(windlass_tests::fleet::program("windlass-agent"))?.len();
    #[expect(clippy::cast_precision_loss, reason = "a file of some megabytes")]
    let size = program as f64 / 1e6;
    let mut shares = Vec::new();
    for (every, release, per_second) in [("5s", "r1", 0.2), ("2s", "r2", 0.5)] {
        fleet.deploy_ok(&service(every), release);
        let agent = fleet.agents[0].pid();
        let engine = engine_pid(&fleet.hosts[0].engine.url())?;
        let (agent_before, engine_before, started_at) =
            (cpu_seconds(agent)?, cpu_seconds(engine)?, Instant::now());
        std::thread::sleep(WATCHED);
        let over = started_at.elapsed();
        let cpu = share(cpu_seconds(agent)? - agent_before, over);
        println!(
            "agent at rest with {CONTAINERS} containers, a probe every {every}, over {} s: VmRSS {:.1} MB (goal at most 12), \
             CPU {cpu:.2} % of a core (goal at most 0.25 at 5s), program {size:.1} MB (goal at most 15); dockerd beside it: VmRSS \
             {:.1} MB, CPU {:.2} %",
            over.as_secs(),
            resident_mb(agent)?,
            resident_mb(engine)?,
            share(cpu_seconds(engine)? - engine_before, over),
        );
        shares.push((cpu, per_second * f64::from(CONTAINERS)));
    }
    if let [(few, slow), (many, fast)] = shares[..] {
        let each = (many - few) / 100.0 / (fast - slow) * 1000.0;
        println!("one probe costs {each:.2} ms of processor, by the difference");
    }
    Ok(())
}

/// The engine that has this address on its command line.
fn engine_pid(url: &str) -> Result<u32> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let folder = url.trim_start_matches("unix://").trim_end_matches("/docker.sock");
        if line.contains("dockerd") && line.contains(folder) {
            return Ok(pid);
        }
    }
    None.context("the engine's process was not found")
}
