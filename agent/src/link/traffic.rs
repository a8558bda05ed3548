//! The link's part in traffic: how far this host is with the tables, and which reports of its ingress are new.

use bytes::Bytes;
use windlass_core::EnvironmentId;
use windlass_proto::limits::MAX_ROUTES_POSITIONS;
use windlass_proto::pb;

use crate::document_store::DocumentStore;
use crate::traffic::socket::Reports;
use crate::traffic::tables::Table;

/// The newest table of each environment on this host.
pub(super) fn positions(keeper: &DocumentStore) -> Vec<pb::RoutesPosition> {
    let tables = keeper.tables();
    let position = |(environment, table): (&EnvironmentId, &Table)| pb::RoutesPosition {
        environment: environment.to_string(),
        seq: table.accepted.committed.seq,
        epoch: table.accepted.epoch,
    };
    tables.borrow().iter().take(MAX_ROUTES_POSITIONS).map(position).collect()
}

/// The processes whose reports are others than before.
pub(super) fn newer(reports: &Reports, before: &Reports) -> Vec<u64> {
    let other = |(process, report): &(&u64, &Bytes)| before.get(process) != Some(report);
    reports.iter().filter(other).map(|(process, _)| *process).collect()
}
