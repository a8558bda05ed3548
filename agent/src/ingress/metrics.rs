//! `/metrics`: what the ingress has counted, as text for Prometheus.

use std::fmt::Write as _;
use std::time::Duration;

use windlass_core::Digest;
use windlass_core::traffic::{Counts, EndpointState, IngressReport, ReleaseTraffic, ServiceTraffic};
use windlass_ingress::Certificates;
use windlass_ingress::counters::Histogram;

/// A report as text. Names of services and environments are labels, so nothing in them needs an escape.
pub(super) fn text(report: &IngressReport, lines_lost: u64, certificates: Option<&Certificates>) -> String {
    let mut out = String::new();
    family(&mut out, "windlass_ingress_table_seq", "gauge", "Number of the traffic table in force.");
    for (environment, table) in &report.tables {
        line(&mut out, "windlass_ingress_table_seq", &format!("environment=\"{environment}\""), table.seq);
    }
    family(&mut out, "windlass_ingress_table_refused", "gauge", "1 if a newer traffic table was refused.");
    for environment in
        report.tables.keys().chain(report.refused.keys().filter(|e| !report.tables.contains_key(*e)))
    {
        let refused = u64::from(report.refused.contains_key(environment));
        line(&mut out, "windlass_ingress_table_refused", &format!("environment=\"{environment}\""), refused);
    }
    family(&mut out, "windlass_ingress_unrouted_total", "counter", "Requests for a name that no table has.");
    line(&mut out, "windlass_ingress_unrouted_total", "", report.unrouted);
    let name = "windlass_ingress_bad_requests_total";
    family(&mut out, name, "counter", "Requests that were refused before they were routed.");
    line(&mut out, name, "", report.bad_requests);
    let name = "windlass_ingress_access_log_dropped_total";
    family(&mut out, name, "counter", "Lines of the access log that were lost.");
    line(&mut out, name, "", lines_lost);
    certificates.into_iter().for_each(|certificates| expiries(&mut out, certificates));
    let counted: [(&str, &str, &str, Number); 11] = [
        ("requests_total", "counter", "Requests that ended.", |c| c.requests),
        ("client_gone_total", "counter", "Clients that left before the response had begun.", |c| {
            c.client_gone
        }),
        ("cut_total", "counter", "Responses that were cut after they had begun.", |c| c.cut),
        ("broken_total", "counter", "Responses that the endpoint broke off without an error before.", |c| {
            c.broken
        }),
        ("own_answers_total", "counter", "Responses that the ingress gave itself.", |c| c.own_answers),
        ("grpc_failed_total", "counter", "gRPC calls whose status says that the server failed.", |c| {
            c.grpc_failed
        }),
        ("connect_errors_total", "counter", "Connections to endpoints that could not be made.", |c| {
            c.connect_errors
        }),
        ("retries_total", "counter", "Further tries on another endpoint.", |c| c.retries),
        ("held_total", "counter", "Requests that waited for an endpoint.", |c| c.held),
        ("in_flight", "gauge", "Requests under way.", |c| c.in_flight),
        ("tunnels", "gauge", "Tunnels that are open.", |c| c.tunnels),
    ];
    for (name, kind, help, number) in counted {
        let name = format!("windlass_ingress_{name}");
        family(&mut out, &name, kind, help);
        each(report, |labels, counts| line(&mut out, &name, labels, number(counts)));
    }
    let name = "windlass_ingress_responses_total";
    family(&mut out, name, "counter", "Responses by the class of their status.");
    each(report, |labels, counts| {
        let classes = [
            ("1xx", counts.informational),
            ("2xx", counts.success),
            ("3xx", counts.redirection),
            ("4xx", counts.client_error),
            ("5xx", counts.server_error),
        ];
        for (class, count) in classes {
            line(&mut out, name, &format!("{labels},class=\"{class}\""), count);
        }
    });
    let name = "windlass_ingress_latency_seconds";
    family(&mut out, name, "histogram", "Time until the head of the response.");
    each(report, |labels, counts| histogram(&mut out, name, labels, counts));
    endpoints(&mut out, report);
    out
}

/// The certificates of the folder, by the names of their files.
fn expiries(out: &mut String, certificates: &Certificates) {
    let name = "windlass_ingress_certificates_refused";
    family(out, name, "gauge", "Certificates of the folder that cannot be used.");
    line(out, name, "", u64::try_from(certificates.refused()).unwrap_or(u64::MAX));
    let name = "windlass_ingress_certificate_expiry_timestamp_seconds";
    family(out, name, "gauge", "End of life of a certificate in use.");
    for (file, at) in certificates.expiries() {
        let file: String = file.chars().filter(|c| !matches!(c, '"' | '\\' | '\n')).collect();
        line(out, name, &format!("certificate=\"{file}\""), u64::try_from(at).unwrap_or(0));
    }
}

type Number = fn(&Counts) -> u64;

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = if labels.is_empty() {
        writeln!(out, "{name} {value}")
    } else {
        writeln!(out, "{name}{{{labels}}} {value}")
    };
}

/// The value of the label `release`: its number, as everywhere else; the begin of its digest where no table has told that.
fn label(release: &Digest, traffic: &ReleaseTraffic) -> String {
    traffic.counter.map_or_else(|| release.short(), |counter| counter.to_string())
}

/// The counters of every release of every service, with their labels.
fn each(report: &IngressReport, mut show: impl FnMut(&str, &Counts)) {
    for (service, ServiceTraffic { releases, nobody, .. }) in &report.services {
        for (release, traffic) in releases {
            let release = label(release, traffic);
            let unconfirmed = Some(("unconfirmed", &traffic.unconfirmed)).filter(|(_, of)| !of.is_empty());
            let by = [("weight", &traffic.weighted), ("match", &traffic.matched)].into_iter();
            for (by, counts) in by.chain(unconfirmed) {
                show(&format!("service=\"{service}\",release=\"{release}\",by=\"{by}\""), counts);
            }
        }
        show(&format!("service=\"{service}\",release=\"\",by=\"\""), nobody);
    }
}

/// One bucket in four, so that a service costs 64 lines and no 256; a bucket is then 25 % wide.
fn histogram(out: &mut String, name: &str, labels: &str, of: &Counts) {
    let mut below = 0;
    let mut counts = of.to_head.iter().peekable();
    for bucket in (3..Histogram::BUCKETS).step_by(4) {
        while let Some((_, count)) = counts.next_if(|(at, _)| usize::from(*at) <= bucket) {
            below += count;
        }
        let edge = if bucket + 1 == Histogram::BUCKETS {
            "+Inf".to_owned()
        } else {
            Histogram::upper_edge(bucket).as_secs_f64().to_string()
        };
        line(out, &format!("{name}_bucket"), &format!("{labels},le=\"{edge}\""), below);
    }
    let sum = Duration::from_micros(of.to_head_us).as_secs_f64();
    let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}");
    line(out, &format!("{name}_count"), labels, below);
}

fn endpoints(out: &mut String, report: &IngressReport) {
    let all = report.services.iter().flat_map(|(service, traffic)| {
        let labels = move |address, release: Digest| {
            let release =
                traffic.releases.get(&release).map_or_else(|| release.short(), |of| label(&release, of));
            format!("service=\"{service}\",endpoint=\"{address}\",release=\"{release}\"")
        };
        traffic.endpoints.iter().map(move |endpoint| (labels(endpoint.address, endpoint.release), endpoint))
    });
    let all: Vec<_> = all.collect();
    family(out, "windlass_ingress_endpoint_up", "gauge", "1 if the endpoint gets requests.");
    for (labels, endpoint) in &all {
        line(
            out,
            "windlass_ingress_endpoint_up",
            labels,
            u64::from(endpoint.state == EndpointState::Healthy),
        );
    }
    family(out, "windlass_ingress_endpoint_in_flight", "gauge", "Requests under way on the endpoint.");
    for (labels, endpoint) in &all {
        line(out, "windlass_ingress_endpoint_in_flight", labels, endpoint.in_flight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Every family with a sample. The coordinator's tests give this text to a Prometheus, and ask it what the boards ask.
    #[test]
    fn the_text_is_as_prometheus_wants_it() {
        let release = Digest::of(b"r1");
        let weighted = json!({
            "requests": 40, "informational": 1, "success": 30, "redirection": 2, "client_error": 3, "server_error": 4,
            "client_gone": 1, "cut": 2, "broken": 1, "own_answers": 2, "grpc_failed": 1, "connect_errors": 3, "retries": 2,
            "held": 1, "in_flight": 5, "tunnels": 1, "to_head": [[0, 10], [33, 25], [255, 5]], "to_head_us": 400_000_000,
        });
        let report = json!({
            "process": 1, "started_at": "2026-11-22T12:00:00.000Z", "at": "2026-11-22T12:00:00.000Z", "program": "1.0.0",
            "tables": { "default": {
                "epoch": 1, "seq": 7, "digest": release, "applied_at": "2026-11-22T12:00:00.000Z",
            } },
            "services": { "default/web": {
                "releases": { release.to_string(): { "counter": "r7", "weighted": weighted, "unconfirmed": { "requests": 2 } } },
                "nobody": { "requests": 3, "server_error": 3, "own_answers": 3 },
                "endpoints": [
                    { "address": "10.0.0.1:20000", "release": release, "state": "healthy", "in_flight": 5 },
                    { "address": "[2001:db8::1]:20000", "release": release, "state": "ejected" },
                ],
            } },
            "unrouted": 9,
        });
        let text = text(&serde_json::from_value(report).unwrap(), 6, None);
        insta::assert_snapshot!("metrics", text);
        windlass_testkit::promtool::promtool(&["check", "metrics"], &text);
    }
}
