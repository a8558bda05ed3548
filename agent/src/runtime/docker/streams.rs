//! Streams of the engine: logs of containers, and what happens to them. Each lives as long as its reader.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::{EventsOptions, LogsOptions};
use futures_util::StreamExt;

use super::super::{EngineEvent, LogLine, LogOptions, RuntimeError, RuntimeStream};
use super::engine::STOP_TIMEOUT;
use super::error::{refused, unavailable};
use super::{inspect, lines};

/// Events of containers that are worth looking at; probes' exec events are not.
const EVENTS: [&str; 9] =
    ["start", "die", "oom", "destroy", "pause", "unpause", "rename", "restart", "health_status"];

/// The lines of a container.
pub(super) fn logs(docker: &Docker, id: &str, options: LogOptions) -> RuntimeStream<LogLine> {
    let since = options.since.map_or(0, |at| i32::try_from(at.as_millis() / 1000).unwrap_or(i32::MAX));
    let wanted = LogsOptions {
        follow: options.follow,
        stdout: true,
        stderr: true,
        since,
        timestamps: true,
        tail: options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
        ..Default::default()
    };
    // A log that is silent for longer than an answer may take is no failure.
    let entries = docker.clone().with_timeout(STOP_TIMEOUT).logs(id, Some(wanted));
    let entries = entries.map(|entry| entry.map(inspect::log_entry).map_err(refused("read the log")));
    Box::pin(lines::lines(entries))
}

/// Events of the containers with these labels.
pub(super) fn events(docker: &Docker, labels: Vec<String>) -> RuntimeStream<EngineEvent> {
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("event".to_owned(), EVENTS.map(str::to_owned).to_vec()),
        ("label".to_owned(), labels),
    ]);
    let options = EventsOptions { filters: Some(filters), ..Default::default() };
    Box::pin(docker.events(Some(options)).filter_map(|event| async move {
        match event {
            Ok(event) => inspect::event(event).map(Ok),
            Err(error) => Some(Err(unavailable(error))),
        }
    }))
}

/// A stream that says only that.
pub(super) fn broken<T: Send + 'static>(error: RuntimeError) -> RuntimeStream<T> {
    Box::pin(futures_util::stream::iter([Err(error)]))
}
