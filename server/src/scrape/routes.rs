//! Traffic in numbers: the newest table of each environment, and how each ingress follows it.

use std::fmt;

use windlass_core::traffic::Traffic;
use windlass_core::{Timestamp, view};

use super::out::{Out, count, number};

/// Its metrics.
#[derive(Debug, Default)]
pub(super) struct Routes {
    tables: Vec<Table>,
    lags: Vec<(String, String, u64)>,
    ages: Vec<(String, f64)>,
}

/// The newest table of one environment.
#[derive(Debug)]
struct Table {
    environment: String,
    seq: u64,
    unserved: usize,
}

/// As it is at `now`.
pub(super) fn look(traffic: &Traffic, now: Timestamp) -> Routes {
    let mut routes = Routes::default();
    for environment in traffic.tables.keys() {
        let Some(view) = view::routes(traffic, environment, None) else { continue };
        let unserved = view.services.iter().filter(|service| service.is_unserved()).count();
        routes.tables.push(Table { environment: environment.to_string(), seq: view.seq, unserved });
        for ingress in &view.ingresses {
            let lag = ingress.wanted.saturating_sub(ingress.acknowledged.unwrap_or(0));
            routes.lags.push((environment.to_string(), ingress.host.to_string(), lag));
        }
    }
    for (host, ingress) in &traffic.ingresses {
        let heard_at = ingress.processes.heard_at().unwrap_or(ingress.since);
        routes.ages.push((host.to_string(), now.since(heard_at).as_secs_f64()));
    }
    routes
}

pub(super) fn write(out: &mut Out<'_>, routes: &Routes) -> fmt::Result {
    let of = |table: &'_ Table| [("environment", table.environment.clone())];
    let seqs = routes.tables.iter().map(|table| (of(table), number(table.seq)));
    out.gauge("routes_seq", "Number of the newest traffic table", seqs)?;
    let unserved = routes.tables.iter().map(|table| (of(table), count(table.unserved)));
    let help = "Services with a name under which no instance takes requests";
    out.gauge("routes_services_without_endpoint", help, unserved)?;
    let lags = routes.lags.iter().map(|(environment, host, lag)| {
        ([("environment", environment.as_str()), ("host", host.as_str())], number(*lag))
    });
    out.gauge("ingress_seq_lag", "Tables by which an ingress is behind the newest one", lags)?;
    let ages = routes.ages.iter().map(|(host, age)| ([("host", host.as_str())], *age));
    out.gauge("ingress_report_age_seconds", "Time since an ingress was last heard of", ages)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use windlass_core::Digest;
    use windlass_core::traffic::{Ingress, Processes, Table};

    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::DescriptorEncoder;
    use prometheus_client::registry::Registry;

    use super::*;

    impl Collector for Routes {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            write(&mut Out::new(encoder), self)
        }
    }

    fn text(routes: Routes) -> String {
        let mut registry = Registry::with_prefix("windlass");
        registry.register_collector(Box::new(routes));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

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
        let text = text(look(&traffic, at(175)));
        for line in [
            r#"windlass_routes_seq{environment="production"} 17"#,
            r#"windlass_routes_services_without_endpoint{environment="production"} 1"#,
            r#"windlass_ingress_seq_lag{environment="production",host="edge-1"} 2"#,
            r#"windlass_ingress_report_age_seconds{host="edge-1"} 75"#,
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
