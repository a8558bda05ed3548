//! Checks of routes and of the times of requests.

use std::collections::BTreeMap;

use crate::manifest::closest::closest;
use crate::manifest::model::{Manifest, Port, Route, Routes};
use crate::release::{MAX_DRAIN, MAX_HOLD, MAX_ROUTES, MAX_SLOW_START, PortProtocol, prefix};
use crate::traffic::{is_host, is_path};
use crate::units::Span;

use super::Findings;

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    times(manifest, findings);
    let routes = manifest.routes();
    if routes.is_empty() {
        return;
    }
    if routes.len() > MAX_ROUTES {
        findings.error(&["route"], format!("has more than {MAX_ROUTES} entries"), "");
    }
    if manifest.ports.is_empty() {
        let hint = "`ports: { http: 8080 }` names the port that the process listens on";
        return findings.error(&["route"], "leads to no port: the service has none", hint);
    }
    let mut names: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (index, route) in routes.iter().enumerate() {
        let index_text = index.to_string();
        let at: Vec<&str> = match manifest.route {
            Some(Routes::Several(_)) => vec!["route", &index_text],
            Some(Routes::One(_)) | None => vec!["route"],
        };
        host(route, &at, findings);
        path(route, &at, findings);
        port(route, manifest, &at, findings);
        preview(route, manifest, &at, findings);
        let name = (route.host.as_str(), prefix(route.path.as_deref().unwrap_or("/")));
        if let Some(other) = names.insert(name, index) {
            let text = format!("`{}{}` stands at `route.{other}` too", cut(name.0), cut(name.1));
            findings.error(&at, text, "a host name with a path leads to one port");
        }
    }
}

/// Says what is counted where requests decide something: those through an ingress, by a `route` or by `uses` of others.
pub(super) fn counted(manifest: &Manifest, at: &[&str], hint: &str, findings: &mut Findings<'_>) {
    if !manifest.routes().is_empty() {
        return;
    }
    if manifest.ports.values().any(|port| protocol(*port) != PortProtocol::Tcp) {
        let reason = "counts requests that go through an ingress: without a `route`, only those of services that have it in `uses`";
        return findings.warning(at, reason, hint);
    }
    findings.error(at, "counts requests that go through an ingress, and the service has no `route`", hint);
}

/// A preview is of a release that stands beside another one.
fn preview(route: &Route, manifest: &Manifest, at: &[&str], findings: &mut Findings<'_>) {
    if !route.preview {
        return;
    }
    let strategy = &manifest.strategy;
    if strategy.blue_green.is_none() && strategy.canary.is_none() {
        let reason = "leads to the new release while it stands beside the old one, which it does not with this strategy";
        findings.error(&below(at, "preview"), reason, "`blue_green` or `canary`");
    }
    if route.host.starts_with("*.") {
        findings.error(
            &below(at, "host"),
            "cannot be a wildcard where it is a preview",
            "`next.api.example.com`",
        );
    }
    if manifest.routes().iter().any(|other| !other.preview && other.host == route.host) {
        let reason = format!("`{}` serves already: a preview has a name of its own", cut(&route.host));
        findings.error(&below(at, "host"), reason, &format!("`next.{}`", cut(&route.host)));
    }
}

fn below<'a>(at: &[&'a str], key: &'a str) -> Vec<&'a str> {
    at.iter().copied().chain([key]).collect()
}

fn host(route: &Route, at: &[&str], findings: &mut Findings<'_>) {
    if is_host(&route.host) {
        return;
    }
    let hint = likely_host(&route.host);
    let reason = format!("`{}` is not a host name", cut(&route.host));
    findings.error(&below(at, "host"), reason, &hint);
}

/// The name that was probably meant: without scheme, port and path, in lower case.
fn likely_host(text: &str) -> String {
    let plain = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (name, path) = plain.split_once('/').map_or((plain, ""), |(name, path)| (name, path));
    let name = name.split(':').next().unwrap_or_default().to_lowercase();
    match (is_host(&name), path.is_empty()) {
        (true, true) => format!("did you mean `{name}`?"),
        (true, false) => format!("did you mean `host: {name}` with `path: /{}`?", cut(path)),
        (false, _) => "like `api.example.com`, or `*.example.com` for one label more".to_owned(),
    }
}

fn path(route: &Route, at: &[&str], findings: &mut Findings<'_>) {
    let Some(path) = &route.path else { return };
    if is_path(path) {
        return;
    }
    let rooted = format!("/{path}");
    let hint = if is_path(&rooted) {
        format!("did you mean `{rooted}`?")
    } else {
        "a prefix like `/v1`: printable ASCII without `?`, `#`, `%`, `\\`, `//`, `.` and `..`, at most 256 bytes"
            .to_owned()
    };
    findings.error(&below(at, "path"), format!("`{}` is not a path prefix", cut(path)), &hint);
}

fn port(route: &Route, manifest: &Manifest, at: &[&str], findings: &mut Findings<'_>) {
    // Without a word it is the first one written.
    let first = findings.tree.get("ports").and_then(|ports| Some(ports.entries().first()?.key.clone()));
    let Some(name) = route.port.as_ref().or(first.as_ref()) else { return };
    match manifest.ports.get(name) {
        None => {
            let known = manifest.ports.keys().map(String::as_str);
            let called =
                manifest.port_called(name).map(|name| format!("a port goes by its name: `port: {name}`"));
            let near = || closest(name, known.clone()).map(|word| format!("did you mean `{word}`?"));
            let near = called.or_else(near);
            let all = || format!("its ports are {}", known.collect::<Vec<_>>().join(", "));
            let hint = near.unwrap_or_else(all);
            findings.error(&below(at, "port"), format!("`{}` is not among `ports`", cut(name)), &hint);
        }
        Some(port) if protocol(*port) == PortProtocol::Tcp => findings.error(
            &below(at, "port"),
            format!("`{name}` has `protocol: tcp`: TCP is not balanced"),
            "a route leads to `http`, `h2c` or `grpc`",
        ),
        Some(_) => {}
    }
}

const fn protocol(port: Port) -> PortProtocol {
    match port {
        Port::Container(_) => PortProtocol::Http,
        Port::Fixed(fixed) => fixed.protocol,
    }
}

fn times(manifest: &Manifest, findings: &mut Findings<'_>) {
    let bounds = [
        ("drain_timeout", manifest.drain_timeout, Span::ZERO, MAX_DRAIN),
        ("hold", manifest.hold, Span::from_secs(1), MAX_HOLD),
        ("slow_start", manifest.slow_start, Span::from_secs(1), MAX_SLOW_START),
    ];
    let routed = manifest.ports.values().any(|port| protocol(*port) != PortProtocol::Tcp);
    for (key, span, least, most) in bounds {
        let Some(span) = span else { continue };
        if span < least || span > most {
            findings.error(&[key], format!("must be from {least} to {most}"), "");
        }
        if !routed {
            let reason = "is about requests, and the service has no port that requests are routed to";
            findings.error(&[key], reason, "`ports: { http: 8080 }`");
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
