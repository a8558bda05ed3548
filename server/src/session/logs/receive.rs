//! The answer of a host to one request, on a call of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use windlass_core::HostId;
use windlass_process::merge::Item;
use windlass_proto::pb;

use super::calls::Call;
use super::{LogPiece, size};
use crate::coordinator::Coordinator;
use crate::grpc::status::stopping;

/// The longest time until an agent says what its stream is about.
const FIRST: Duration = Duration::from_secs(10);
/// Bytes of unread lines of one answer, above which no further message is taken in.
const UNREAD: usize = 256 << 10;

type Parts = BoxStream<'static, Result<pb::SendLogsResponse, Status>>;

/// Takes in the answer to a request, as fast as it is read. Ends with the answer, or when nobody reads.
pub(crate) fn receive(
    coordinator: Arc<Coordinator>,
    host: HostId,
    call: Call,
    cut: CancellationToken,
    mut inbound: Streaming<pb::SendLogsRequest>,
) -> Parts {
    let receiving = async move {
        let _call = call;
        let first = timeout(FIRST, inbound.message()).await;
        let mut next = first.map_err(|_| Status::deadline_exceeded("nothing was sent within 10s"))??;
        let request = next.as_ref().map_or(0, |part| part.request);
        let Some(reader) = coordinator.readers.take(&host, request) else { return Ok(()) };
        let unread = Arc::new(Semaphore::new(UNREAD));
        let (mut last, mut is_current) = (0, false);
        while let Some(part) = next {
            let bytes: usize = part.lines.iter().map(size).sum();
            let becomes_current = part.current && !is_current;
            is_current |= becomes_current;
            let passing = async {
                let share = u32::try_from(bytes.min(UNREAD)).unwrap_or(u32::MAX);
                let share = Arc::new(unread.clone().acquire_many_owned(share).await.ok()?);
                let lines = part.lines.into_iter();
                let mut pieces: Vec<LogPiece> =
                    lines.map(|line| LogPiece::line(line, Some(share.clone()))).collect();
                last = pieces.iter().map(|piece| piece.nanos).fold(last, i64::max);
                pieces.extend((!part.error.is_empty()).then(|| LogPiece::missing(part.error, last)));
                if !pieces.is_empty() {
                    reader.sender.send(Item::Entries(pieces)).await.ok()?;
                }
                if becomes_current {
                    reader.sender.send(Item::Current).await.ok()?;
                }
                Some(())
            };
            let passed = tokio::select! {
                biased;
                () = coordinator.stopping.cancelled() => return Err(stopping()),
                () = cut.cancelled() => return Err(Status::unauthenticated("the certificate is revoked or superseded")),
                passed = passing => passed,
            };
            if passed.is_none() || part.end {
                reader.complete();
                return Ok(());
            }
            next = tokio::select! {
                biased;
                () = coordinator.stopping.cancelled() => return Err(stopping()),
                () = cut.cancelled() => return Err(Status::unauthenticated("the certificate is revoked or superseded")),
                () = reader.sender.closed() => return Ok(()),
                next = inbound.message() => next?,
            };
        }
        Ok(())
    };
    stream::once(receiving)
        .filter_map(|done: Result<(), Status>| std::future::ready(done.err().map(Err)))
        .boxed()
}
