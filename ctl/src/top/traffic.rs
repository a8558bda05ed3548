//! The words of rows of traffic: releases that requests go to, and ingresses with their tables. Pure.

use windlass_core::Timestamp;
use windlass_core::host::Liveness;
use windlass_core::view::{EndpointView, IngressRow, IngressState, RouteRow};

use super::row::{Row, Tone, details, none, text};
use crate::table;

/// More requests than this share that fail are shown as bad.
const BAD: f64 = 0.05;

pub(super) fn route(row: &RouteRow, now: Timestamp) -> Row {
    let recent = row.recent.as_ref();
    let failed = recent.and_then(|of| of.error_ratio);
    // Requests that found no instance, or a name under which nobody answers.
    let is_unserved = row.release.is_none() && (recent.is_some() || !row.names.is_empty());
    let tone = match failed {
        _ if is_unserved => Tone::Bad,
        Some(failed) if failed > BAD => Tone::Bad,
        Some(failed) if failed > 0.0 => Tone::Moving,
        _ => Tone::Well,
    };
    let share = row.weight.map(u16::from).map(|of| format!("{}.{}%", of / 10, of % 10));
    let is_pool = row.weight.is_none() && row.release.is_some();
    let cells = vec![
        text(format!("{}/{}", row.environment, row.service)),
        row.release.map_or_else(none, text),
        table::per_second(recent.and_then(|of| of.per_second)),
        table::error_share(failed),
        table::latency(recent.and_then(|of| of.p95_seconds)),
        recent.map_or_else(none, |of| of.in_flight.to_string()),
        share.unwrap_or_else(|| if is_pool { "pool".to_owned() } else { none() }),
        row.serving.to_string(),
        row.names.first().map_or_else(none, text),
    ];
    let endpoint = |of: &EndpointView| {
        let (port, address, host) = (&of.port, of.address, &of.host);
        let state = table::endpoint_state(of, now);
        format!("{port} {address} on {host}, {state}, {} under way", of.in_flight)
    };
    let endpoints: Vec<String> = row.endpoints.iter().map(endpoint).collect();
    let mut lines = vec![
        ("service", Some(format!("{}/{}", row.environment, row.service))),
        ("release", Some(row.release.map_or_else(|| "none was found".to_owned(), |of| of.to_string()))),
        ("names", Some(row.names.join(", ")).filter(|names| !names.is_empty())),
    ];
    lines.extend(endpoints.into_iter().map(|endpoint| ("endpoint", Some(endpoint))));
    Row { cells, tone, details: details(&lines) }
}

pub(super) fn ingress(row: &IngressRow, now: Timestamp) -> Row {
    let of = &row.ingress;
    let state = row.state(now);
    let tone = match (&of.refused, of.host_state, state) {
        (Some(_), ..) | (_, Some(Liveness::Lost), _) => Tone::Bad,
        (None, Some(Liveness::Suspect), _) | (None, _, IngressState::Behind) => Tone::Moving,
        (None, ..) => Tone::Well,
    };
    let cells = vec![
        text(&of.host),
        text(&row.environment),
        table::ingress_state(of, state, now),
        of.wanted.to_string(),
        of.acknowledged.map_or_else(none, text),
        of.in_flight.to_string(),
        of.refused.as_ref().map_or_else(none, text),
    ];
    let has = of.acknowledged.map_or_else(|| "none that it has told".to_owned(), |seq| seq.to_string());
    let lines = [
        ("host", Some(of.host.to_string())),
        ("environment", Some(row.environment.to_string())),
        ("has table", Some(format!("{has}, of {}", of.wanted))),
        ("under way", Some(of.in_flight.to_string())),
        ("refuses", of.refused.clone()),
    ];
    Row { cells, tone, details: details(&lines) }
}
