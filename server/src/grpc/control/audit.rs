//! The audit log as a stream: what hosts bear witness to, then entries, and each checkpoint right after the entries
//! that it covers, so that whoever checks it needs to keep nothing.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tonic::Status;
use windlass_proto::Padded;
use windlass_proto::pb;
use windlass_proto::pb::stream_audit_response::Item;

use super::Stream;
use crate::coordinator::Coordinator;
use crate::ledger::AUDIT_PAGE;
use crate::registry::Testimony;
use crate::store::StoreError;

type Items = Vec<Result<pb::StreamAuditResponse, Status>>;

pub(super) fn stream(coordinator: Arc<Coordinator>, from: u64) -> Stream<pb::StreamAuditResponse> {
    let head = coordinator.ledger.read(|state| state.head.size);
    let witnesses = stream::iter(witnesses(&coordinator));
    let pages = stream::iter((from / AUDIT_PAGE)..=(head / AUDIT_PAGE)).then(move |number| {
        let coordinator = coordinator.clone();
        async move {
            page(&coordinator, number, from, head).await.unwrap_or_else(|error| {
                tracing::error!(%error, "failed to read the audit log");
                vec![Err(Status::unavailable("the audit log cannot be read"))]
            })
        }
    });
    witnesses.chain(pages.flat_map(stream::iter)).boxed()
}

/// The newest receipt and checkpoint of every host, as they came. The reader checks both.
fn witnesses(coordinator: &Coordinator) -> Items {
    let receipts = coordinator.registry.receipts();
    let keyed = |(host, said): (windlass_core::HostId, Testimony)| {
        let key = coordinator
            .ledger
            .read(|state| state.hosts.get(&host).map(|record| record.receipt_key.clone()))?;
        let checkpoint = said.checkpoint.map(|envelope| envelope.to_vec()).unwrap_or_default().into();
        let (receipt, key) = (said.receipt.to_vec().into(), key.as_bytes().to_vec().into());
        Some(item(Item::Witness(pb::Witness { host: host.to_string(), receipt, key, checkpoint })))
    };
    receipts.into_iter().filter_map(keyed).collect()
}

/// Entries of one page that are wanted, and the checkpoints between them.
async fn page(coordinator: &Coordinator, number: u64, from: u64, head: u64) -> Result<Items, StoreError> {
    let entries = coordinator.ledger.audit_page(number).await?;
    let checkpoints = coordinator.ledger.checkpoint_page(number).await?;
    let entries = entries.into_iter().filter(|(n, _)| (from..head).contains(n));
    let checkpoints = checkpoints.into_iter().filter(|(size, _)| (from..=head).contains(size));
    // A checkpoint over n entries comes before entry n.
    let mut items: Vec<(u64, u8, Item)> = entries
        .map(|(n, bytes)| (n, 1, Item::Entry(bytes.into())))
        .chain(checkpoints.map(|(size, bytes)| (size, 0, Item::Checkpoint(bytes.into()))))
        .collect();
    items.sort_by_key(|(n, order, _)| (*n, *order));
    Ok(items.into_iter().map(|(_, _, it)| item(it)).collect())
}

fn item(item: Item) -> Result<pb::StreamAuditResponse, Status> {
    Ok(pb::StreamAuditResponse { item: Some(item), ..Default::default() }.padded())
}
