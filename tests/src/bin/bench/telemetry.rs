//! The price of telemetry: a coordinator with 1,000 agents that say how their hosts and containers do, one scrape of it, and one
//! reader of `windlass top`; and the process that asks for GPUs, with a double of NVIDIA's library.
//!
//! The agents live in this process, on the same processors.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use windlass_proto::pb;
use windlass_tests::fleetsim::{Behaviour, Coordinator, Herd, Wanted, enrol};

use super::figures::{cpu_seconds, percentile, resident_mb, row, share};

const AGENTS: usize = 1000;
const WATCHED: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(240);
/// Figures are put into rings every 10 s.
const RINGS: Duration = Duration::from_secs(30);
const SCRAPES: usize = 10;
const LOOKS: u32 = 200;

pub(crate) async fn run() -> Result<()> {
    let wanted = std::env::var("AGENTS").ok().and_then(|text| text.parse().ok());
    fleet(wanted.unwrap_or(AGENTS)).await?;
    gpu_probe()
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
async fn fleet(agents: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let coordinator = Coordinator::start(folder.path(), "").await?;
    let members = enrol(&coordinator, "app", agents).await?;
    let begun = Instant::now();
    let herd = Herd::start(&coordinator, &members, Behaviour::Honest);
    herd.reported(begun, LIMIT).await?;
    let wanted = Wanted { service: "web", counter: 1, role: "app", replicas: None, batch: "25%" };
    let rollout = coordinator.submit(&coordinator.papers.sign(&wanted)).await?;
    let outcome = coordinator.follow(&rollout, LIMIT).await?;
    ensure!(outcome == "succeeded", "the rollout ended as {outcome}");
    let begun = Instant::now();
    while coordinator.metric("windlass_history_rings")? < (agents + 1) as f64 {
        ensure!(begun.elapsed() < LIMIT, "not every host has figures");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(RINGS).await;
    let bytes = coordinator.metric("windlass_history_size_bytes")?;
    row(
        &format!("{agents} agents: memory of the figures that are kept of hosts and of their service"),
        &format!(
            "{:.1} MB, {:.1} KB a host ({:.0} MB the whole coordinator)",
            bytes / 1e6,
            bytes / 1000.0 / agents as f64,
            resident_mb(coordinator.process.pid())?
        ),
        "goal: at most 16 KB a host",
    );
    let rest = cpu_of(&coordinator).await?;
    row(
        &format!(
            "{agents} agents: processor with statistics of hosts and containers, over {} s",
            WATCHED.as_secs()
        ),
        &format!("{rest:.1} % of a core"),
        "",
    );
    scrapes(agents, &coordinator)?;
    watched(agents, &coordinator, rest).await?;
    ensure!(herd.board.wrongs().is_empty(), "agents had to refuse: {:?}", herd.board.wrongs());
    Ok(())
}

/// The share of a core that the coordinator takes.
async fn cpu_of(coordinator: &Coordinator) -> Result<f64> {
    let pid = coordinator.process.pid();
    let (before, began) = (cpu_seconds(pid)?, Instant::now());
    tokio::time::sleep(WATCHED).await;
    Ok(share(cpu_seconds(pid)? - before, began.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "millions")]
fn scrapes(agents: usize, coordinator: &Coordinator) -> Result<()> {
    let (mut took, mut size) = (Vec::new(), 0);
    for _ in 0..SCRAPES {
        // A question within half a second gets the answer before.
        std::thread::sleep(Duration::from_secs(1));
        let began = Instant::now();
        let text = coordinator.metrics()?;
        took.push(began.elapsed().as_secs_f64());
        size = text.len();
    }
    row(
        &format!("{agents} agents: one scrape of `/metrics`, {SCRAPES} of them"),
        &format!(
            "{:.2} MB, p50 {:.2} s, the slowest {:.2} s",
            size as f64 / 1e6,
            percentile(&took, 0.5),
            percentile(&took, 1.0)
        ),
        "goal: 1 s and 20 MB",
    );
    Ok(())
}

/// One reader who looks at a terminal of 50 lines, once a second.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
async fn watched(agents: usize, coordinator: &Coordinator, rest: f64) -> Result<()> {
    let mut control = coordinator.control("viewer/*").await?;
    let pid = coordinator.process.pid();
    let (before, began) = (cpu_seconds(pid)?, Instant::now());
    let (mut screens, mut bytes) = (0_u32, 0);
    while began.elapsed() < WATCHED {
        let board = "hosts".to_owned();
        let request =
            pb::WatchFleetRequest { board, sort: 2, descending: true, limit: 150, ..Default::default() };
        let mut stream = control.watch_fleet(request).await?.into_inner();
        while began.elapsed() < WATCHED
            && let Some(screen) = stream.message().await?
        {
            screens += 1;
            bytes += screen.view.len();
        }
    }
    let cpu = share(cpu_seconds(pid)? - before, began.elapsed());
    row(
        &format!("{agents} agents: one `windlass top` of 50 lines, by processor of its hosts"),
        &format!(
            "{:.1} % of a core more, {screens} screens in {} s, {:.0} KB each",
            cpu - rest,
            began.elapsed().as_secs(),
            bytes as f64 / 1000.0 / f64::from(screens.max(1))
        ),
        "",
    );
    Ok(())
}

/// The agent's child that calls the library, with two GPUs of a double.
fn gpu_probe() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (library, state) = (folder.path().join("libnvidia-ml.so.1"), folder.path().join("gpus.state"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu/fake_nvml.c");
    let mut built = Command::new("gcc");
    built.args(["-std=c11", "-O2", "-shared", "-fPIC", "-o"]).args([&library, &source]);
    ensure!(built.status().context("gcc is not installed")?.success(), "gcc does not build the double");
    let gpu = |n: u32| {
        format!("gpu uuid=GPU-{n} name=NVIDIA-L4 total=24576 used=1000 util=37 temp=55 power=61000\n")
    };
    std::fs::write(&state, format!("driver 550.90.07\n{}{}", gpu(1), gpu(2)))?;
    let mut child = Command::new(windlass_tests::fleet::program("windlass-agent"))
        .arg("gpu-probe")
        .env("WINDLASS_NVML", &library)
        .env("FAKE_NVML_STATE", &state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let figures = ask(&mut child);
    child.kill()?;
    child.wait()?;
    let (each, memory) = figures?;
    row(
        "process that asks for GPUs, with a double of the library (two cards)",
        &format!("VmRSS {memory:.1} MB, {each:.2} ms of processor for a look, every 5 s"),
        "NVIDIA's own library takes more: `tests/gpu/real.sh` measures it",
    );
    Ok(())
}

/// Milliseconds of processor for a look, and the memory afterwards.
fn ask(child: &mut std::process::Child) -> Result<(f64, f64)> {
    let mut input = child.stdin.take().context("no input")?;
    let mut output = BufReader::new(child.stdout.take().context("no output")?);
    let mut line = String::new();
    let mut look = || -> Result<()> {
        line.clear();
        input.write_all(b"\"look\"\n")?;
        output.read_line(&mut line)?;
        ensure!(line.contains("GPU-2"), "it answers: {line}");
        Ok(())
    };
    look()?;
    let before = cpu_seconds(child.id())?;
    for _ in 0..LOOKS {
        look()?;
    }
    Ok(((cpu_seconds(child.id())? - before) * 1000.0 / f64::from(LOOKS), resident_mb(child.id())?))
}
