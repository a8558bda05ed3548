//! The cost of a rollout while the fleet around it grows: a service with 50 slots is moved to a new release, and the coordinator's
//! own histogram tells the time of its looks.

use std::time::{Duration, Instant};

use anyhow::Result;
use windlass_tests::fleetsim::{Behaviour, Coordinator, Herd, Wanted, enrol};

use super::figures::{row, seconds};
use super::looks::{Looks, rollout, words};

const CHANGED: usize = 50;
const SIZES: [usize; 4] = [500, 1000, 2000, 5000];
/// Rollouts at each size.
const TIMES: u64 = 5;
const LIMIT: Duration = Duration::from_secs(120);
/// The traces of new hosts, observations to be stored and looks at them, come to rest.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn run() -> Result<()> {
    let most = std::env::var("AGENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let folder = tempfile::tempdir()?;
    let coordinator = Coordinator::start(folder.path(), "").await?;
    let changed = enrol(&coordinator, "changed", CHANGED).await?;
    let begun = Instant::now();
    let herd = Herd::start(&coordinator, &changed, Behaviour::Honest);
    // Before a host has said what it is, it takes nothing.
    herd.reported(begun, LIMIT).await?;
    let mut herds = vec![herd];
    let (mut hosts, mut counter) = (CHANGED, 1);
    // The first release places 50 slots, for which every host is asked. That is not what is measured.
    one(&coordinator, counter).await?;
    for size in SIZES.into_iter().filter(|size| *size <= most) {
        let others = enrol(&coordinator, &format!("others-{size}"), size - hosts).await?;
        hosts = size;
        herds.push(Herd::start(&coordinator, &others, Behaviour::Honest));
        for herd in &herds {
            let reported = |look: &windlass_tests::fleetsim::Look| look.reported_at.is_some();
            herd.board.until("agents have reported", herd.len(), LIMIT, reported).await?;
        }
        tokio::time::sleep(SETTLE).await;
        let mut costs = Vec::new();
        for _ in 0..TIMES {
            counter += 1;
            costs.push(one(&coordinator, counter).await?);
        }
        show(size, costs);
    }
    Ok(())
}

fn show(hosts: usize, costs: Vec<(f64, Looks)>) {
    let (took, looks): (Vec<f64>, Vec<Looks>) = costs.into_iter().unzip();
    row(
        &format!(
            "{CHANGED} slots moved to a new release in a fleet of {hosts} hosts, batch 10 %, {TIMES} rollouts"
        ),
        &format!("{}; {}", seconds(&took), words(&looks)),
        "flat",
    );
}

async fn one(coordinator: &Coordinator, counter: u64) -> Result<(f64, Looks)> {
    let replicas = u32::try_from(CHANGED)?;
    let wanted = Wanted { service: "web", counter, role: "changed", replicas: Some(replicas), batch: "10%" };
    rollout(coordinator, &wanted, LIMIT).await
}
