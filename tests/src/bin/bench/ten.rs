//! Ten replicas on one engine, one at a time, the new one first, min_ready 0, soak 0, healthy by an HTTP probe;
//! and the ten brought back. Against `docker service update` and `rollback` of the same images, in turn: each runs only
//! while it is measured.

use std::time::Instant;

use anyhow::Result;
use windlass_tests::{Fleet, Host, Service};

use super::figures::print_pairs;
use super::swarm::Swarm;

const PAIRS: usize = 3;

pub(crate) fn run() -> Result<()> {
    let fleet = Fleet::start("bench-ten", 1);
    let (v1, v2) = (fleet.lab.image("v1"), fleet.lab.image("v2"));
    let host: Host = fleet.lab.host_with(2, &serde_json::json!({}));
    let service =
        |image: &str| Service::web(image, 10).with("strategy.rolling.min_ready", "0s").with("soak", "0s");
    fleet.deploy_ok(&service(&v1), "r1");
    let (mut update, mut rollback) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for pair in 0..PAIRS {
        let started_at = Instant::now();
        // After a rollback the content of r2 is known; a variable makes each release new.
        let next = service(&v2).with("env.PAIR", pair.to_string());
        fleet.deploy(&next).expect_code(0);
        update.0.push(started_at.elapsed().as_secs_f64());
        let started_at = Instant::now();
        fleet.cli.ok(&["rollback", "web", "--to", "r1"]);
        rollback.0.push(started_at.elapsed().as_secs_f64());
        fleet.cli.ok(&["stop", "web"]);
        let swarm = Swarm::start(&host, &v1)?;
        update.1.push(swarm.update(&v2)?);
        rollback.1.push(swarm.rollback(&v1)?);
        swarm.leave()?;
        fleet.cli.ok(&["restart", "web"]);
    }
    print_pairs("ten replaced one at a time", "docker service update", &update.0, &update.1, 0.6);
    print_pairs("ten brought back", "docker service rollback", &rollback.0, &rollback.1, 0.15);
    Ok(())
}
