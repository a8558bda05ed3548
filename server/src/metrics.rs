//! The metrics that Prometheus reads.

mod classic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use windlass_core::host::Liveness;

pub(crate) use classic::classic;

/// All metrics. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    hosts: Family<StateLabel, Gauge>,
    rpcs: Family<RpcLabels, Counter>,
    denied: Family<RpcLabel, Counter>,
    dropped: Family<WhatLabel, Counter>,
    steps: Family<ChangedLabel, Counter>,
    step_seconds: Histogram,
    receipts: Family<OkLabel, Counter>,
    conditions: Family<CodeLabel, Gauge>,
    restarts: Family<ReasonLabel, Counter>,
    pub(crate) audit_entries: Gauge<u64, AtomicU64>,
    pub(crate) streams: Gauge,
    /// Codes of conditions that were counted once.
    counted: Arc<Mutex<BTreeSet<String>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabel {
    method: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    method: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangedLabel {
    changed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OkLabel {
    ok: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

/// Work that was not done for a peer that asks too much.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dropped {
    /// A line of the log.
    Line,
    /// A connection of somebody who was refused again and again.
    Connection,
    /// A call that writes, beyond the quota of its identity.
    Write,
    /// A request for metrics or health.
    Http,
}

impl Dropped {
    const fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Connection => "connection",
            Self::Write => "write",
            Self::Http => "http",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Codes of conditions that are counted by name; others are counted as `other`.
const CODES: usize = 64;

const fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("windlass");
        let hosts = Family::default();
        registry.register("hosts", "Hosts of the fleet by liveness", hosts.clone());
        let rpcs = Family::default();
        registry.register("rpcs", "Calls by method and gRPC code", rpcs.clone());
        let denied = Family::default();
        registry.register("rpcs_denied", "Calls refused by the access table", denied.clone());
        let dropped = Family::default();
        registry.register("dropped", "What was not done for peers that want too much", dropped.clone());
        let steps = Family::default();
        registry.register(
            "engine_steps",
            "Looks at a service, by whether they changed anything",
            steps.clone(),
        );
        let step_seconds = Histogram::new(exponential_buckets(0.0001, 2.0, 16));
        registry.register(
            "engine_step_seconds",
            "Duration of a look, storing included",
            step_seconds.clone(),
        );
        let receipts = Family::default();
        registry.register("receipts", "Receipts of agents by whether they hold", receipts.clone());
        let conditions = Family::default();
        let help = "What is wrong with instances and slots now, by code";
        registry.register("conditions", help, conditions.clone());
        let restarts = Family::default();
        let help = "Instances started again after they ended, by why they ended";
        registry.register("instance_restarts", help, restarts.clone());
        let audit_entries = Gauge::default();
        registry.register("audit_entries", "Entries of the audit log", audit_entries.clone());
        let streams = Gauge::default();
        registry.register("agent_streams", "Agents whose stream stands", streams.clone());
        let registry = Arc::new(registry);
        Self {
            registry,
            hosts,
            rpcs,
            denied,
            dropped,
            steps,
            step_seconds,
            receipts,
            conditions,
            restarts,
            audit_entries,
            streams,
            counted: Arc::default(),
        }
    }
}

impl Metrics {
    /// In the text format of OpenMetrics, behind `first`, which was looked up for this scrape.
    pub(crate) fn render(&self, first: String) -> String {
        let mut text = first;
        let _infallible_to_a_string = text::encode_registry(&mut text, &self.registry);
        let _infallible_to_a_string = text::encode_eof(&mut text);
        text
    }

    /// Counts the hosts by state.
    pub(crate) fn hosts(&self, states: impl Iterator<Item = Liveness>) {
        let mut counts = [0_i64; 4];
        for state in states {
            counts[state as usize] += 1;
        }
        let names = [Liveness::Unknown, Liveness::Connected, Liveness::Suspect, Liveness::Lost];
        for name in names {
            self.hosts.get_or_create(&StateLabel { state: name.as_str() }).set(counts[name as usize]);
        }
    }

    /// A call has ended, or its stream has begun.
    pub(crate) fn rpc(&self, method: &str, code: tonic::Code) {
        let labels = RpcLabels { method: method.to_owned(), code: format!("{code:?}") };
        self.rpcs.get_or_create(&labels).inc();
    }

    /// A call was refused by the access table.
    pub(crate) fn denied(&self, method: &str) {
        self.denied.get_or_create(&RpcLabel { method: method.to_owned() }).inc();
    }

    /// Something was not done.
    pub(crate) fn dropped(&self, what: Dropped) {
        self.dropped.get_or_create(&WhatLabel { what: what.name() }).inc();
    }

    /// The engine looked at a service.
    pub(crate) fn step(&self, took: Duration, changed: bool) {
        self.steps.get_or_create(&ChangedLabel { changed: yes(changed) }).inc();
        self.step_seconds.observe(took.as_secs_f64());
    }

    /// A receipt was checked.
    pub(crate) fn receipt(&self, ok: bool) {
        self.receipts.get_or_create(&OkLabel { ok: yes(ok) }).inc();
    }

    /// Counts the present conditions by code.
    pub(crate) fn conditions<'a>(&self, codes: impl Iterator<Item = &'a str>) {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for code in codes {
            let code = if counts.len() >= CODES { "other" } else { code };
            *counts.entry(code).or_default() += 1;
        }
        // A condition that is gone stands at zero.
        let mut known = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(counts.keys().take(CODES).map(|code| (*code).to_owned()));
        for code in known.iter() {
            let count = counts.get(code.as_str()).copied().unwrap_or(0);
            self.conditions.get_or_create(&CodeLabel { code: code.clone() }).set(count);
        }
    }

    /// Counts instances that were started again; `oom` says whether the last one ended for memory.
    pub(crate) fn restarted(&self, oom: bool, count: u32) {
        let reason = if oom { "memory" } else { "exit" };
        self.restarts.get_or_create(&ReasonLabel { reason }).inc_by(u64::from(count));
    }
}
