//! What Prometheus reads.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use windlass_core::host::Liveness;

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
    handshakes: Family<OutcomeLabel, Gauge<i64>>,
    pub(crate) audit_entries: Gauge<u64, AtomicU64>,
    pub(crate) streams: Gauge,
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

/// What was not done for a peer that wants too much.
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
struct OutcomeLabel {
    outcome: &'static str,
}

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
        let handshakes = Family::default();
        registry.register("tls_handshakes", "TLS handshakes by outcome", handshakes.clone());
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
            handshakes,
            audit_entries,
            streams,
        }
    }
}

impl Metrics {
    /// In the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let _infallible_to_a_string = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// How many hosts are in which state.
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

    /// How handshakes ended so far.
    pub(crate) fn handshakes(&self, counts: impl IntoIterator<Item = (&'static str, u64)>) {
        for (outcome, count) in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.handshakes.get_or_create(&OutcomeLabel { outcome }).set(count);
        }
    }
}
