//! Data of each scrape: hosts, services, rollouts, instances, certificates, store, process. Nothing of it is
//! kept between two scrapes, so that what has gone is not there any more.
//!
//! Cardinality: a host has about 40 series, one for each of its conditions, 4 for each of its file systems and 17 for each GPU, with
//! one for each process on it that holds memory (64 at most); a service about 20; an instance up to 22. At most [`INSTANCES`] are told.

mod fleet;
mod gather;
mod hosts;
mod instances;
mod out;
mod process;
mod routes;
mod services;

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use windlass_core::Timestamp;

use out::{Out, count, number};

pub(crate) use gather::{Place, gather, status};

/// Instances that are told; a fleet that has more tells how many it leaves out.
pub(crate) const INSTANCES: usize = 5000;
/// Rollouts under way that are asked what they wait for: each is a decision.
pub(crate) const ROLLOUTS: usize = 200;

/// Everything, as it was at one moment.
#[derive(Debug)]
pub(crate) struct Scrape {
    now: Timestamp,
    fleet: fleet::Fleet,
    routes: routes::Routes,
    hosts: Vec<hosts::Host>,
    services: Vec<services::Service>,
    instances: Vec<instances::Instance>,
    left_out: usize,
    handshakes: BTreeMap<&'static str, u64>,
}

/// Metrics of the process, under the names that every program uses.
#[derive(Debug)]
struct Process;

impl Scrape {
    /// A scrape without hosts, services and instances yet.
    fn at(now: Timestamp, fleet: fleet::Fleet, handshakes: BTreeMap<&'static str, u64>) -> Self {
        Self {
            now,
            fleet,
            routes: routes::Routes::default(),
            hosts: Vec::new(),
            services: Vec::new(),
            instances: Vec::new(),
            left_out: 0,
            handshakes,
        }
    }

    /// Adds instances up to [`INSTANCES`], and counts those that it leaves out.
    fn add_instances(&mut self, all: Vec<instances::Instance>) {
        let room = INSTANCES.saturating_sub(self.instances.len());
        self.left_out += all.len().saturating_sub(room);
        self.instances.extend(all.into_iter().take(room));
    }

    /// The text of it in OpenMetrics, without the end.
    pub(crate) fn text(self) -> String {
        let mut text = String::new();
        let mut ours = Registry::with_prefix("windlass");
        ours.register_collector(Box::new(self));
        let mut process = Registry::default();
        process.register_collector(Box::new(Process));
        for registry in [&ours, &process] {
            let _infallible_to_a_string =
                prometheus_client::encoding::text::encode_registry(&mut text, registry);
        }
        text
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out::new(encoder);
        fleet::write(&mut out, &self.fleet)?;
        let outcomes =
            self.handshakes.iter().map(|(outcome, count)| ([("outcome", *outcome)], number(*count)));
        out.counter("tls_handshakes", "TLS handshakes by outcome", outcomes)?;
        routes::write(&mut out, &self.routes)?;
        hosts::write(&mut out, &self.hosts, self.now)?;
        services::write(&mut out, &self.services, self.now)?;
        instances::write(&mut out, &self.instances)?;
        let help = "Instances that are not told here, because there are too many";
        out.one("metrics_instances_left_out", help, count(self.left_out))
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        process::write(&mut Out::new(encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_beyond_the_bound_are_counted_and_not_told() {
        let mut scrape = Scrape::at(Timestamp::ZERO, fleet::Fleet::default(), BTreeMap::new());
        let told = |service: usize, count: usize| {
            (0..count).map(|slot| instances::Instance::of(&format!("s{service}"), slot)).collect::<Vec<_>>()
        };
        scrape.add_instances(told(1, INSTANCES - 1));
        assert_eq!((scrape.instances.len(), scrape.left_out), (INSTANCES - 1, 0));
        scrape.add_instances(told(2, 3));
        scrape.add_instances(told(3, 4));
        let text = scrape.text();
        let series = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(series("windlass_instance_healthy{"), INSTANCES);
        assert_eq!(series("windlass_instance_runs_total{"), INSTANCES);
        assert!(text.contains("service=\"s2\"") && !text.contains("service=\"s3\""), "the first ones");
        assert!(text.lines().any(|line| line == "windlass_metrics_instances_left_out 6.0"), "{}", {
            text.lines().filter(|line| line.contains("left_out")).collect::<Vec<_>>().join("\n")
        });
    }
}
