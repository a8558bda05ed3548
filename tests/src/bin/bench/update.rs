//! Requests that fail of a hundred thousand, while ten instances on one engine are replaced one at a time, the new one first, and
//! brought back: through the ingress, and by `docker service update` and `rollback` of the same images beside it.
//!
//! The peer's clients find its instances by the engine's name server, as its `dnsrr` mode has it, and ask from a container in its
//! network. Its routing mesh needs IPVS, which not every kernel has.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use windlass_tests::ingress::{self, NAME};
use windlass_tests::{Fleet, Host, Load, Service};

use super::figures::row;
use super::swarm::{self, Swarm};

/// The first argument of this program where it is a load of its own.
pub(crate) const LOAD: &str = "load";

/// Fewer by `REQUESTS=5000`, for a try.
const REQUESTS: u64 = 100_000;
const RATE: u32 = 1500;
const LIMIT: Duration = Duration::from_secs(150);

pub(crate) fn run() -> Result<()> {
    let requests = std::env::var("REQUESTS").map_or(Ok(REQUESTS), |text| text.parse())?;
    let ours = through_the_ingress(requests)?;
    let theirs = through_swarm(requests)?;
    let what = format!(
        "{requests} requests at {RATE} a second, half of them with a connection each, over an update of ten and its rollback: failed"
    );
    row(&what, &ours.to_string(), &format!("docker service update, start-first, by DNS: {theirs}"));
    Ok(())
}

/// The end of the requests, and the times of both changes.
struct Outcome {
    answered: u64,
    failed: u64,
    first: Vec<String>,
    update: f64,
    rollback: f64,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { answered, failed, update, rollback, .. } = self;
        write!(f, "{failed} of {} (update {update:.1} s, rollback {rollback:.1} s)", answered + failed)?;
        self.first.first().map_or(Ok(()), |first| write!(f, "; the first: {first}"))
    }
}

fn through_the_ingress(requests: u64) -> Result<Outcome> {
    let fleet = Fleet::start("bench-update", 1);
    let edge = fleet.hosts[0].clone();
    let at = format!("{}:80", edge.address);
    let mut process = ingress::start(&fleet, &edge, "ingress.log");
    let service = |tag: &str| {
        let service = Service::web(&fleet.lab.image(tag), 10)
            .with("soak", "0s")
            .with("progress_deadline", "2m")
            .with("health.startup.failures", 60);
        let service = service.with("strategy.rolling.min_ready", "0s");
        service.with("route", json!({ "host": NAME, "port": "http" }))
    };
    fleet.deploy_ok(&service("v1"), "r1");
    ingress::wait_until_routed(&at, "v1");
    let load = Load::begin(&at, NAME, "/version", RATE);
    reach(requests / 10, || load.answered())?;
    let update = timed(|| {
        fleet.deploy(&service("v2")).expect_code(0);
        Ok(())
    })?;
    reach(requests / 2, || load.answered())?;
    let rollback = timed(|| {
        fleet.cli.ok(&["rollback", "web", "--to", "r1"]);
        Ok(())
    })?;
    reach(requests, || load.answered())?;
    let answers = load.end();
    process.stop(Duration::from_secs(40));
    Ok(Outcome {
        answered: answers.answered(),
        failed: answers.failed,
        first: answers.first,
        update,
        rollback,
    })
}

fn through_swarm(requests: u64) -> Result<Outcome> {
    let lab = windlass_tests::Lab::enter();
    let host: Host = lab.host_with(1, &json!({}));
    let (v1, v2) = (lab.image("v1"), lab.image("v2"));
    let (swarm, pid) = Swarm::start_named(&host, &v1)?;
    // The engine's name server answers at this address in every network of its own.
    let resolver = lab.scratch("bench-update-swarm").join("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.11\noptions ndots:0\n")?;
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    let mut child = Command::new("nsenter")
        .arg(format!("--net=/proc/{pid}/ns/net"))
        .args(["unshare", "--mount", "sh", "-c", script])
        .arg(&resolver)
        .arg(std::env::current_exe()?)
        .args([LOAD, &format!("{}:8080", swarm::NAME), &RATE.to_string(), &requests.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (said, answered) = (child.stdout.take().context("no output")?, AtomicU64::new(0));
    let goes_on = child.stdin.take();
    let outcome = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = Value::Null;
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                last = serde_json::from_str(&line).unwrap_or_default();
                answered.store(last["answered"].as_u64().unwrap_or_default(), Relaxed);
            }
            last
        });
        reach(requests / 10, || answered.load(Relaxed))?;
        let update = swarm.update(&v2)?;
        reach(requests / 2, || answered.load(Relaxed))?;
        let rollback = swarm.rollback(&v1)?;
        drop(goes_on);
        let last = reader.join().ok().context("the reader has panicked")?;
        let first = last["first"].as_array().into_iter().flatten();
        anyhow::Ok(Outcome {
            answered: last["answered"].as_u64().context("no end")?,
            failed: last["failed"].as_u64().context("no end")?,
            first: first.filter_map(|line| line.as_str().map(str::to_owned)).collect(),
            update,
            rollback,
        })
    });
    ensure!(child.wait()?.success(), "the load of the peer failed");
    outcome
}

/// A load of its own process: says how many were answered so far, and what became of all of them at the end, which is when there
/// were enough and nobody holds its input open any more.
pub(crate) fn load(arguments: &[String]) -> Result<()> {
    let [address, rate, requests] = arguments else { anyhow::bail!("wants an address, a rate and a number") };
    let requests = requests.parse()?;
    let load = Load::begin(address, "peer", "/version", rate.parse()?);
    let input = std::thread::spawn(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    while (load.answered() < requests || !input.is_finished()) && load.now() < LIMIT {
        std::thread::sleep(Duration::from_millis(200));
        println!("{}", json!({ "answered": load.answered() }));
    }
    let answers = load.end();
    println!(
        "{}",
        json!({ "answered": answers.answered(), "failed": answers.failed, "first": answers.first })
    );
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun_at = Instant::now();
    work()?;
    Ok(begun_at.elapsed().as_secs_f64())
}

/// Waits until so many requests were answered.
fn reach(wanted: u64, answered: impl Fn() -> u64) -> Result<()> {
    let begun_at = Instant::now();
    while answered() < wanted {
        ensure!(begun_at.elapsed() < LIMIT, "only {} of {wanted} requests were answered", answered());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
