//! Traffic in numbers: the newest table of each environment, and how each ingress follows it. Looked at when it is asked for,
//! so that what has gone is not there any more.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use windlass_core::traffic::Traffic;
use windlass_core::{Timestamp, view};

/// The gauges of traffic. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct RoutesGauges {
    seq: Family<EnvironmentLabel, Gauge>,
    unserved: Family<EnvironmentLabel, Gauge>,
    lag: Family<IngressLabels, Gauge>,
    age: Family<HostLabel, Gauge<f64, AtomicU64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EnvironmentLabel {
    environment: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IngressLabels {
    environment: String,
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostLabel {
    host: String,
}

impl RoutesGauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        registry.register("routes_seq", "Number of the newest traffic table", gauges.seq.clone());
        let help = "Services with a name under which no instance takes requests";
        registry.register("routes_services_without_endpoint", help, gauges.unserved.clone());
        let help = "Tables by which an ingress is behind the newest one";
        registry.register("ingress_seq_lag", help, gauges.lag.clone());
        let help = "Time since an ingress was last heard of";
        registry.register("ingress_report_age_seconds", help, gauges.age.clone());
        gauges
    }

    /// Sets all of them to what they are at `now`.
    pub(crate) fn set(&self, traffic: &Traffic, now: Timestamp) {
        self.seq.clear();
        self.unserved.clear();
        self.lag.clear();
        self.age.clear();
        for environment in traffic.tables.keys() {
            let Some(view) = view::routes(traffic, environment, None) else { continue };
            let label = EnvironmentLabel { environment: environment.to_string() };
            self.seq.get_or_create(&label).set(number(view.seq));
            let unserved = view.services.iter().filter(|service| service.is_unserved()).count();
            self.unserved.get_or_create(&label).set(i64::try_from(unserved).unwrap_or(i64::MAX));
            for ingress in &view.ingresses {
                let labels =
                    IngressLabels { environment: environment.to_string(), host: ingress.host.to_string() };
                let lag = ingress.wanted.saturating_sub(ingress.acknowledged.unwrap_or(0));
                self.lag.get_or_create(&labels).set(number(lag));
            }
        }
        for (host, ingress) in &traffic.ingresses {
            let heard_at = ingress.processes.heard_at().unwrap_or(ingress.since);
            let label = HostLabel { host: host.to_string() };
            self.age.get_or_create(&label).set(now.since(heard_at).as_secs_f64());
        }
    }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use windlass_core::Digest;
    use windlass_core::traffic::{Ingress, Processes, Table};

    use super::*;
    use crate::metrics::Metrics;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn an_ingress_that_is_behind_and_silent_shows_in_the_numbers() {
        let routes = json!({
            "version": 1, "fleet": "demo", "environment": "production", "epoch": 1, "seq": 17, "issued_at": at(0),
            "names": [{ "host": "shop.example", "path": "/", "service": "web", "port": "http" }],
            "services": [{
                "service": "web", "ports": { "http": { "container": 80 } }, "drain": "30s", "releases": [],
                "endpoints": [],
            }],
        });
        let table = Table::next(None, serde_json::from_value(routes).unwrap(), Digest::of(b"17"));
        let report = json!({
            "process": 1, "started_at": at(0), "at": at(0), "program": "1.0.0",
            "tables": { "production": { "epoch": 1, "seq": 15, "digest": Digest::of(b"15"), "applied_at": at(0) } },
        });
        let mut processes = Processes::default();
        processes.take(Arc::new(serde_json::from_value(report).unwrap()), at(100));
        let edge = Ingress { processes, since: at(0), serves: ["production".parse().unwrap()].into() };
        let traffic = Traffic {
            tables: [("production".parse().unwrap(), Arc::new(table))].into(),
            ingresses: [("edge-1".parse().unwrap(), edge)].into(),
        };
        let metrics = Metrics::default();
        metrics.routes.set(&traffic, at(175));
        let text = metrics.render();
        for line in [
            r#"windlass_routes_seq{environment="production"} 17"#,
            r#"windlass_routes_services_without_endpoint{environment="production"} 1"#,
            r#"windlass_ingress_seq_lag{environment="production",host="edge-1"} 2"#,
            r#"windlass_ingress_report_age_seconds{host="edge-1"} 75"#,
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        metrics.routes.set(&Traffic::default(), at(176));
        assert!(!metrics.render().contains("edge-1"), "what has gone is not shown any more");
    }
}
