//! Twenty services of one instance deployed at once, soak 3 s, `min_ready` 0: on one host, and on three.

use std::time::Duration;

use anyhow::Result;
use windlass_tests::{Fleet, Many, Service};

use super::figures::{row, seconds};

const SERVICES: usize = 20;
const SOAK: Duration = Duration::from_secs(3);
const RUNS: usize = 3;

pub(crate) fn run() -> Result<()> {
    for hosts in [1, 3] {
        let fleet = Fleet::start(&format!("bench-many-{hosts}"), hosts);
        let (mut totals, mut soaks) = (Vec::new(), Vec::new());
        for run in 0..RUNS {
            let image = fleet.lab.image(if run % 2 == 0 { "v1" } else { "v2" });
            let many = Many::deploy(&fleet, SERVICES, |_| {
                let service = Service::web(&image, 1).with("env.RUN", run.to_string());
                let service = service.with("soak", "3s").with("strategy.rolling.min_ready", "0s");
                service.with("resources.memory", "16MiB")
            });
            totals.push(many.total.as_secs_f64());
            soaks.push(many.longest().as_secs_f64());
        }
        let what = format!("{SERVICES} services at once on {hosts} host(s), first submission → last end");
        row(&what, &seconds(&totals), &format!("soak {SOAK:?}; the longest soak {}", seconds(&soaks)));
    }
    Ok(())
}
