//! Logs of a service, from all its hosts at once.

use std::collections::BTreeSet;

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::{HostId, ServiceId};
use windlass_proto::pb;

use super::{Caller, Stream, service};
use crate::coordinator::Coordinator;
use crate::grpc::status::refused;
use crate::releases::ReleaseError;
use crate::session::{LogChunk, LogCommand};

/// Chunks of one host that wait for the reader; beyond that they are lost.
const CHUNKS: usize = 256;
/// Last lines that may be asked for, per instance.
const TAIL: u32 = 10_000;

pub(super) fn stream(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::StreamLogsRequest,
) -> Result<Stream<pb::StreamLogsResponse>, Status> {
    let id = service(caller, &request.service, OperatorRole::Viewer)?;
    let hosts = hosts_of(coordinator, &id)?;
    let instances: Vec<String> = Some(request.instance).filter(|name| !name.is_empty()).into_iter().collect();
    let streams = hosts.into_iter().map(|host| {
        let (sender, lines) = mpsc::channel(CHUNKS);
        let command = LogCommand::Start {
            service: id.clone(),
            instances: instances.clone(),
            tail: request.tail.min(TAIL),
            follow: request.follow,
            lines: sender,
        };
        let asked = coordinator.registry.logs_of(&host).is_some_and(|host| host.try_send(command).is_ok());
        if asked {
            of_host(host, lines)
        } else {
            let state = coordinator.registry.liveness(&host, coordinator.ledger.now()).as_str();
            stream::iter([Ok(missing(&host, format!("the host is {state}, its stream is down")))]).boxed()
        }
    });
    Ok(stream::select_all(streams).boxed())
}

fn hosts_of(coordinator: &Coordinator, id: &ServiceId) -> Result<BTreeSet<HostId>, Status> {
    coordinator.ledger.read(|state| {
        if !state.services.contains_key(id) {
            return Err(refused(ReleaseError::UnknownService(id.clone())));
        }
        let slots = state.slots.get(id).into_iter().flat_map(|slots| slots.values());
        Ok(slots.map(|assignment| assignment.host.clone()).collect())
    })
}

type Lines = BoxStream<'static, Result<pb::StreamLogsResponse, Status>>;

fn of_host(host: HostId, lines: mpsc::Receiver<LogChunk>) -> Lines {
    // A stream that ends without saying so was cut with the host's session.
    let cut = LogChunk::End(Some("the host's stream was cut".to_owned()));
    let chunks = ReceiverStream::new(lines).chain(stream::iter([cut]));
    let until_end = chunks.scan(false, |over, chunk| {
        let next = (!*over).then_some(chunk);
        *over |= matches!(next, Some(LogChunk::End(_)));
        std::future::ready(next)
    });
    until_end
        .filter_map(move |chunk| {
            let message = match chunk {
                LogChunk::Lines(lines, share) => {
                    drop(share); // they are the reader's now
                    Some(pb::StreamLogsResponse { host: host.to_string(), lines, missing: String::new() })
                }
                LogChunk::End(Some(error)) => Some(missing(&host, error)),
                LogChunk::End(None) => None,
            };
            std::future::ready(message.map(Ok))
        })
        .boxed()
}

fn missing(host: &HostId, why: String) -> pb::StreamLogsResponse {
    pb::StreamLogsResponse { host: host.to_string(), lines: Vec::new(), missing: why }
}
