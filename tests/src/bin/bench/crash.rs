//! Crash → serving again: SIGKILL of the coordinator in the middle of a rollout over 100 simulated agents, started
//! again at once, until an agent holds a plan that was decided after the kill: the next advanced step.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use windlass_testkit::now;
use windlass_tests::fleetsim::{Behaviour, Coordinator, Herd, Look, Wanted, enrol};

use super::figures::{row, seconds};

const AGENTS: usize = 100;
const KILLS: u64 = 15;
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut coordinator = Coordinator::start(folder.path(), "").await?;
    let members = enrol(&coordinator, "app", AGENTS).await?;
    let begun = Instant::now();
    let herd = Herd::start(&coordinator, &members, Behaviour::Honest);
    herd.reported(begun, LIMIT).await?;
    let (mut ready, mut advanced, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for counter in 1..=KILLS {
        // One at a time, so that every next step needs a report of the last one, over a stream of after the crash.
        let wanted = Wanted { service: "web", counter, role: "app", replicas: None, batch: "1" };
        let release = coordinator.papers.sign(&wanted);
        let rollout = coordinator.submit(&release).await?;
        let runs = |look: &Look| look.running.contains_key(&release.digest);
        herd.board.until("a third of the agents run it", AGENTS / 3, LIMIT, runs).await?;

        let killed_at = Instant::now();
        coordinator.process.kill_9();
        let clock = now();
        coordinator.kill_and_start().await?;
        ready.push(killed_at.elapsed().as_secs_f64());
        // A plan that was decided before the kill may arrive after it; it is no step of the new process.
        let newer = |look: &Look| look.issued_at.is_some_and(|at| at > clock);
        herd.board.until("an agent has a newer plan", 1, LIMIT, newer).await?;
        let first = herd.board.each(|look| look.planned_at.filter(|_| newer(look)));
        let first = first.into_iter().flatten().min().context("there is one")?;
        advanced.push(first.duration_since(killed_at).as_secs_f64());
        let outcome = coordinator.follow(&rollout, LIMIT).await?;
        ensure!(outcome == "succeeded", "the rollout ended as {outcome}");
        ended.push(killed_at.elapsed().as_secs_f64());
    }
    ensure!(herd.board.wrongs().is_empty(), "agents had to refuse: {:?}", herd.board.wrongs());
    let what = format!("SIGKILL in a rollout over {AGENTS} hosts, one at a time, {KILLS} kills:");
    row(&format!("{what} to ready"), &seconds(&ready), "");
    row("the same, to the next advanced step", &seconds(&advanced), "");
    row("the same, to the end of the rollout, which succeeds", &seconds(&ended), "");
    Ok(())
}
