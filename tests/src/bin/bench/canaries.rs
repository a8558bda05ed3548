//! A hundred canaries at once over a hundred simulated hosts: processor and memory of the coordinator, and whether each of them
//! ends within the time that its windows take.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use windlass_tests::fleetsim::{Behaviour, Coordinator, Herd, Wanted, enrol};

use super::figures::{cpu_seconds, resident_mb, row, seconds, share};

const AGENTS: usize = 100;
const CANARIES: usize = 100;
const LIMIT: Duration = Duration::from_secs(300);

pub(crate) async fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let coordinator = Coordinator::start(folder.path(), "").await?;
    let members = enrol(&coordinator, "app", AGENTS).await?;
    let begun = Instant::now();
    let herd = Herd::start(&coordinator, &members, Behaviour::Honest);
    herd.reported(begun, LIMIT).await?;
    let names: Vec<String> = (0..CANARIES).map(|n| format!("web-{n}")).collect();
    let pid = coordinator.process.pid();
    let mut idle = 0.0;
    for counter in 1..=2 {
        idle = resident_mb(pid)?;
        let (before, at) = (cpu_seconds(pid)?, Instant::now());
        let mut rollouts = Vec::new();
        for name in &names {
            let wanted = Wanted { service: name, counter, role: "app", replicas: Some(4), batch: "1" };
            rollouts
                .push((Instant::now(), coordinator.submit(&coordinator.papers.sign_canary(&wanted)).await?));
        }
        let mut took = Vec::new();
        for (submitted, rollout) in &rollouts {
            let outcome = coordinator.follow(rollout, LIMIT).await?;
            ensure!(outcome == "succeeded", "a canary ended as {outcome}");
            took.push(submitted.elapsed().as_secs_f64());
        }
        if counter == 1 {
            continue; // the first release of a service has nothing to be compared with
        }
        let (all, cpu) = (at.elapsed(), cpu_seconds(pid)? - before);
        let what =
            format!("{CANARIES} canaries at once, four instances each, {AGENTS} hosts, six windows of 10 s");
        row(&format!("{what}: from submission to success"), &seconds(&took), "the windows: 60 s");
        row(
            "the same: processor of the coordinator",
            &format!("{cpu:.1} s in {:.0} s, {:.1} % of a core", all.as_secs_f64(), share(cpu, all)),
            "",
        );
    }
    row(
        "the same: memory of the coordinator",
        &format!("{:.0} MB, {idle:.0} MB before", resident_mb(pid)?),
        "",
    );
    ensure!(herd.board.wrongs().is_empty(), "agents had to refuse: {:?}", herd.board.wrongs());
    Ok(())
}
