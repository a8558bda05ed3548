//! One replica, image on the host: from submission to the first healthy report, against create + start +
//! first good probe straight through the engine's API.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use windlass_tests::{Fleet, Host, Service, http};

use super::figures::print_pairs;

const PAIRS: usize = 9;
const PORT: u16 = 18_080;

pub(crate) fn run() -> Result<()> {
    let fleet = Fleet::start("bench-first", 1);
    let image = fleet.lab.image("v1");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first pair warms up: it pulls the image.
    for pair in 0..=PAIRS {
        let windlass = submit(&fleet, &image, pair)?;
        let engine = straight(&fleet.hosts[0], &image, pair)?;
        if pair > 0 {
            ours.push(windlass);
            theirs.push(engine);
        }
    }
    print_pairs("submit to first healthy report", "engine API", &ours, &theirs, 1.3);
    Ok(())
}

/// Seconds from the making of the rollout, by the coordinator's clock, until a follower is told that the
/// instance is healthy.
fn submit(fleet: &Fleet, image: &str, pair: usize) -> Result<f64> {
    let service = Service::web(image, 1)
        .with("service", format!("first-{pair}"))
        .with("strategy.rolling.min_ready", "0s")
        .with("soak", "0s");
    let file = service.write(&fleet.folder, "first.yaml");
    let file = file.to_str().context("paths of the lab are text")?;
    let end = fleet.cli.run(&["deploy", "-f", file, "--timeout", "1m", "-o", "json"]).expect_code(0).last();
    let status = fleet.cli.json(&["status", &format!("first-{pair}")]);
    let since = status["instances"][0]["since"].as_str().context("the instance has no time")?;
    let rollout = end["rollout"].as_str().context("the end names no rollout")?;
    let created = fleet.cli.json(&["rollout", "show", rollout])["created_at"].clone();
    let created = created.as_str().context("the rollout has no time")?;
    let millis = |text: &str| -> Result<i64> { Ok(text.parse::<windlass_core::Timestamp>()?.as_millis()) };
    #[expect(clippy::cast_precision_loss, reason = "a few seconds in milliseconds")]
    Ok((millis(since)? - millis(created)?) as f64 / 1000.0)
}

/// Seconds for the same container, made by hand.
fn straight(host: &Host, image: &str, pair: usize) -> Result<f64> {
    let port = PORT + u16::try_from(pair)?;
    let body = json!({
        "Image": image,
        "ExposedPorts": { "8080/tcp": {} },
        "HostConfig": {
            "PortBindings": { "8080/tcp": [{ "HostPort": port.to_string() }] },
            "Init": true, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"],
            "Memory": 32 << 20, "MemorySwap": 32 << 20, "NanoCpus": 100_000_000, "PidsLimit": 512,
        },
    });
    let (name, tag) = image.rsplit_once(':').context("the image has no tag")?;
    host.engine.ask("POST", &format!("/images/create?fromImage={name}&tag={tag}"), "")?;
    let started_at = Instant::now();
    let created = host.engine.ask("POST", "/containers/create", &body.to_string())?;
    let id = created["Id"].as_str().context("no id")?;
    host.engine.ask("POST", &format!("/containers/{id}/start"), "")?;
    let address = format!("{}:{port}", host.address);
    while !http::get(&address, "/health/ready", Duration::from_secs(1)).is_ok_and(|a| a.status == 200) {
        anyhow::ensure!(started_at.elapsed() < Duration::from_secs(20), "it never became ready");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(started_at.elapsed().as_secs_f64())
}
