//! A thousand agents at once, each over a stream of its own, against the released coordinator: see
//! [`windlass_tests::fleetsim`]. Needs no engine, no root and no network beyond loopback.

mod steps;

use windlass_tests::fleetsim::{Behaviour, Coordinator, Herd, Look, Wanted, enrol};

use steps::{LIMIT, Memory, Step};

const AGENTS: usize = 1000;
const DEAF: usize = 10;

fn wanted<'a>(service: &'a str, role: &'a str, counter: u64) -> Wanted<'a> {
    Wanted { service, counter, role, replicas: None, batch: "25%" }
}

/// All connect, all get their plan although some read nothing; all come back at once, and once more when the coordinator
/// is killed in the middle of a rollout, which it then brings to its end. Memory stays what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_agents_get_their_plans_and_come_back_at_once() {
    // In memory where there is such a folder: two thousand joins, each waiting for the disk, are not what is tested.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut coordinator = Coordinator::start(folder.path(), "").await.unwrap();
    let memory = Memory::begin(&coordinator, AGENTS + DEAF);
    let step = Step::begin(&coordinator);
    let members = enrol(&coordinator, "app", AGENTS).await.unwrap();
    let deaf_members = enrol(&coordinator, "deaf", DEAF).await.unwrap();
    step.end("all have joined", 25.0);

    let step = Step::begin(&coordinator);
    let deaf = Herd::start(&coordinator, &deaf_members, Behaviour::Deaf);
    let herd = Herd::start(&coordinator, &members, Behaviour::Honest);
    herd.reported(step.begun, LIMIT).await.unwrap();
    step.end("all have connected and reported", 20.0);
    deaf.board.until("deaf agents are welcomed", DEAF, LIMIT, |look| look.streams > 0).await.unwrap();

    // Plans for those who read nothing fill their windows first.
    for counter in 1..=2 {
        let release = coordinator.papers.sign(&wanted("ballast", "deaf", counter));
        coordinator.submit(&release).await.unwrap();
    }
    let step = Step::begin(&coordinator);
    let release = coordinator.papers.sign(&wanted("web", "app", 1));
    let rollout = coordinator.submit(&release).await.unwrap();
    let holds = |look: &Look| look.held.contains_key(&release.digest);
    herd.board.until("agents hold their plan", AGENTS, LIMIT, holds).await.unwrap();
    assert_eq!(coordinator.follow(&rollout, LIMIT).await.unwrap(), "succeeded");
    step.end("all run the first release", 35.0);
    assert!(herd.board.each(|look| look.running.contains_key(&release.digest)).into_iter().all(|runs| runs));
    memory.look(&coordinator, "after the first release");

    let step = Step::begin(&coordinator);
    herd.cut();
    herd.reported(step.begun, LIMIT).await.unwrap();
    step.end("all have come back at once", 30.0);
    memory.look(&coordinator, "after all have come back");

    let release = coordinator.papers.sign(&wanted("web", "app", 2));
    let rollout = coordinator.submit(&release).await.unwrap();
    let runs = |look: &Look| look.running.contains_key(&release.digest);
    herd.board.until("some agents run the second release", AGENTS / 10, LIMIT, runs).await.unwrap();
    assert!(herd.board.count(runs) < AGENTS, "the coordinator dies in the middle");
    let killed_at = std::time::Instant::now();
    coordinator.kill_and_start().await.unwrap();
    let step = Step::begin(&coordinator);
    herd.reported(killed_at, LIMIT).await.unwrap();
    assert_eq!(coordinator.follow(&rollout, LIMIT).await.unwrap(), "succeeded");
    step.end("killed: all have come back, and the rollout has gone on and succeeded", 45.0);
    assert!(herd.board.each(runs).into_iter().all(|runs| runs));
    memory.look(&coordinator, "after the kill");
    assert_eq!(herd.board.wrongs(), Vec::<String>::new(), "what an agent has to refuse");
}
