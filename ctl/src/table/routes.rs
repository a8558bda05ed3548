//! `routes`.

use comfy_table::{Cell, Color};
use windlass_core::HostId;
use windlass_core::Timestamp;
use windlass_core::host::Liveness;
use windlass_core::view::{EndpointView, IngressState, IngressView, RoutedView, RoutesView};

use super::{ago, grid, or_dash, printable, state};
use crate::printer::Colour;

/// Every environment: its services with names and endpoints, and its ingresses.
pub(crate) fn routes(views: &[RoutesView], now: Timestamp, colour: Colour) -> String {
    if views.iter().all(|view| view.services.is_empty()) {
        return "no service has a port that requests are routed to\n".to_owned();
    }
    let mut text = String::new();
    for view in views {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("environment {}, table {}\n\n", view.environment, view.seq));
        let rows = view.services.iter().flat_map(|service| rows(service, now)).collect();
        let headers = ["SERVICE", "NAME", "ENDPOINT", "HOST", "RELEASE", "SHARE", "STATE", "IN FLIGHT"];
        text.push_str(&grid(&headers, rows, colour));
        text.push('\n');
        text.push_str(&ingresses(view, now, colour));
    }
    text
}

fn rows(service: &RoutedView, now: Timestamp) -> Vec<Vec<Cell>> {
    let names: Vec<String> =
        service.names.iter().map(|name| format!("{} \u{2192} {}", name.name(), name.port)).collect();
    let name = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    let share = |release| {
        let found = service.releases.iter().find(|share| Some(share.release) == release);
        let weight = found.and_then(|share| share.weight).map(u16::from);
        weight.map_or_else(|| "pool".to_owned(), |weight| format!("{}.{}%", weight / 10, weight % 10))
    };
    let head = |first: bool| {
        let text = |text: &str| if first { text.to_owned() } else { String::new() };
        vec![Cell::new(text(service.service.as_str())), Cell::new(text(&name))]
    };
    if service.endpoints.is_empty() {
        let mut row = head(true);
        row.extend(["-", "-", "-", "-"].map(Cell::new));
        row.extend([state("no_endpoint"), Cell::new("-")]);
        return vec![row];
    }
    let rows = service.endpoints.iter().enumerate().map(|(index, endpoint)| {
        let mut row = head(index == 0);
        row.extend([
            Cell::new(format!("{} {}", endpoint.port, endpoint.address)),
            Cell::new(&endpoint.host),
            Cell::new(or_dash(endpoint.release)),
            Cell::new(share(endpoint.release)),
            state_cell(&with_ingresses(endpoint), endpoint.host_state, endpoint.as_of, now),
            Cell::new(endpoint.in_flight),
        ]);
        row
    });
    rows.collect()
}

/// A state in a cell; that of a host that is not connected is as of when the host was last heard of.
fn state_cell(was: &str, host: Option<Liveness>, as_of: Option<Timestamp>, now: Timestamp) -> Cell {
    match host {
        None | Some(Liveness::Connected) => state(was),
        Some(liveness) => {
            let colour = if liveness == Liveness::Lost { Color::Red } else { Color::Yellow };
            Cell::new(state_as_of(was, host, as_of, now)).fg(colour)
        }
    }
}

/// The state of an endpoint in words: `host lost, last seen 40s ago`, `serving? host suspect, last seen 20s ago`.
pub(crate) fn endpoint_state(endpoint: &EndpointView, now: Timestamp) -> String {
    state_as_of(&with_ingresses(endpoint), endpoint.host_state, endpoint.as_of, now)
}

/// The state of an endpoint, and which ingresses avoid it: `serving, avoided by edge-1`.
fn with_ingresses(endpoint: &EndpointView) -> String {
    let by: Vec<&str> = endpoint.avoided_by.iter().map(HostId::as_str).collect();
    if by.is_empty() || endpoint.state != "serving" {
        return endpoint.state.clone();
    }
    format!("{}, avoided by {}", endpoint.state, by.join(", "))
}

/// The state of an ingress in words: `current`, `host lost, last seen 40s ago`.
pub(crate) fn ingress_state(ingress: &IngressView, table: IngressState, now: Timestamp) -> String {
    state_as_of(table.as_str(), ingress.host_state, ingress.as_of, now)
}

fn state_as_of(was: &str, host: Option<Liveness>, as_of: Option<Timestamp>, now: Timestamp) -> String {
    let was = was.replace('_', " ");
    let Some(liveness) = host.filter(|of| *of != Liveness::Connected) else { return was };
    let seen = as_of.map_or_else(
        || "not seen since the coordinator started".to_owned(),
        |at| format!("last seen {}", ago(at, now)),
    );
    match liveness {
        Liveness::Lost => format!("host lost, {seen}"),
        liveness => format!("{was}? host {}, {seen}", liveness.as_str()),
    }
}

fn ingresses(view: &RoutesView, now: Timestamp, colour: Colour) -> String {
    if view.ingresses.is_empty() {
        return "no ingress has reported yet: start one with `windlass-agent ingress` beside an agent\n"
            .to_owned();
    }
    let row = |ingress: &IngressView| {
        vec![
            Cell::new(&ingress.host),
            Cell::new(ingress.desired),
            Cell::new(or_dash(ingress.acknowledged)),
            state_cell(ingress.state(view.issued_at, now).as_str(), ingress.host_state, ingress.as_of, now),
            Cell::new(ingress.in_flight),
            Cell::new(ingress.refused.as_deref().map_or_else(|| "-".to_owned(), printable)),
        ]
    };
    let headers = ["INGRESS", "DESIRED", "ACKNOWLEDGED", "STATE", "IN FLIGHT", "REFUSES"];
    grid(&headers, view.ingresses.iter().map(row).collect(), colour)
}
