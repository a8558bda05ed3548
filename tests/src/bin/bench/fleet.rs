//! A coordinator with 1,000 and with 5,000 agents over real mTLS streams: memory per agent, processor at the default
//! heartbeat, how long a release takes to every host, how long lists are, and all of them coming back at once.
//!
//! `RELEASES_ONLY=1` measures nothing but the two releases, so that two builds can be compared in turn.
//!
//! The agents live in this process, on the same processors: every time that is measured includes their share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use windlass_proto::pb;
use windlass_tests::fleetsim::{Behaviour, Coordinator, Herd, Member, Wanted, enrol};

use super::figures::{cpu_seconds, percentile, resident_mb, row, share};
use super::looks::{Looks, words};

const SIZES: [usize; 2] = [1000, 5000];
const WATCHED: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(240);
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn run() -> Result<()> {
    for agents in sizes() {
        one(agents).await?;
    }
    Ok(())
}

/// `AGENTS=200` for a quick look.
fn sizes() -> Vec<usize> {
    let wanted = std::env::var("AGENTS").ok().and_then(|text| text.parse().ok());
    wanted.map_or_else(|| SIZES.to_vec(), |agents| vec![agents])
}

async fn one(agents: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut coordinator = Coordinator::start(folder.path(), "").await?;
    let members = enrol(&coordinator, "app", agents).await?;
    // Memory that joining left behind is not the streams'.
    coordinator.kill_and_start().await?;
    let without = resident_mb(coordinator.process.pid())?;
    let begun = Instant::now();
    let herd = Herd::start(&coordinator, &members, Behaviour::Honest);
    herd.reported(begun, LIMIT).await?;
    // The traces of the first connections (observations to be stored) come to rest.
    tokio::time::sleep(SETTLE).await;
    let whole = std::env::var_os("RELEASES_ONLY").is_none();
    if whole {
        at_rest(agents, &coordinator, without).await?;
    }
    for counter in 1..=2 {
        release(&coordinator, &herd, &members, counter).await?;
    }
    if whole {
        lists(agents, &coordinator).await?;
        back(agents, &mut coordinator, &herd).await?;
    }
    ensure!(herd.board.wrongs().is_empty(), "agents had to refuse: {:?}", herd.board.wrongs());
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
async fn at_rest(agents: usize, coordinator: &Coordinator, without: f64) -> Result<()> {
    let pid = coordinator.process.pid();
    let (before, watched) = (cpu_seconds(pid)?, Instant::now());
    tokio::time::sleep(WATCHED).await;
    let cpu = share(cpu_seconds(pid)? - before, watched.elapsed());
    let standing = resident_mb(pid)?;
    let each = (standing - without) * 1000.0 / agents as f64;
    let beats = agents as f64 / windlass_proto::limits::HEARTBEAT.as_secs_f64();
    row(
        &format!("{agents} agents: memory of the coordinator per agent that is connected"),
        &format!("{each:.0} KB ({standing:.0} MB in all, {without:.0} MB before the first connected)"),
        "a raw stream: 51 KB",
    );
    row(
        &format!(
            "{agents} agents: processor at the default heartbeat, {beats:.0} beats/s, over {} s",
            WATCHED.as_secs()
        ),
        &format!("{cpu:.1} % of a core"),
        "raw streams: 7 % of a core for 1,000 beats/s",
    );
    Ok(())
}

/// A release of a service that runs on every host: the first one installs it, the second one replaces it.
async fn release(
    coordinator: &Coordinator,
    herd: &Herd,
    members: &[Arc<Member>],
    counter: u64,
) -> Result<()> {
    let agents = members.len();
    let wanted = Wanted { service: "web", counter, role: "app", replicas: None, batch: "25%" };
    let release = coordinator.papers.sign(&wanted);
    let looks = Looks::until_now(coordinator).await?;
    // The agents, all of them in this process, share the processors with the coordinator.
    let (own, itself) = (coordinator.process.pid(), std::process::id());
    let (submitted, before, before_it) = (Instant::now(), cpu_seconds(own)?, cpu_seconds(itself)?);
    let rollout = coordinator.submit(&release).await?;
    let outcome = coordinator.follow(&rollout, LIMIT).await?;
    let took = submitted.elapsed().as_secs_f64();
    let (cpu, agents_cpu) = (cpu_seconds(own)? - before, cpu_seconds(itself)? - before_it);
    ensure!(outcome == "succeeded", "the rollout ended as {outcome}");
    let looks = Looks::since(looks, coordinator).await?;
    let since = |at: Option<&Instant>| at.map_or(f64::NAN, |at| at.duration_since(submitted).as_secs_f64());
    let held = herd.board.each(|look| since(look.held.get(&release.digest)));
    let running = herd.board.each(|look| since(look.running.get(&release.digest)));
    let spread = |values: &[f64]| {
        let [half, most, last] = [0.5, 0.99, 1.0].map(|share| percentile(values, share));
        format!("p50 {half:.2} s, p99 {most:.2} s, last {last:.2} s")
    };
    let what = if counter == 1 { "first release" } else { "next release" };
    let what = format!("{agents} agents: {what} of a service on every host, submitted");
    row(&format!("{what} → an agent holds its verified plan"), &spread(&held), "");
    row(&format!("{what} → an agent is told to run it, batch 25 %"), &spread(&running), "");
    row(
        &format!("{what} → rollout succeeded"),
        &format!(
            "{took:.2} s, {cpu:.2} s of the coordinator's processor, {agents_cpu:.2} s of the agents'; {}",
            words(&[looks])
        ),
        "",
    );
    Ok(())
}

/// The lists of an operator that grow with the fleet.
async fn lists(agents: usize, coordinator: &Coordinator) -> Result<()> {
    let mut control = coordinator.control("viewer/*").await?;
    let all = String::new();
    let begun = Instant::now();
    let hosts = control.list_hosts(pb::ListHostsRequest {}).await?.into_inner().view.len();
    let hosts = (hosts, begun.elapsed());
    let begun = Instant::now();
    let request = pb::GetStatusRequest { service: all.clone() };
    let status = control.get_status(request).await?.into_inner().view.len();
    let status = (status, begun.elapsed());
    let begun = Instant::now();
    let request = pb::ListRolloutsRequest { service: all };
    let rollouts = control.list_rollouts(request).await?.into_inner().view.len();
    let rollouts = (rollouts, begun.elapsed());
    for (name, (bytes, took)) in [("host ls", hosts), ("status", status), ("rollout ls", rollouts)] {
        row(
            &format!("{agents} agents: `{name}`"),
            &format!("{} KB in {} ms", bytes / 1000, took.as_millis()),
            "a message takes 8.4 MB",
        );
    }
    Ok(())
}

/// Everybody comes back at once: first to the same process, then to a new one.
async fn back(agents: usize, coordinator: &mut Coordinator, herd: &Herd) -> Result<()> {
    let cut_at = Instant::now();
    herd.cut();
    let took = herd.reported(cut_at, LIMIT).await?.as_secs_f64();
    row(
        &format!("{agents} agents: all streams cut at once → all connected and reported"),
        &format!("{took:.1} s"),
        "raw handshakes: 4.1 s for 10,000",
    );
    let killed_at = Instant::now();
    coordinator.kill_and_start().await?;
    let ready = killed_at.elapsed().as_secs_f64();
    let took = herd.reported(killed_at, LIMIT).await?.as_secs_f64();
    row(
        &format!("{agents} agents: SIGKILL → all connected and reported"),
        &format!(
            "{took:.1} s (ready after {ready:.2} s), {:.0} MB then",
            resident_mb(coordinator.process.pid())?
        ),
        "",
    );
    Ok(())
}
