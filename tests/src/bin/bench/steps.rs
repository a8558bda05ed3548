//! The time of one step of a rollout, storing included, by the number of its slots: a service on 50, 500 and 5,000 hosts, each with
//! hosts of its own in one fleet, is moved to a new release, a quarter of its slots at a time.

use std::time::{Duration, Instant};

use anyhow::Result;
use windlass_tests::fleetsim::{Behaviour, Coordinator, Herd, Wanted, enrol};

use super::figures::{median, row};
use super::looks::{Looks, rollout, words};

const SLOTS: [usize; 3] = [50, 500, 5000];
/// Rollouts of each service, after the one that installs it.
const TIMES: u64 = 3;
const LIMIT: Duration = Duration::from_secs(240);
/// The traces of new hosts, observations to be stored and looks at them, come to rest.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn run() -> Result<()> {
    let most = std::env::var("AGENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let sizes: Vec<usize> = SLOTS.into_iter().filter(|slots| *slots <= most).collect();
    let folder = tempfile::tempdir()?;
    let coordinator = Coordinator::start(folder.path(), "").await?;
    let mut herds = Vec::new();
    for slots in &sizes {
        let members = enrol(&coordinator, &role(*slots), *slots).await?;
        let begun = Instant::now();
        let herd = Herd::start(&coordinator, &members, Behaviour::Honest);
        herd.reported(begun, LIMIT).await?;
        herds.push(herd);
    }
    tokio::time::sleep(SETTLE).await;
    for slots in sizes {
        let mut rollouts = Vec::new();
        for counter in 1..=TIMES + 1 {
            rollouts.push(one(&coordinator, slots, counter).await?);
        }
        // The first one places the slots. That is not what is measured.
        rollouts.remove(0);
        let (took, looks): (Vec<f64>, Vec<Looks>) = rollouts.into_iter().unzip();
        row(
            &format!("{slots} slots moved to a new release, batch 25 %, {TIMES} rollouts"),
            &format!("{:.2} s; {}", median(&took), words(&looks)),
            "",
        );
    }
    Ok(())
}

fn role(slots: usize) -> String {
    format!("of-{slots}")
}

async fn one(coordinator: &Coordinator, slots: usize, counter: u64) -> Result<(f64, Looks)> {
    let role = role(slots);
    let wanted = Wanted { service: &role, counter, role: &role, replicas: None, batch: "25%" };
    rollout(coordinator, &wanted, LIMIT).await
}
