//! Twenty services of one instance deployed at once, soak 3 s, `min_ready` 0: on one host, and on three. Beside it the
//! same containers, started all at once straight through the engines' API, and the ones before them stopped.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use windlass_tests::{Fleet, Host, Many, Service, http};

use super::figures::{print_pairs, row, seconds};

const SERVICES: usize = 20;
const SOAK: Duration = Duration::from_secs(3);
const RUNS: usize = 3;
/// Containers that are started at once, as an agent does.
const AT_ONCE: usize = 12;
/// The first port of a host that the peer's containers get.
const PORT: usize = 18_000;

pub(crate) fn run() -> Result<()> {
    for hosts in [1, 3] {
        let fleet = Fleet::start(&format!("bench-many-{hosts}"), hosts);
        let (mut totals, mut soaks, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for run in 0..RUNS {
            let image = fleet.lab.image(if run % 2 == 0 { "v1" } else { "v2" });
            let many = Many::deploy(&fleet, SERVICES, |_| {
                let service = Service::web(&image, 1).with("env.RUN", run.to_string());
                let service = service.with("soak", "3s").with("strategy.rolling.min_ready", "0s");
                service.with("resources.memory", "16MiB")
            });
            totals.push(many.total.as_secs_f64());
            soaks.push(many.longest().as_secs_f64());
            // The time beside the soak, against engines that do the same and nothing else.
            ours.push(many.total.saturating_sub(SOAK).as_secs_f64());
            theirs.push(straight(&fleet.hosts, &image, run > 0)?);
        }
        let what = format!("{SERVICES} services at once on {hosts} host(s), first submission → last end");
        row(&what, &seconds(&totals), &format!("soak {SOAK:?}; the longest soak {}", seconds(&soaks)));
        print_pairs("the same without the soak", "engine API", &ours, &theirs, 1.3);
    }
    Ok(())
}

/// Seconds until as many containers answer on these hosts, and those before them, if there are any, have stopped.
fn straight(hosts: &[Host], image: &str, replaces: bool) -> Result<f64> {
    for host in hosts {
        let (name, tag) = image.rsplit_once(':').context("the image has no tag")?;
        host.engine.ask("POST", &format!("/images/create?fromImage={name}&tag={tag}"), "")?;
    }
    let host = |n: usize| &hosts[n % hosts.len()];
    let before = Mutex::new(Vec::new());
    if replaces {
        at_once(|n| keep(&before, (n, start(host(n), image, PORT + n)?)))?;
    }
    let before = before.into_inner().context("a thread has panicked")?;
    let begun_at = Instant::now();
    let now = Mutex::new(Vec::new());
    at_once(|n| {
        let port = PORT + SERVICES + n;
        keep(&now, (n, start(host(n), image, port)?))?;
        answers(&format!("{}:{port}", host(n).address))?;
        let old = before.iter().find(|(of, _)| *of == n);
        old.map_or(Ok(()), |(_, id)| {
            host(n).engine.ask("POST", &format!("/containers/{id}/stop?t=2"), "").map(drop)
        })
    })?;
    let took = begun_at.elapsed().as_secs_f64();
    for (n, id) in before.into_iter().chain(now.into_inner().context("a thread has panicked")?) {
        host(n).engine.remove(&id)?;
    }
    Ok(took)
}

/// Does `work` for each of the containers, some at once.
fn at_once(work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(n) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < SERVICES) {
            work(n)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

fn keep(list: &Mutex<Vec<(usize, String)>>, made: (usize, String)) -> Result<()> {
    list.lock().ok().context("a thread has panicked")?.push(made);
    Ok(())
}

/// A container like the one that an agent makes; answers with its id.
fn start(host: &Host, image: &str, port: usize) -> Result<String> {
    let body = json!({
        "Image": image,
        "ExposedPorts": { "8080/tcp": {} },
        "Healthcheck": { "Test": ["NONE"] },
        "HostConfig": {
            "PortBindings": { "8080/tcp": [{ "HostPort": port.to_string() }] },
            "Init": true, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"],
            "Memory": 16 << 20, "MemorySwap": 16 << 20, "NanoCpus": 100_000_000, "PidsLimit": 512,
        },
    });
    let created = host.engine.ask("POST", "/containers/create", &body.to_string())?;
    let id = created["Id"].as_str().context("no id")?.to_owned();
    host.engine.ask("POST", &format!("/containers/{id}/start"), "")?;
    Ok(id)
}

fn answers(address: &str) -> Result<()> {
    let begun_at = Instant::now();
    while !http::get(address, "/health/ready", Duration::from_secs(1)).is_ok_and(|a| a.status == 200) {
        ensure!(begun_at.elapsed() < Duration::from_secs(20), "{address} never became ready");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
