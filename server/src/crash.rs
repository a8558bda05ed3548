//! Points at which a test may have the coordinator die: before and after each step that leaves something behind. There are none
//! without the feature `crash-points`, see [`windlass_process::crash`]. A point belongs to a step, never to a check.

use windlass_process::crash_points;

crash_points! {
    /// Every point of the coordinator.
    pub(crate) enum Point {
        Decided = "server.ledger.decided",
        CommitBegun = "server.store.commit.begun",
        CommitApplied = "server.store.commit.applied",
        CommitFlushed = "server.store.commit.flushed",
        CommitSynced = "server.store.commit.synced",
        Stored = "server.ledger.stored",
        Told = "server.ledger.told",
        StoreOpened = "server.store.opened",
        StoreNumbered = "server.store.numbered",
        StoreMarked = "server.store.marked",
        CheckpointBefore = "server.checkpoint.before",
        CheckpointAfter = "server.checkpoint.after",
        RevocationBefore = "server.revocation.before",
        RevocationAfter = "server.revocation.after",
        JoinStored = "server.join.stored",
        RenewStored = "server.renew.stored",
        BackupBegun = "server.backup.begun",
        BackupWritten = "server.backup.written",
        BackupSynced = "server.backup.synced",
        BackupPlaced = "server.backup.placed",
        BackupForgotten = "server.backup.forgotten",
        ExportWritten = "server.export.written",
        ExportSynced = "server.export.synced",
        ExportPlaced = "server.export.placed",
        ImportBatch = "server.import.batch",
        ImportWritten = "server.import.written",
        ImportDone = "server.import.done",
    }
}

/// Every point of the coordinator.
pub fn points() -> impl Iterator<Item = &'static str> {
    Point::NAMES.iter().copied()
}
